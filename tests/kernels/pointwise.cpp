// SPDX-License-Identifier: BSD-3-Clause
// Pointwise kernels against their functors in double.

#include "guarded.hpp"

using namespace voxgrad;
using namespace voxgrad::kernels;

namespace {

/// Inputs away from the kinks, positive where the functor needs it.
template <class F, class T>
EdgeVector<T> inputs(int64_t n) {
  const bool positive = std::is_same_v<F, Log> || std::is_same_v<F, Sqrt>;
  return noise_vector<T>(n, 1, positive ? 2 : 4, positive ? 2.01 : 0.001);
}

template <class F, class T>
void check_unary(double tolerance) {
  INFO(F::name);
  const Params p{0.3, 1.7};
  const DType dtype = DTypeOf<T>::value;
  for (int64_t n : odd_sizes) {
    const EdgeVector<T> x = inputs<F, T>(n), dy = noise_vector<T>(n, 2);
    Guarded<T> y(n), dx(n);
    unary<F>.at(host).forward(dtype, n, p, x.data(), y.data());
    unary<F>.at(host).backward(dtype, n, p, x.data(), y.data(), dy.data(), dx.data());
    CHECK(y.intact());
    CHECK(dx.intact());
    CHECK(worst(y, 0.1, [&](int64_t i) { return F::f(double(x[size_t(i)]), p); }) < tolerance);
    CHECK(worst(dx, 0.1, [&](int64_t i) {
      const double v = x[size_t(i)];
      return double(dy[size_t(i)]) * F::df(v, F::f(v, p), p);
    }) < 4 * tolerance);
  }
}

template <class... Fs>
void check_all(List<Fs...>) {
  on_every_isa([] { (check_unary<Fs, float>(4e-7), ...); });
  (check_unary<Fs, double>(1e-14), ...);
}

/// Checks f32 results over a sweep of x in units in the last place of the double result.
template <class F, class Want>
void sweep(double from, double to, double most_ulp, Want&& want) {
  const int64_t n = 200001;
  std::vector<float> x;
  for (int64_t i = 0; i < n; ++i) x.push_back(float(from + (to - from) * double(i) / double(n - 1)));
  std::vector<float> y(x.size());
  unary<F>.at(host).forward(DType::f32, n, {}, x.data(), y.data());
  double most = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double w = want(double(x[i]));
    int exponent;
    std::frexp(w, &exponent);
    const double ulp = std::ldexp(1.0, std::max(exponent - 24, -149));
    most = std::max(most, std::fabs(double(y[i]) - w) / ulp);
  }
  INFO(F::name << " from " << from << " to " << to);
  CHECK(most < most_ulp);
}

}  // namespace

TEST_CASE("unary ops equal their functors") { check_all(UnaryList{}); }

TEST_CASE("exp, log, sigmoid and softplus are accurate over their whole range") {
  on_every_isa([] {
    const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
    const auto softplus = [](double v) { return v > 0 ? v + std::log1p(std::exp(-v)) : std::log1p(std::exp(v)); };
    sweep<Exp>(-1, 1, 2, [](double v) { return std::exp(v); });
    sweep<Exp>(-103, 88.7, 2, [](double v) { return std::exp(v); });
    sweep<Sigmoid>(-80, 80, 4, sigmoid);
    sweep<Sigmoid>(-3, 3, 4, sigmoid);
    sweep<Softplus>(-80, 80, 4, softplus);
    sweep<Softplus>(-3, 3, 4, softplus);
    sweep<Log>(0.4, 3, 3, [](double v) { return std::log(v); });
    sweep<Log>(1e-44, 1e-37, 3, [](double v) { return std::log(v); });
    sweep<Log>(1, 3e38, 3, [](double v) { return std::log(v); });
  });
}

