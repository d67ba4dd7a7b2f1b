// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU table of the optimiser steps: one pass over parameter, gradient and moments, on all threads.

#include "voxgrad/core/parallel.hpp"
#include "voxgrad/cpu/adam_ref.hpp"
#include "voxgrad/cpu/vec.hpp"

namespace voxgrad::cpu {
/// AdamFactors in float, for the vector kernel. A decay of 0 adds 0 * w to the gradient.
struct AdamNumbers {
  float beta1, rest1, beta2, rest2, decay, shrink, step_size, inv_sqrt_bc2, eps;
};
}  // namespace voxgrad::cpu

#define VOXGRAD_INL "voxgrad/cpu/adam.inl"
#include "voxgrad/simd/for_each_isa.hpp"

namespace voxgrad::cpu {

inline void adam(const kernels::AdamProblem& p, void* w, const void* gradient, void* m, void* v) {
  const AdamFactors f(p);
  if (p.dtype == DType::f32) {
    const AdamNumbers k{float(p.beta1), float(1 - p.beta1), float(p.beta2), float(1 - p.beta2), float(f.decay),
                        float(f.shrink), float(f.step_size), float(f.inv_sqrt_bc2), float(p.eps)};
    auto* run = by_isa(scalar::flat::adam, avx2::flat::adam, avx512::flat::adam);
    return parallel_for(p.n, flat_grain, [&](int64_t begin, int64_t end) {
      run(end - begin, k, static_cast<float*>(w) + begin, static_cast<const float*>(gradient) + begin,
          static_cast<float*>(m) + begin, static_cast<float*>(v) + begin);
    });
  }
  parallel_for(p.n, flat_grain, [&](int64_t begin, int64_t end) {
    adam_ref(p, begin, end, static_cast<double*>(w), static_cast<const double*>(gradient), static_cast<double*>(m),
             static_cast<double*>(v));
  });
}

/// Plain loops: the compiler vectorises them, and memory is the limit.
inline void sgd(const kernels::SgdProblem& p, void* w, const void* gradient, void* buffer) {
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    parallel_for(p.n, flat_grain, [&](int64_t begin, int64_t end) {
      sgd_ref(p, begin, end, static_cast<T*>(w), static_cast<const T*>(gradient), static_cast<T*>(buffer));
    });
  });
}

inline constexpr kernels::OptimTable optim_table{adam, sgd};
inline const bool optim_filled = kernels::optim.fill(DeviceKind::cpu, &optim_table);

}  // namespace voxgrad::cpu
