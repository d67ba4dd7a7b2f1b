// SPDX-License-Identifier: BSD-3-Clause
// Pointwise kernels on vectors: value and derivative of each functor, and the loops over flat memory.

namespace flat {

struct Factors {
  float a, b;
};

[[gnu::always_inline]] inline Vec value(kernels::LeakyRelu, Vec x, Factors p) { return select(x > 0.f, x, x * p.a); }
[[gnu::always_inline]] inline Vec slope(kernels::LeakyRelu, Vec x, Vec, Factors p) {
  return select(x > 0.f, splat(1.f), splat(p.a));
}
[[gnu::always_inline]] inline Vec value(kernels::Sigmoid, Vec x, Factors) { return sigmoid(x); }
[[gnu::always_inline]] inline Vec slope(kernels::Sigmoid, Vec, Vec y, Factors) { return y * (1.f - y); }
[[gnu::always_inline]] inline Vec value(kernels::Softplus, Vec x, Factors) { return softplus(x); }
[[gnu::always_inline]] inline Vec slope(kernels::Softplus, Vec x, Vec, Factors) { return sigmoid(x); }
[[gnu::always_inline]] inline Vec value(kernels::Exp, Vec x, Factors) { return exp(x); }
[[gnu::always_inline]] inline Vec slope(kernels::Exp, Vec, Vec y, Factors) { return y; }
[[gnu::always_inline]] inline Vec value(kernels::Log, Vec x, Factors) { return log(x); }
[[gnu::always_inline]] inline Vec slope(kernels::Log, Vec x, Vec, Factors) { return 1.f / x; }
[[gnu::always_inline]] inline Vec value(kernels::Sqrt, Vec x, Factors) { return sqrt(x); }
[[gnu::always_inline]] inline Vec slope(kernels::Sqrt, Vec, Vec y, Factors) { return 0.5f / y; }
[[gnu::always_inline]] inline Vec value(kernels::Square, Vec x, Factors) { return x * x; }
[[gnu::always_inline]] inline Vec slope(kernels::Square, Vec x, Vec, Factors) { return 2.f * x; }
[[gnu::always_inline]] inline Vec value(kernels::Abs, Vec x, Factors) { return abs(x); }
[[gnu::always_inline]] inline Vec slope(kernels::Abs, Vec x, Vec, Factors) {
  return select(x > 0.f, splat(1.f), select(x < 0.f, splat(-1.f), splat(0.f)));
}
[[gnu::always_inline]] inline Vec value(kernels::Affine, Vec x, Factors p) { return x * p.a + p.b; }
[[gnu::always_inline]] inline Vec slope(kernels::Affine, Vec, Vec, Factors p) { return splat(p.a); }
[[gnu::always_inline]] inline Vec value(kernels::Clamp, Vec x, Factors p) {
  return select(x < p.a, splat(p.a), select(x > p.b, splat(p.b), x));
}
[[gnu::always_inline]] inline Vec slope(kernels::Clamp, Vec x, Vec, Factors p) {
  return select((x < p.a) | (x > p.b), splat(0.f), splat(1.f));
}

template <class F>
void unary_forward(int64_t n, kernels::Params params, const float* x, float* y) {
  const Factors p{float(params.a), float(params.b)};
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) store(y + i, value(F{}, load(x + i), p));
  if (i < n) store_part(y + i, value(F{}, load_part(x + i, n - i), p), n - i);
}

template <class F>
void unary_backward(int64_t n, kernels::Params params, const float* x, const float* y, const float* dy, float* dx) {
  const Factors p{float(params.a), float(params.b)};
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) store(dx + i, load(dy + i) * slope(F{}, load(x + i), load(y + i), p));
  if (i < n) {
    const int64_t m = n - i;
    store_part(dx + i, load_part(dy + i, m) * slope(F{}, load_part(x + i, m), load_part(y + i, m), p), m);
  }
}

[[gnu::always_inline]] inline Vec value(kernels::Add, Vec a, Vec b) { return a + b; }
[[gnu::always_inline]] inline Vec value(kernels::Sub, Vec a, Vec b) { return a - b; }
[[gnu::always_inline]] inline Vec value(kernels::Mul, Vec a, Vec b) { return a * b; }
[[gnu::always_inline]] inline Vec value(kernels::Div, Vec a, Vec b) { return a / b; }

/// One run of a binary op: each operand is contiguous or, with step 0, one repeated number.
template <class F>
void binary_run(int64_t n, const float* a, int64_t a_step, const float* b, int64_t b_step, float* y) {
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    store(y + i, value(F{}, a_step ? load(a + i) : splat(*a), b_step ? load(b + i) : splat(*b)));
  for (; i < n; ++i) y[i] = F::f(a[i * a_step], b[i * b_step]);
}

}  // namespace flat
