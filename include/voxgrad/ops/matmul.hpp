// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Matrix product and the linear layer.

#include "voxgrad/kernels/matmul.hpp"
#include "voxgrad/ops/pointwise.hpp"

namespace voxgrad {

/// op(a) op(b), outside any graph.
inline Tensor matmul_forward(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  const int64_t M = a.shape()[transpose_a ? 1 : 0], K = a.shape()[transpose_a ? 0 : 1];
  const int64_t N = b.shape()[transpose_b ? 0 : 1];
  Tensor c(Shape{M, N}, a.dtype(), a.device());
  kernels::matmul.at(a.device()).forward({a.dtype(), M, N, K, transpose_a, transpose_b}, a.raw(), b.raw(), c.raw());
  return c;
}

/// c = a b for matrices a [M,K], b [K,N]; da = dc b^T, db = a^T dc.
inline Tensor matmul(const Tensor& a, const Tensor& b) {
  check<ShapeError>(a.shape().rank() == 2 && b.shape().rank() == 2 && a.shape()[1] == b.shape()[0],
                    "matmul: a ", a.shape(), " and b ", b.shape(), " are not [M,K] and [K,N]");
  check<DTypeError>(a.dtype() == b.dtype(), "matmul: a is ", name(a.dtype()), ", b is ", name(b.dtype()));
  return record("matmul", matmul_forward(a, b, false, false), {a, b}, [a = Saved(a), b = Saved(b)](const Tensor& dc, Grads& grads) {
    if (grads.wanted(0)) grads.set(0, matmul_forward(dc, b.get("matmul"), false, true));
    if (grads.wanted(1)) grads.set(1, matmul_forward(a.get("matmul"), dc, true, false));
  });
}

/// y = x w + b for x [rows,in], w [in,out], b [out] or undefined.
inline Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const Tensor y = matmul(x, weight);
  return bias.defined() ? y + bias : y;
}

}  // namespace voxgrad
