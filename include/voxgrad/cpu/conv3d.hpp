// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU table of the convolution: float by the vector kernels, double by the definition.

#include "voxgrad/cpu/conv3d_fast.hpp"

namespace voxgrad::cpu {

inline void conv3d_forward(const kernels::Conv3dProblem& p, const void* x, const void* w, const void* bias,
                           void* y) {
  const auto run = [&](auto zero, auto kernel) {
    using T = decltype(zero);
    kernel(p, static_cast<const T*>(x), static_cast<const T*>(w), static_cast<const T*>(bias),
           static_cast<T*>(y));
  };
  if (p.dtype == DType::f64)
    run(0.0, conv3d_forward_ref<double>);
  else
    run(0.0f, conv3d_forward_f32);
}

inline void conv3d_backward_data(const kernels::Conv3dProblem& p, const void* dy, const void* w, void* dx) {
  const auto run = [&](auto zero, auto kernel) {
    using T = decltype(zero);
    kernel(p, static_cast<const T*>(dy), static_cast<const T*>(w), static_cast<T*>(dx));
  };
  if (p.dtype == DType::f64)
    run(0.0, conv3d_backward_data_ref<double>);
  else
    run(0.0f, conv3d_backward_data_f32);
}

inline void conv3d_backward_weight(const kernels::Conv3dProblem& p, const void* x, const void* dy, void* dw,
                                   void* db) {
  const auto run = [&](auto zero, auto kernel) {
    using T = decltype(zero);
    kernel(p, static_cast<const T*>(x), static_cast<const T*>(dy), static_cast<T*>(dw), static_cast<T*>(db));
  };
  if (p.dtype == DType::f64)
    run(0.0, conv3d_backward_weight_ref<double>);
  else
    run(0.0f, conv3d_backward_weight_f32);
}

inline constexpr kernels::Conv3dTable conv3d_table{conv3d_forward, conv3d_backward_data,
                                                   conv3d_backward_weight};
inline const bool conv3d_filled = kernels::conv3d.fill(DeviceKind::cpu, &conv3d_table);

}  // namespace voxgrad::cpu
