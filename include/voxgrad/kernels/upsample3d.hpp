// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Contract of nearest-neighbour up-sampling by whole factors. x [N,D,H,W,C], y [N,D fD,H fH,W fW,C], y[o] = x[o / f].

#include <cstdint>

#include "voxgrad/core/dtype.hpp"
#include "voxgrad/core/kernels.hpp"

namespace voxgrad::kernels {

struct Upsample3dProblem {
  DType dtype;
  int64_t N, in[3], C;
  int64_t factor[3];
};

struct Upsample3dTable {
  void (*forward)(const Upsample3dProblem&, const void* x, void* y);
  /// dx is the sum of dy over the copies, in scan order.
  void (*backward)(const Upsample3dProblem&, const void* dy, void* dx);
};

inline constinit Kernels<Upsample3dTable> upsample3d{"upsample3d"};

}  // namespace voxgrad::kernels
