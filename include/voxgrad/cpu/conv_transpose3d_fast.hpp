// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The float transposed convolutions, on the row kernels: points a stride apart meet the same taps, so the forward
// pass of stride 2 runs its eight parities without a zero in between.

#include "voxgrad/cpu/conv3d_general.hpp"
#include "voxgrad/cpu/conv_transpose3d_ref.hpp"

namespace voxgrad::cpu {

inline void conv_transpose3d_forward_f32(const kernels::ConvTranspose3dProblem& p, const float* x, const float* w,
                                         const float* bias, float* y) {
  const ConvAxis axis[3] = {conv_axis(p, 0, true), conv_axis(p, 1, true), conv_axis(p, 2, true)};
  conv_rows(axis, true, p.N, p.Ci, p.Co, x, w, false, bias, y);
}

inline void conv_transpose3d_backward_data_f32(const kernels::ConvTranspose3dProblem& p, const float* dy, const float* w, float* dx) {
  const ConvAxis axis[3] = {conv_axis(p, 0, true), conv_axis(p, 1, true), conv_axis(p, 2, true)};
  conv_rows(axis, false, p.N, p.Co, p.Ci, dy, w, true, nullptr, dx);
}

inline void conv_transpose3d_backward_weight_f32(const kernels::ConvTranspose3dProblem& p, const float* x, const float* dy,
                                                 float* dw, float* db) {
  const ConvAxis axis[3] = {conv_axis(p, 0, true), conv_axis(p, 1, true), conv_axis(p, 2, true)};
  conv_outer(axis, true, p.N, p.Ci, p.Co, x, dy, dw);
  if (db) conv_bias(p.N * p.out[0] * p.out[1] * p.out[2], p.Co, dy, db);
}

}  // namespace voxgrad::cpu
