// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU table of the transposed convolution.

#include "voxgrad/cpu/conv_transpose3d_ref.hpp"

namespace voxgrad::cpu {

inline void conv_transpose3d_forward(const kernels::ConvTranspose3dProblem& p, const void* x, const void* w, const void* bias, void* y) {
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    conv_transpose3d_forward_ref(p, static_cast<const T*>(x), static_cast<const T*>(w), static_cast<const T*>(bias),
                       static_cast<T*>(y));
  });
}

inline void conv_transpose3d_backward_data(const kernels::ConvTranspose3dProblem& p, const void* dy, const void* w, void* dx) {
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    conv_transpose3d_backward_data_ref(p, static_cast<const T*>(dy), static_cast<const T*>(w), static_cast<T*>(dx));
  });
}

inline void conv_transpose3d_backward_weight(const kernels::ConvTranspose3dProblem& p, const void* x, const void* dy, void* dw, void* db) {
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    conv_transpose3d_backward_weight_ref(p, static_cast<const T*>(x), static_cast<const T*>(dy), static_cast<T*>(dw),
                               static_cast<T*>(db));
  });
}

inline constexpr kernels::ConvTranspose3dTable conv_transpose3d_table{conv_transpose3d_forward, conv_transpose3d_backward_data, conv_transpose3d_backward_weight};
inline const bool conv_transpose3d_filled = kernels::conv_transpose3d.fill(DeviceKind::cpu, &conv_transpose3d_table);

}  // namespace voxgrad::cpu
