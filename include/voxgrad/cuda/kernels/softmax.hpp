// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Softmax over the last axis (kernels/softmax.hpp): a thread per row, sums in double. Class heads have a handful of channels.

#include <cmath>

#include "voxgrad/cuda/phases.hpp"

namespace voxgrad::cuda {

/// x, y [rows, C]; y may be x.
struct Softmax {
  static constexpr const char* name = "softmax";
  static constexpr int threads = 128, phases = 1;
  struct Args {
    int64_t rows, C;
    const float* x;
    float* y;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  static int64_t blocks(const Args& a) { return (a.rows + threads - 1) / threads; }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    const int64_t row = at.block * threads + at.thread;
    if (row >= a.rows) return;
    const float* const x = a.x + row * a.C;
    float* const y = a.y + row * a.C;
    float top = x[0];
    for (int64_t c = 1; c < a.C; ++c) top = x[c] > top ? x[c] : top;
    double sum = 0;
    for (int64_t c = 0; c < a.C; ++c) sum += double(y[c] = std::exp(x[c] - top));
    for (int64_t c = 0; c < a.C; ++c) y[c] = float(double(y[c]) / sum);
  }
};

/// dx = y (dy - sum over the row of dy y); dx may be dy.
struct SoftmaxBackward {
  static constexpr const char* name = "softmax_backward";
  static constexpr int threads = 128, phases = 1;
  struct Args {
    int64_t rows, C;
    const float *y, *dy;
    float* dx;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  static int64_t blocks(const Args& a) { return (a.rows + threads - 1) / threads; }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    const int64_t row = at.block * threads + at.thread;
    if (row >= a.rows) return;
    const float *const y = a.y + row * a.C, *const dy = a.dy + row * a.C;
    float* const dx = a.dx + row * a.C;
    double dot = 0;
    for (int64_t c = 0; c < a.C; ++c) dot += double(dy[c]) * double(y[c]);
    for (int64_t c = 0; c < a.C; ++c) dx[c] = float(double(y[c]) * (double(dy[c]) - dot));
  }
};

}  // namespace voxgrad::cuda
