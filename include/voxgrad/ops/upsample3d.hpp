// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Nearest-neighbour up-sampling.

#include "voxgrad/autograd/record.hpp"
#include "voxgrad/core/trace.hpp"
#include "voxgrad/kernels/upsample3d.hpp"

namespace voxgrad {

/// Every voxel repeated `factor` times along z, y, x. x [N,D,H,W,C] -> [N,D fD,H fH,W fW,C]; dx sums dy over the copies.
inline Tensor upsample_nearest3d(const Tensor& x, std::array<int64_t, 3> factor = {2, 2, 2}) {
  check<ShapeError>(x.shape().rank() == 5, "upsample_nearest3d: x must be [N,D,H,W,C], got ", x.shape());
  kernels::Upsample3dProblem p{x.dtype(), x.shape()[0], {}, x.shape()[4], {}};
  Shape out = x.shape();
  for (int i = 0; i < 3; ++i) {
    p.in[i] = x.shape()[i + 1];
    p.factor[i] = factor[size_t(i)];
    check<ShapeError>(p.factor[i] >= 1, "upsample_nearest3d: factors start at 1, got ", factor[0], ",", factor[1], ",", factor[2]);
    out.set(i + 1, p.in[i] * p.factor[i]);
  }
  Tensor y(out, x.dtype(), x.device());
  {
    TraceScope trace("upsample_nearest3d", "forward", x.shape(), out);
    kernels::upsample3d.at(x.device()).forward(p, x.raw(), y.raw());
  }
  return record("upsample_nearest3d", y, {x}, [p, shape = x.shape()](const Tensor& dy, Grads& grads) {
    Tensor dx(shape, dy.dtype(), dy.device());
    TraceScope trace("upsample_nearest3d", "backward", dy.shape(), shape);
    kernels::upsample3d.at(dy.device()).backward(p, dy.raw(), dx.raw());
    grads.set(0, dx);
  });
}

}  // namespace voxgrad
