// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Contract of the transposed 3-D convolution: the adjoint of conv3d from y's space to x's.
// x [N,D,H,W,Ci], w [kD,kH,kW,Ci,Co], bias [Co] or null, y [N,oD,oH,oW,Co]; all contiguous.
// x[n,i,ci] * w[k,ci,co] is added to y[n, i*stride + k*dilation - padding, co] where that lies inside y.

#include "voxgrad/kernels/conv3d.hpp"

namespace voxgrad::kernels {

/// Same fields as Conv3dProblem, `in`/Ci being x's and `out`/Co being y's.
struct ConvTranspose3dProblem : Conv3dProblem {};

struct ConvTranspose3dTable {
  void (*forward)(const ConvTranspose3dProblem&, const void* x, const void* w, const void* bias, void* y);
  void (*backward_data)(const ConvTranspose3dProblem&, const void* dy, const void* w, void* dx);
  /// dbias may be null.
  void (*backward_weight)(const ConvTranspose3dProblem&, const void* x, const void* dy, void* dw, void* dbias);
};

inline constinit Kernels<ConvTranspose3dTable> conv_transpose3d{"conv_transpose3d"};

}  // namespace voxgrad::kernels
