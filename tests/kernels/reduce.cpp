// SPDX-License-Identifier: BSD-3-Clause
// Sums over axes and losses against plain loops in double.

#include "voxgrad/kernels/reduce.hpp"

#include "guarded.hpp"

using namespace voxgrad;
using namespace voxgrad::kernels;

namespace {
template <class T>
void check_sum(const Shape& in, unsigned mask, double tolerance) {
  ReduceProblem p{DTypeOf<T>::value, in, {}};
  int64_t outputs = 1;
  for (int i = 0; i < in.rank(); ++i) {
    p.reduced[i] = (mask >> i & 1) != 0;
    if (!p.reduced[i]) outputs *= in[i];
  }
  const EdgeVector<T> x = noise_vector<T>(in.size(), 1, 1, 0.5);
  std::vector<double> want(size_t(outputs), 0.0);
  for (int64_t i = 0; i < in.size(); ++i) {
    int64_t o = 0, step = 1, rest = i;
    for (int axis = in.rank() - 1; axis >= 0; --axis) {
      if (!p.reduced[axis]) {
        o += rest % in[axis] * step;
        step *= in[axis];
      }
      rest /= in[axis];
    }
    want[size_t(o)] += double(x[size_t(i)]);
  }
  Guarded<T> y(outputs);
  reduce.at(host).sum(p, x.data(), y.data());
  INFO("sum of " << in << " mask " << mask);
  CHECK(y.intact());
  CHECK(worst(y, 1e-3, [&](int64_t i) { return want[size_t(i)]; }) < tolerance);
}
}  // namespace

TEST_CASE("sums over every choice of axes") {
  on_every_isa([] {
    for (const Shape& in : {Shape{3, 5, 1, 7}, Shape{2, 17, 3, 9}, Shape{1, 1, 1, 1}, Shape{4, 0, 3, 2}})
      for (unsigned mask = 0; mask < 16; ++mask) {
        check_sum<float>(in, mask, 1e-6);
        check_sum<double>(in, mask, 1e-13);
      }
    check_sum<float>(Shape{}, 0, 1e-6);
    for (unsigned mask = 0; mask < 4; ++mask) {  // several blocks, several strips of columns
      check_sum<float>(Shape{40001, 8}, mask, 1e-6);
      check_sum<float>(Shape{40001, 3}, mask, 1e-6);
      check_sum<float>(Shape{150, 2500}, mask, 1e-6);
      check_sum<float>(Shape{3, 50001}, mask, 1e-6);
    }
    check_sum<float>(Shape{2, 300, 3, 70, 5}, 0b01010, 1e-6);
    check_sum<float>(Shape{2, 300, 3, 70, 5}, 0b10101, 1e-6);
  });
}

TEST_CASE("a sum of many equal numbers is exact to float") {
  const std::vector<float> x(3000001, 0.1f);
  float y = 0;
  reduce.at(host).sum({DType::f32, Shape{3000001}, {true}}, x.data(), &y);
  CHECK(y == float(3000001 * double(0.1f)));
}

TEST_CASE("sums give the same bits on any number of threads") {
  const EdgeVector<float> x = noise_vector<float>(300 * 2003, 5);
  Guarded<float> y(2003);
  for (bool outer : {true, false}) {
    Guarded<float> out(outer ? 2003 : 300);
    same_bits_on_threads(out, [&] { reduce.at(host).sum({DType::f32, Shape{300, 2003}, {outer, !outer}}, x.data(), out.data()); });
  }
}

namespace {
template <class F, class T>
void check_loss(double tolerance) {
  INFO(F::name);
  const bool probability = std::is_same_v<F, Bce>;
  for (int64_t n : odd_sizes) {
    const EdgeVector<T> p = noise_vector<T>(n, 1, probability ? 0.49 : 6, probability ? 0.5 : 0);
    const EdgeVector<T> t = noise_vector<T>(n, 2, 0.5, 0.5);
    double want = 0;
    for (size_t i = 0; i < p.size(); ++i) want += F::f(double(p[i]), double(t[i]));
    CHECK(std::fabs(loss<F>.at(host).forward(DTypeOf<T>::value, n, p.data(), t.data()) - want) <= tolerance * want);
    Guarded<T> dp(n);
    loss<F>.at(host).backward(DTypeOf<T>::value, n, 0.25, p.data(), t.data(), dp.data());
    CHECK(dp.intact());
    CHECK(worst(dp, 0.1, [&](int64_t i) { return 0.25 * F::df(double(p[size_t(i)]), double(t[size_t(i)])); }) < 4 * tolerance);
  }
}
template <class... Fs>
void check_losses(List<Fs...>) {
  on_every_isa([] { (check_loss<Fs, float>(5e-7), ...); });
  (check_loss<Fs, double>(1e-12), ...);
}
}  // namespace

TEST_CASE("losses and their gradients equal their functors") { check_losses(LossList{}); }

TEST_CASE("losses: cut logarithms, large logits, NaN, and the same bits on any number of threads") {
  on_every_isa([] {
    const float p[3] = {0, 1, 1}, t[3] = {1, 0, 1};
    CHECK(loss<Bce>.at(host).forward(DType::f32, 3, p, t) == Approx(200));
    const float q[2] = {1e30f, -1e30f}, s[2] = {1, 0};
    CHECK(loss<BceWithLogits>.at(host).forward(DType::f32, 2, q, s) == 0);
    const float bad[1] = {std::numeric_limits<float>::quiet_NaN()};
    CHECK(std::isnan(loss<BceWithLogits>.at(host).forward(DType::f32, 1, bad, s)));
    CHECK(std::isnan(loss<Mse>.at(host).forward(DType::f32, 1, bad, s)));
  });
  const int64_t n = 100003;
  const EdgeVector<float> a = noise_vector<float>(n, 1), b = noise_vector<float>(n, 2);
  Guarded<double> sum(1);
  same_bits_on_threads(sum, [&] { sum[0] = loss<Mse>.at(host).forward(DType::f32, n, a.data(), b.data()); });
}
