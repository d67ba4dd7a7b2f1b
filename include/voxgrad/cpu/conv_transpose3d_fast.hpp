// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The float transposed convolutions, on the row kernels: points a stride apart meet the same taps, so the
// forward pass of stride 2 runs its eight parities without a zero in between.

#include "voxgrad/cpu/conv3d_general.hpp"
#include "voxgrad/cpu/conv_transpose3d_ref.hpp"

namespace voxgrad::cpu {

/// True where two neighbours along W fit one vector and x doubles: stride 2, kernel 3, as a network's way up.
inline bool doubling_takes(const kernels::ConvTranspose3dProblem& p) {
  return p.kernel[2] == 3 && p.stride[2] == 2 && p.padding[2] == 1 && p.dilation[2] == 1 &&
         p.out[2] == 2 * p.in[2] && 2 * p.Co <= isa_lanes();
}

/// Outputs 2m and 2m+1 as one point of 2 Co channels: x[m] meets taps (1 | 2), x[m+1] taps (none | 0).
inline void conv_transpose3d_doubling(const kernels::ConvTranspose3dProblem& p, const float* x,
                                      const float* w, const float* bias, float* y) {
  const ConvAxis axis[3] = {conv_axis(p, 0, true), conv_axis(p, 1, true), {p.in[2], p.in[2], 2, 1, 0, 1}};
  RowsPlan r = rows_plan(axis, {true, true, false}, p.N, p.Ci, 2 * p.Co);
  r.ld = isa_lanes();
  const int64_t rows = p.kernel[0] * p.kernel[1];
  float* packed = static_cast<float*>(scratch(0, size_t(rows * 2 * p.Ci * r.ld + 2 * p.Co) * sizeof(float)));
  float* to = packed;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t m = 0; m < 2; ++m)
      for (int64_t ci = 0; ci < p.Ci; ++ci, to += r.ld) {
        const float* taps = w + (row * 3 * p.Ci + ci) * p.Co;
        std::fill(to, to + r.ld, 0.0f);
        if (m == 0) std::copy_n(taps + p.Ci * p.Co, p.Co, to);
        std::copy_n(taps + (m == 0 ? 2 * p.Ci * p.Co : 0), p.Co, to + p.Co);
      }
  if (bias) {
    std::copy_n(bias, p.Co, to);
    std::copy_n(bias, p.Co, to + p.Co);
    r.bias = to;
  }
  r.w = packed;
  rows_call(r, x, y);
}

inline void conv_transpose3d_forward_f32(const kernels::ConvTranspose3dProblem& p, const float* x,
                                         const float* w, const float* bias, float* y) {
  if (doubling_takes(p)) return conv_transpose3d_doubling(p, x, w, bias, y);
  const ConvAxis axis[3] = {conv_axis(p, 0, true), conv_axis(p, 1, true), conv_axis(p, 2, true)};
  conv_rows(axis, true, p.N, p.Ci, p.Co, x, w, false, bias, y);
}

inline void conv_transpose3d_backward_data_f32(const kernels::ConvTranspose3dProblem& p, const float* dy,
                                               const float* w, float* dx) {
  const ConvAxis axis[3] = {conv_axis(p, 0, true), conv_axis(p, 1, true), conv_axis(p, 2, true)};
  conv_rows(axis, false, p.N, p.Co, p.Ci, dy, w, true, nullptr, dx);
}

inline void conv_transpose3d_backward_weight_f32(const kernels::ConvTranspose3dProblem& p, const float* x,
                                                 const float* dy, float* dw, float* db) {
  const ConvAxis axis[3] = {conv_axis(p, 0, true), conv_axis(p, 1, true), conv_axis(p, 2, true)};
  conv_outer(axis, true, p.N, p.Ci, p.Co, x, dy, dw);
  if (db) conv_bias(p.N * p.out[0] * p.out[1] * p.out[2], p.Co, dy, db);
}

}  // namespace voxgrad::cpu
