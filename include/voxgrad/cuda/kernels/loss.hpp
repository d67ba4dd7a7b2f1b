// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A pointwise loss of logits (kernels/reduce.hpp: MseWithLogits, BceWithLogits) and its gradient in one pass: one sum per
// block, for FinishSum, and dlogit = mean * loss scale * weight * df(logit, target).

#include "voxgrad/cuda/element.hpp"
#include "voxgrad/cuda/kernels/block_sum.hpp"
#include "voxgrad/cuda/kernels/optimizer_state.hpp"
#include "voxgrad/kernels/reduce.hpp"

namespace voxgrad::cuda {

template <class F, class Target>
struct LossForward {
  static_assert(std::is_same_v<Target, float> || std::is_same_v<Target, uint8_t>);
  static constexpr const char* name = F::name;
  static constexpr int threads = 256, phases = 3, width = 8;
  struct Args {
    int64_t n;
    const float* logit;  ///< [n], as all arrays here 16-byte aligned
    const Target* target;
    const float* weight;  ///< of each voxel; null: 1
    float* dlogit;        ///< null: no gradient
    double* partial;      ///< workspace_bytes(n): sums of weight * f, one per block
    double mean;          ///< what makes the sum a mean: 1/n
    const OptimizerState* state;  ///< its loss scale; null: 1
  };
  using Shared = BlockSum<threads>;
  using Thread = Nothing;

  static int64_t partials(int64_t n) { return (n + threads * width - 1) / (threads * width); }
  static int64_t workspace_bytes(int64_t n) { return partials(n) * int64_t(sizeof(double)); }
  static int64_t blocks(const Args& a) { return partials(a.n); }

  template <int phase>
  VOXGRAD_HD static void run(const Args& a, At at, Shared& s, Thread&) {
    if constexpr (phase == 0) s.put(at.thread, share(a, (at.block * threads + at.thread) * width));
    if constexpr (phase == 1) s.fold(at.thread);
    if constexpr (phase == 2)
      if (at.thread == 0) a.partial[at.block] = s.total();
  }

 private:
  /// Loss and gradient of `width` voxels from `first` on.
  VOXGRAD_HD static double share(const Args& a, int64_t first) {
    const float scale = float(a.mean * double(a.state ? a.state->loss_scale : 1.0f));
    double sum = 0;
    if (first + width <= a.n) {
      float z[width], t[width], w[width], d[width];
      load<width>(a.logit + first, z);
      load<width>(a.target + first, t);
      if (a.weight) load<width>(a.weight + first, w);
      for (int i = 0; i < width; ++i) {
        const float weight = a.weight ? w[i] : 1.0f;
        sum += double(weight * F::f(z[i], t[i]));
        d[i] = scale * weight * F::df(z[i], t[i]);
      }
      if (a.dlogit) store<width>(a.dlogit + first, d);
    } else {
      for (int64_t i = first; i < a.n; ++i) {
        const float z = a.logit[i], t = float(a.target[i]), weight = a.weight ? a.weight[i] : 1.0f;
        sum += double(weight * F::f(z, t));
        if (a.dlogit) a.dlogit[i] = scale * weight * F::df(z, t);
      }
    }
    return sum;
  }
};

}  // namespace voxgrad::cuda
