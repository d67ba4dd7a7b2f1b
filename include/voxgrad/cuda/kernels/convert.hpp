// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// y[i] = scale x[i] in another element type: weights to working precision, gradients back to f32.

#include "voxgrad/cuda/element.hpp"
#include "voxgrad/cuda/phases.hpp"

namespace voxgrad::cuda {

template <class From, class To>
struct Convert {
  static constexpr const char* name = "convert";
  static constexpr int threads = 256, phases = 1, width = 8;
  struct Args {
    int64_t n;
    const From* x;  ///< 16-byte aligned, as y is
    To* y;
    float scale;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  static int64_t blocks(const Args& a) { return (a.n + threads * width - 1) / (threads * width); }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    const int64_t first = (at.block * threads + at.thread) * width;
    if (first + width <= a.n) {
      float v[width];
      load<width>(a.x + first, v);
      for (float& e : v) e *= a.scale;
      store<width>(a.y + first, v);
    } else {
      for (int64_t i = first; i < a.n; ++i) a.y[i] = To(float(a.x[i]) * a.scale);
    }
  }
};

}  // namespace voxgrad::cuda
