// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU table of the convolution.

#include "voxgrad/cpu/conv3d_ref.hpp"

namespace voxgrad::cpu {

inline void conv3d_forward(const kernels::Conv3dProblem& p, const void* x, const void* w, const void* bias, void* y) {
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    conv3d_forward_ref(p, static_cast<const T*>(x), static_cast<const T*>(w), static_cast<const T*>(bias),
                       static_cast<T*>(y));
  });
}

inline void conv3d_backward_data(const kernels::Conv3dProblem& p, const void* dy, const void* w, void* dx) {
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    conv3d_backward_data_ref(p, static_cast<const T*>(dy), static_cast<const T*>(w), static_cast<T*>(dx));
  });
}

inline void conv3d_backward_weight(const kernels::Conv3dProblem& p, const void* x, const void* dy, void* dw, void* db) {
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    conv3d_backward_weight_ref(p, static_cast<const T*>(x), static_cast<const T*>(dy), static_cast<T*>(dw),
                               static_cast<T*>(db));
  });
}

inline constexpr kernels::Conv3dTable conv3d_table{conv3d_forward, conv3d_backward_data, conv3d_backward_weight};
inline const bool conv3d_filled = kernels::conv3d.fill(DeviceKind::cpu, &conv3d_table);

}  // namespace voxgrad::cpu
