// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU table of nearest-neighbour up-sampling: rows of the small side on all threads.

#include "voxgrad/core/parallel.hpp"
#include "voxgrad/cpu/upsample3d_ref.hpp"

namespace voxgrad::cpu {

/// Rows of x that are worth a thread of their own.
inline int64_t upsample3d_grain(const kernels::Upsample3dProblem& p) {
  return 1 + (int64_t(1) << 14) / (p.in[2] * p.C * p.factor[0] * p.factor[1] * p.factor[2]);
}

inline void upsample3d_forward(const kernels::Upsample3dProblem& p, const void* x, void* y) {
  const int64_t rows = p.N * p.in[0] * p.in[1];
  if (rows * p.in[2] * p.C == 0) return;
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    parallel_for(rows, upsample3d_grain(p), [&](int64_t begin, int64_t end) {
      upsample3d_forward_ref(p, static_cast<const T*>(x), static_cast<T*>(y), begin, end);
    });
  });
}

inline void upsample3d_backward(const kernels::Upsample3dProblem& p, const void* dy, void* dx) {
  const int64_t rows = p.N * p.in[0] * p.in[1];
  if (rows * p.in[2] * p.C == 0) return;
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    parallel_for(rows, upsample3d_grain(p), [&](int64_t begin, int64_t end) {
      upsample3d_backward_ref(p, static_cast<const T*>(dy), static_cast<T*>(dx), begin, end);
    });
  });
}

inline constexpr kernels::Upsample3dTable upsample3d_table{upsample3d_forward, upsample3d_backward};
inline const bool upsample3d_filled = kernels::upsample3d.fill(DeviceKind::cpu, &upsample3d_table);

}  // namespace voxgrad::cpu
