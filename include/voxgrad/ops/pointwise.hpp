// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Pointwise functions and broadcasting arithmetic.

#include "voxgrad/autograd/record.hpp"
#include "voxgrad/core/trace.hpp"
#include "voxgrad/kernels/pointwise.hpp"
#include "voxgrad/ops/reduce.hpp"

namespace voxgrad {

/// y = F(x) elementwise, dx = dy * F'(x). Any shape, f32 or f64.
template <class F>
Tensor unary(const Tensor& x, kernels::Params params = {}) {
  const auto& table = kernels::unary<F>.at(x.device());
  Tensor y = empty_like(x);
  {
    TraceScope trace(F::name, "forward", x.shape(), y.shape());
    table.forward(x.dtype(), x.size(), params, x.raw(), y.raw());
  }
  if (!recording({&x, 1})) return y;
  const Saved kept(F::reads == kernels::Reads::x ? x : F::reads == kernels::Reads::y ? y : Tensor());
  return record(F::name, y, {x}, [params, kept](const Tensor& dy, Grads& grads) {
    Tensor dx = empty_like(dy);
    TraceScope trace(F::name, "backward", dy.shape(), dx.shape());
    const Tensor& read = kept.get(F::name).defined() ? kept.get(F::name) : dy;
    kernels::unary<F>.at(dy.device()).backward(dy.dtype(), dy.size(), params, read.raw(), read.raw(), dy.raw(), dx.raw());
    grads.set(0, dx);
  });
}

/// max(x, slope x) for slope in [0, 1).
inline Tensor leaky_relu(const Tensor& x, double slope) { return unary<kernels::LeakyRelu>(x, {slope, 0}); }
inline Tensor relu(const Tensor& x) { return leaky_relu(x, 0); }
/// 1 / (1 + e^-x), without overflow.
inline Tensor sigmoid(const Tensor& x) { return unary<kernels::Sigmoid>(x); }
/// log(1 + e^x), without overflow.
inline Tensor softplus(const Tensor& x) { return unary<kernels::Softplus>(x); }
inline Tensor tanh(const Tensor& x) { return unary<kernels::Tanh>(x); }
/// scale * (x > 0 ? x : alpha (e^x - 1)), alpha and scale > 0 (Clevert et al. 2016; SELU: Klambauer et al. 2017).
inline Tensor elu(const Tensor& x, double alpha = 1, double scale = 1) {
  check<UsageError>(alpha > 0 && scale > 0, "elu: alpha ", alpha, " and scale ", scale, " must be above 0");
  return unary<kernels::Elu>(x, {alpha, scale});
}
inline Tensor exp(const Tensor& x) { return unary<kernels::Exp>(x); }
inline Tensor log(const Tensor& x) { return unary<kernels::Log>(x); }
inline Tensor sqrt(const Tensor& x) { return unary<kernels::Sqrt>(x); }
inline Tensor square(const Tensor& x) { return unary<kernels::Square>(x); }
inline Tensor abs(const Tensor& x) { return unary<kernels::Abs>(x); }
/// x limited to [low, high]; no gradient outside.
inline Tensor clamp(const Tensor& x, double low, double high) {
  check<UsageError>(low <= high, "clamp: low ", low, " is above high ", high);
  return unary<kernels::Clamp>(x, {low, high});
}
/// factor * x + offset.
inline Tensor affine(const Tensor& x, double factor, double offset) { return unary<kernels::Affine>(x, {factor, offset}); }

/// y = F(a, b) elementwise with broadcasting, outside any graph.
template <class F>
Tensor binary_forward(const Tensor& a, const Tensor& b) {
  check<DTypeError>(a.dtype() == b.dtype(), F::name, ": a is ", name(a.dtype()), ", b is ", name(b.dtype()));
  check<DeviceError>(a.device() == b.device(), F::name, ": a is on ", name(a.device()), ", b on ", name(b.device()));
  kernels::BinaryProblem p{a.dtype(), broadcast(a.shape(), b.shape(), F::name), {}, {}, a.shape() == b.shape()};
  const auto strides = [&](const Shape& s, int64_t* out) {
    int64_t step = 1;
    for (int i = 1; i <= p.out.rank(); ++i) {
      const int64_t extent = i <= s.rank() ? s[-i] : 1;
      out[p.out.rank() - i] = extent == 1 ? 0 : step;
      step *= extent;
    }
  };
  strides(a.shape(), p.a_stride);
  strides(b.shape(), p.b_stride);
  Tensor y(p.out, a.dtype(), a.device());
  kernels::binary<F>.at(a.device()).forward(p, a.raw(), b.raw(), y.raw());
  return y;
}

/// a + b, shapes broadcast.
inline Tensor add(const Tensor& a, const Tensor& b) {
  return record("add", binary_forward<kernels::Add>(a, b), {a, b},
                [as = a.shape(), bs = b.shape()](const Tensor& dy, Grads& grads) {
                  if (grads.wanted(0)) grads.set(0, sum_to(dy, as));
                  if (grads.wanted(1)) grads.set(1, sum_to(dy, bs));
                });
}
/// a - b, shapes broadcast.
inline Tensor sub(const Tensor& a, const Tensor& b) {
  return record("sub", binary_forward<kernels::Sub>(a, b), {a, b},
                [as = a.shape(), bs = b.shape()](const Tensor& dy, Grads& grads) {
                  if (grads.wanted(0)) grads.set(0, sum_to(dy, as));
                  if (grads.wanted(1)) grads.set(1, affine(sum_to(dy, bs), -1, 0));
                });
}
/// a * b elementwise, shapes broadcast.
inline Tensor mul(const Tensor& a, const Tensor& b) {
  Tensor y = binary_forward<kernels::Mul>(a, b);
  return record("mul", y, {a, b}, [a = Saved(a), b = Saved(b)](const Tensor& dy, Grads& grads) {
    const Tensor &av = a.get("mul"), &bv = b.get("mul");
    if (grads.wanted(0)) grads.set(0, sum_to(binary_forward<kernels::Mul>(dy, bv), av.shape()));
    if (grads.wanted(1)) grads.set(1, sum_to(binary_forward<kernels::Mul>(dy, av), bv.shape()));
  });
}
/// a / b elementwise, shapes broadcast.
inline Tensor div(const Tensor& a, const Tensor& b) {
  Tensor y = binary_forward<kernels::Div>(a, b);
  return record("div", y, {a, b}, [a = Saved(a), b = Saved(b), y = Saved(y)](const Tensor& dy, Grads& grads) {
    const Tensor da = binary_forward<kernels::Div>(dy, b.get("div"));
    if (grads.wanted(0)) grads.set(0, sum_to(da, a.get("div").shape()));
    if (grads.wanted(1))
      grads.set(1, affine(sum_to(binary_forward<kernels::Mul>(da, y.get("div")), b.get("div").shape()), -1, 0));
  });
}

inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
inline Tensor operator+(const Tensor& a, double b) { return affine(a, 1, b); }
inline Tensor operator+(double a, const Tensor& b) { return affine(b, 1, a); }
inline Tensor operator-(const Tensor& a, double b) { return affine(a, 1, -b); }
inline Tensor operator-(double a, const Tensor& b) { return affine(b, -1, a); }
inline Tensor operator-(const Tensor& a) { return affine(a, -1, 0); }
inline Tensor operator*(const Tensor& a, double b) { return affine(a, b, 0); }
inline Tensor operator*(double a, const Tensor& b) { return affine(b, a, 0); }
inline Tensor operator/(const Tensor& a, double b) { return affine(a, 1 / b, 0); }

}  // namespace voxgrad
