// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU table of 3-D max-pooling.

#include "voxgrad/cpu/pool3d_ref.hpp"

namespace voxgrad::cpu {

inline void max_pool3d_forward(const kernels::Pool3dProblem& p, const void* x, void* y) {
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    max_pool3d_forward_ref(p, static_cast<const T*>(x), static_cast<T*>(y));
  });
}

inline void max_pool3d_backward(const kernels::Pool3dProblem& p, const void* x, const void* dy, void* dx) {
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    max_pool3d_backward_ref(p, static_cast<const T*>(x), static_cast<const T*>(dy), static_cast<T*>(dx));
  });
}

inline constexpr kernels::MaxPool3dTable max_pool3d_table{max_pool3d_forward, max_pool3d_backward};
inline const bool max_pool3d_filled = kernels::max_pool3d.fill(DeviceKind::cpu, &max_pool3d_table);

}  // namespace voxgrad::cpu
