// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The float transposed convolutions: doubling kernels for long rows, else the row kernels, where points a
// stride apart meet the same taps.

#include "voxgrad/cpu/conv_transpose3d_doubling.hpp"
#include "voxgrad/cpu/conv_transpose3d_ref.hpp"

namespace voxgrad::cpu {

inline void conv_transpose3d_forward_f32(const kernels::ConvTranspose3dProblem& p, const float* x,
                                         const float* w, const float* bias, float* y) {
  if (doubling_takes(p)) return conv_transpose3d_doubling(doubling_plan(p, false), x, w, bias, y);
  const ConvAxis axis[3] = {conv_axis(p, 0, true), conv_axis(p, 1, true), conv_axis(p, 2, true)};
  conv_rows(axis, true, p.N, p.Ci, p.Co, x, w, false, bias, y);
}

inline void conv_transpose3d_backward_data_f32(const kernels::ConvTranspose3dProblem& p, const float* dy,
                                               const float* w, float* dx) {
  if (doubling_takes(p))
    if (const DirectPlan d = doubling_plan(p, true); d.vectors > 0)
      return conv_transpose3d_halving(d, dy, w, dx);
  const ConvAxis axis[3] = {conv_axis(p, 0, true), conv_axis(p, 1, true), conv_axis(p, 2, true)};
  conv_rows(axis, false, p.N, p.Co, p.Ci, dy, w, true, nullptr, dx);
}

inline void conv_transpose3d_backward_weight_f32(const kernels::ConvTranspose3dProblem& p, const float* x,
                                                 const float* dy, float* dw, float* db) {
  if (doubling_takes(p) && p.Ci % isa_lanes() == 0 && p.Co % 8 == 0) {
    conv_transpose3d_doubling_weight(doubling_plan(p, false), x, dy, dw);
  } else {
    const ConvAxis axis[3] = {conv_axis(p, 0, true), conv_axis(p, 1, true), conv_axis(p, 2, true)};
    conv_outer(axis, true, p.N, p.Ci, p.Co, x, dy, dw);
  }
  if (db) conv_bias(p.N * p.out[0] * p.out[1] * p.out[2], p.Co, dy, db);
}

}  // namespace voxgrad::cpu
