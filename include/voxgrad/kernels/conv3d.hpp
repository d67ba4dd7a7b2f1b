// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Contract of the 3-D convolution (cross-correlation, as in PyTorch).
// x [N,D,H,W,Ci], w [kD,kH,kW,Ci,Co], bias [Co] or null, y [N,oD,oH,oW,Co]; all contiguous.
// y[n,o,co] = bias[co] + sum over k, ci of x[n, o*stride + k*dilation - padding, ci] * w[k,ci,co].

#include <cstdint>

#include "voxgrad/core/dtype.hpp"
#include "voxgrad/core/kernels.hpp"

namespace voxgrad::kernels {

struct Conv3dProblem {
  DType dtype;
  int64_t N, in[3], Ci, out[3], Co;  ///< in, out: D, H, W
  int64_t kernel[3], stride[3], padding[3], dilation[3];
};

struct Conv3dTable {
  void (*forward)(const Conv3dProblem&, const void* x, const void* w, const void* bias, void* y);
  void (*backward_data)(const Conv3dProblem&, const void* dy, const void* w, void* dx);
  /// dbias may be null.
  void (*backward_weight)(const Conv3dProblem&, const void* x, const void* dy, void* dw, void* dbias);
};

inline constinit Kernels<Conv3dTable> conv3d{"conv3d"};

}  // namespace voxgrad::kernels
