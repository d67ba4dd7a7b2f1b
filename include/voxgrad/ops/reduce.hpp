// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Sums and means over axes, and the broadcast back.

#include "voxgrad/autograd/record.hpp"
#include "voxgrad/kernels/concat.hpp"
#include "voxgrad/kernels/reduce.hpp"

namespace voxgrad {

/// Sum over the marked axes, outside any graph; the result has the kept axes.
inline Tensor reduce_sum(const Tensor& x, const bool (&reduced)[Shape::max_rank]) {
  kernels::ReduceProblem p{x.dtype(), x.shape(), {}};
  int64_t kept[Shape::max_rank];
  int count = 0;
  for (int i = 0; i < x.shape().rank(); ++i) {
    p.reduced[i] = reduced[i];
    if (!reduced[i]) kept[count++] = x.shape()[i];
  }
  Tensor y(Shape(kept, kept + count), x.dtype(), x.device());
  kernels::reduce.at(x.device()).sum(p, x.raw(), y.raw());
  return y;
}

/// Sums a broadcast gradient back to the shape of the operand, outside any graph.
inline Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  bool reduced[Shape::max_rank] = {};
  for (int i = 1; i <= x.shape().rank(); ++i)
    reduced[x.shape().rank() - i] = i > shape.rank() || (shape[-i] == 1 && x.shape()[-i] != 1);
  return reduce_sum(x, reduced).view(shape);
}

/// Sum over the given axes (all when none are given); negative axes count from the end. dx repeats dy.
inline Tensor sum(const Tensor& x, std::initializer_list<int> axes = {}) {
  bool reduced[Shape::max_rank] = {};
  for (int i = 0; i < x.shape().rank(); ++i) reduced[i] = axes.size() == 0;
  for (int axis : axes) {
    const int i = axis < 0 ? axis + x.shape().rank() : axis;
    check<ShapeError>(i >= 0 && i < x.shape().rank(), "sum: axis ", axis, " of a tensor of shape ", x.shape());
    reduced[i] = true;
  }
  Shape ones = x.shape();  // the result's shape with the summed axes left in as 1
  for (int i = 0; i < ones.rank(); ++i)
    if (reduced[i]) ones.set(i, 1);
  return record("sum", reduce_sum(x, reduced), {x}, [shape = x.shape(), ones](const Tensor& dy, Grads& grads) {
    Tensor dx(shape, dy.dtype(), dy.device());
    kernels::BinaryProblem p{dy.dtype(), shape, {}, {}, false};  // dy + 0, broadcast
    int64_t step = 1;
    for (int i = shape.rank() - 1; i >= 0; --i) {
      p.a_stride[i] = ones[i] == 1 ? 0 : step;
      step *= ones[i];
    }
    const Tensor zero = Tensor::full({}, 0, dy.dtype());
    kernels::binary<kernels::Add>.at(dy.device()).forward(p, dy.raw(), zero.raw(), dx.raw());
    grads.set(0, dx);
  });
}

/// Same elements under another shape of equal size; shares the memory.
inline Tensor reshape(const Tensor& x, const Shape& shape) {
  check<ShapeError>(shape.size() == x.size(), "reshape: ", x.shape(), " has ", x.size(), " elements, ", shape, " has ",
                    shape.size());
  return record("reshape", x.view(shape), {x},
                [from = x.shape()](const Tensor& dy, Grads& grads) { grads.set(0, dy.view(from)); });
}

}  // namespace voxgrad
