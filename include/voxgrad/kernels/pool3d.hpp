// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Contract of 3-D max-pooling without padding. x [N,D,H,W,C], y [N,oD,oH,oW,C], o = (i - kernel)/stride + 1.

#include <cstdint>

#include "voxgrad/core/dtype.hpp"
#include "voxgrad/core/kernels.hpp"

namespace voxgrad::kernels {

struct Pool3dProblem {
  DType dtype;
  int64_t N, in[3], out[3], C;
  int64_t kernel[3], stride[3];
};

struct MaxPool3dTable {
  void (*forward)(const Pool3dProblem&, const void* x, void* y);
  /// The gradient of each output goes to the first maximum of its window in scan order (found again from x).
  void (*backward)(const Pool3dProblem&, const void* x, const void* dy, void* dx);
};

inline constinit Kernels<MaxPool3dTable> max_pool3d{"max_pool3d"};

}  // namespace voxgrad::kernels
