// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU table of the transposed convolution: float by the vector kernels, double by the definition.

#include "voxgrad/cpu/conv_transpose3d_fast.hpp"

namespace voxgrad::cpu {

inline void conv_transpose3d_forward(const kernels::ConvTranspose3dProblem& p, const void* x, const void* w,
                                     const void* bias, void* y) {
  const auto run = [&](auto zero, auto kernel) {
    using T = decltype(zero);
    kernel(p, static_cast<const T*>(x), static_cast<const T*>(w), static_cast<const T*>(bias),
           static_cast<T*>(y));
  };
  if (p.dtype == DType::f64)
    run(0.0, conv_transpose3d_forward_ref<double>);
  else
    run(0.0f, conv_transpose3d_forward_f32);
}

inline void conv_transpose3d_backward_data(const kernels::ConvTranspose3dProblem& p, const void* dy,
                                           const void* w, void* dx) {
  const auto run = [&](auto zero, auto kernel) {
    using T = decltype(zero);
    kernel(p, static_cast<const T*>(dy), static_cast<const T*>(w), static_cast<T*>(dx));
  };
  if (p.dtype == DType::f64)
    run(0.0, conv_transpose3d_backward_data_ref<double>);
  else
    run(0.0f, conv_transpose3d_backward_data_f32);
}

inline void conv_transpose3d_backward_weight(const kernels::ConvTranspose3dProblem& p, const void* x,
                                             const void* dy, void* dw, void* db) {
  const auto run = [&](auto zero, auto kernel) {
    using T = decltype(zero);
    kernel(p, static_cast<const T*>(x), static_cast<const T*>(dy), static_cast<T*>(dw), static_cast<T*>(db));
  };
  if (p.dtype == DType::f64)
    run(0.0, conv_transpose3d_backward_weight_ref<double>);
  else
    run(0.0f, conv_transpose3d_backward_weight_f32);
}

inline constexpr kernels::ConvTranspose3dTable conv_transpose3d_table{
    conv_transpose3d_forward, conv_transpose3d_backward_data, conv_transpose3d_backward_weight};
inline const bool conv_transpose3d_filled =
    kernels::conv_transpose3d.fill(DeviceKind::cpu, &conv_transpose3d_table);

}  // namespace voxgrad::cpu
