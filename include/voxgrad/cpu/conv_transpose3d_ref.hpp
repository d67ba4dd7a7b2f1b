// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The transposed convolution as loops: conv3d_ref's sums with the two grids exchanged.

#include "voxgrad/cpu/conv3d_ref.hpp"
#include "voxgrad/kernels/conv_transpose3d.hpp"

namespace voxgrad::cpu {

template <class T>
void conv_transpose3d_forward_ref(const kernels::ConvTranspose3dProblem& p, const T* x, const T* w,
                                  const T* bias, T* y) {
  const ConvAxis axis[3] = {conv_axis(p, 0, true), conv_axis(p, 1, true), conv_axis(p, 2, true)};
  conv_scatter_ref(axis, p.N, p.Ci, p.Co, x, w, bias, y);
}

template <class T>
void conv_transpose3d_backward_data_ref(const kernels::ConvTranspose3dProblem& p, const T* dy, const T* w,
                                        T* dx) {
  const ConvAxis axis[3] = {conv_axis(p, 0, true), conv_axis(p, 1, true), conv_axis(p, 2, true)};
  const T* no_bias = nullptr;
  conv_gather_ref(axis, p.N, p.Co, p.Ci, dy, conv_transposed_weight(conv_taps(p), p.Ci, p.Co, w), no_bias,
                  dx);
}

template <class T>
void conv_transpose3d_backward_weight_ref(const kernels::ConvTranspose3dProblem& p, const T* x, const T* dy,
                                          T* dw, T* db) {
  const ConvAxis axis[3] = {conv_axis(p, 0, true), conv_axis(p, 1, true), conv_axis(p, 2, true)};
  conv_weight_ref(axis, true, p.N, p.Ci, p.Co, x, dy, dw);
  if (db) conv_bias_ref(p.N * p.out[0] * p.out[1] * p.out[2], p.Co, dy, db);
}

}  // namespace voxgrad::cpu
