// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// 3-D max-pooling.

#include "voxgrad/autograd/record.hpp"
#include "voxgrad/core/trace.hpp"
#include "voxgrad/kernels/pool3d.hpp"

namespace voxgrad {

inline kernels::Pool3dProblem pool3d_problem(const char* op, const Shape& x, DType dtype, const std::array<int64_t, 3>& kernel,
                                             const std::array<int64_t, 3>& stride) {
  check<ShapeError>(x.rank() == 5, op, ": x must be [N,D,H,W,C], got ", x);
  kernels::Pool3dProblem p{dtype, x[0], {}, {}, x[4], {}, {}};
  for (int i = 0; i < 3; ++i) {
    p.in[i] = x[i + 1];
    p.kernel[i] = kernel[size_t(i)];
    p.stride[i] = stride[size_t(i)];
    check<ShapeError>(p.kernel[i] >= 1 && p.stride[i] >= 1, op, ": kernel and stride start at 1");
    p.out[i] = conv_extent(p.in[i], p.kernel[i], p.stride[i], 0, 1);
    check<ShapeError>(p.out[i] > 0, op, ": a window of ", p.kernel[i], " does not fit into x ", x);
  }
  return p;
}

/// Maximum over windows of `kernel` voxels every `stride` voxels, without padding; incomplete windows are dropped.
/// x [N,D,H,W,C]. The gradient goes to the first maximum in scan order, as in PyTorch.
inline Tensor max_pool3d(const Tensor& x, std::array<int64_t, 3> kernel = {2, 2, 2}, std::array<int64_t, 3> stride = {2, 2, 2}) {
  const kernels::Pool3dProblem p = pool3d_problem("max_pool3d", x.shape(), x.dtype(), kernel, stride);
  Tensor y(Shape{p.N, p.out[0], p.out[1], p.out[2], p.C}, x.dtype(), x.device());
  {
    TraceScope trace("max_pool3d", "forward", x.shape(), y.shape());
    kernels::max_pool3d.at(x.device()).forward(p, x.raw(), y.raw());
  }
  if (!recording({&x, 1})) return y;
  return record("max_pool3d", y, {x}, [p, x = Saved(x)](const Tensor& dy, Grads& grads) {
    const Tensor& xv = x.get("max_pool3d");
    Tensor dx = empty_like(xv);
    TraceScope trace("max_pool3d", "backward", dy.shape(), dx.shape());
    kernels::max_pool3d.at(dy.device()).backward(p, xv.raw(), dy.raw(), dx.raw());
    grads.set(0, dx);
  });
}

}  // namespace voxgrad
