// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Softmax over the channels.

#include "voxgrad/autograd/record.hpp"
#include "voxgrad/core/trace.hpp"
#include "voxgrad/kernels/softmax.hpp"

namespace voxgrad {

/// y = e^x / sum over the last axis of e^x, without overflow. x [..., C], f32 or f64. dx = y (dy - sum(dy y)).
inline Tensor softmax(const Tensor& x) {
  check<ShapeError>(x.shape().rank() >= 1 && x.shape()[-1] > 0, "softmax: x must have a channel axis, got ", x.shape());
  const kernels::SoftmaxProblem p{x.dtype(), x.size() / x.shape()[-1], x.shape()[-1]};
  Tensor y = empty_like(x);
  {
    TraceScope trace("softmax", "forward", x.shape(), x.shape());
    kernels::softmax.at(x.device()).forward(p, x.raw(), y.raw());
  }
  if (!recording({&x, 1})) return y;
  return record("softmax", y, {x}, [p, y = Saved(y)](const Tensor& dy, Grads& grads) {
    Tensor dx = empty_like(dy);
    TraceScope trace("softmax", "backward", dy.shape(), dx.shape());
    kernels::softmax.at(dy.device()).backward(p, y.get("softmax").raw(), dy.raw(), dx.raw());
    grads.set(0, dx);
  });
}

}  // namespace voxgrad