TEST_CASE("infinities and NaN go through pointwise ops as in IEEE arithmetic") {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  on_every_isa([&] {
    float x[35];
    const auto at = [&](auto f, float v) {  // the value through the vector and through the tail
      using F = decltype(f);
      float y[35];
      for (float& e : x) e = v;
      unary<F>.at(host).forward(DType::f32, 35, {0.1, 1}, x, y);
      CHECK(std::memcmp(&y[0], &y[34], 4) == 0);
      return y[0];
    };
    CHECK(at(Exp{}, inf) == inf);
    CHECK(at(Exp{}, 89.f) == inf);
    CHECK(at(Exp{}, -inf) == 0);
    CHECK(at(Exp{}, -200.f) == 0);
    CHECK(std::isnan(at(Exp{}, nan)));
    CHECK(at(Sigmoid{}, inf) == 1);
    CHECK(at(Sigmoid{}, -inf) == 0);
    CHECK(std::isnan(at(Sigmoid{}, nan)));
    CHECK(at(Softplus{}, inf) == inf);
    CHECK(at(Softplus{}, -inf) == 0);
    CHECK(std::isnan(at(Softplus{}, nan)));
    CHECK(at(Log{}, 0.f) == -inf);
    CHECK(at(Log{}, inf) == inf);
    CHECK(std::isnan(at(Log{}, -1.f)));
    CHECK(std::isnan(at(Log{}, nan)));
    CHECK(std::isnan(at(LeakyRelu{}, nan)));
    CHECK(std::isnan(at(Clamp{}, nan)));
    CHECK(std::isnan(at(Sqrt{}, -1.f)));
  });
}

TEST_CASE("a unary op gives the same bits on any number of threads, in place too") {
  const int64_t n = 100003;
  const EdgeVector<float> x = noise_vector<float>(n, 3, 5);
  Guarded<float> y(n);
  same_bits_on_threads(y, [&] { unary<Softplus>.at(host).forward(DType::f32, n, {}, x.data(), y.data()); });
  const std::vector<float> want = y.copy();
  for (int64_t i = 0; i < n; ++i) y[i] = x[size_t(i)];
  unary<Softplus>.at(host).forward(DType::f32, n, {}, y.data(), y.data());
  CHECK(want == y.copy());
}

namespace {
template <class F, class T>
void check_binary(const Shape& a_shape, const Shape& b_shape) {
  INFO(F::name << " " << a_shape << " and " << b_shape);
  BinaryProblem p{DTypeOf<T>::value, broadcast(a_shape, b_shape, F::name), {}, {}, a_shape == b_shape};
  const auto strides = [&](const Shape& s, int64_t* out) {
    int64_t step = 1;
    for (int i = 1; i <= s.rank(); ++i) {
      out[p.out.rank() - i] = s[-i] == 1 ? 0 : step;
      step *= s[-i];
    }
  };
  strides(a_shape, p.a_stride);
  strides(b_shape, p.b_stride);
  const EdgeVector<T> a = noise_vector<T>(a_shape.size(), 1, 1, 3), b = noise_vector<T>(b_shape.size(), 2, 1, 3);
  Guarded<T> y(p.out.size());
  binary<F>.at(host).forward(p, a.data(), b.data(), y.data());
  CHECK(y.intact());
  CHECK(worst(y, 0.1, [&](int64_t i) {
    int64_t ia = 0, ib = 0, rest = i;
    for (int axis = p.out.rank() - 1; axis >= 0; --axis) {
      ia += rest % p.out[axis] * p.a_stride[axis];
      ib += rest % p.out[axis] * p.b_stride[axis];
      rest /= p.out[axis];
    }
    return F::f(double(a[size_t(ia)]), double(b[size_t(ib)]));
  }) < 1e-6);
}

template <class... Fs>
void check_shapes(List<Fs...>) {
  const Shape shapes[][2] = {{Shape{}, Shape{}},          {Shape{7}, Shape{}},
                             {Shape{0, 3}, Shape{3}},     {Shape{5, 17}, Shape{17}},
                             {Shape{5, 17}, Shape{5, 1}}, {Shape{4, 1, 3}, Shape{1, 5, 3}},
                             {Shape{2, 3, 4, 5, 6}, Shape{3, 1, 5, 1}},
                             {Shape{1, 40000}, Shape{40000}}, {Shape{3000, 8}, Shape{8}}};
  for (const auto& s : shapes) {
    (check_binary<Fs, float>(s[0], s[1]), ...);
    (check_binary<Fs, float>(s[1], s[0]), ...);
    (check_binary<Fs, double>(s[0], s[1]), ...);
  }
}
}  // namespace

TEST_CASE("binary ops broadcast") {
  on_every_isa([] { check_shapes(BinaryList{}); });
}
