// SPDX-License-Identifier: BSD-3-Clause
// Batch normalisation against plain loops in double.

#include "voxgrad/kernels/norm.hpp"

#include "guarded.hpp"

using namespace voxgrad;
using namespace voxgrad::kernels;

namespace {

struct Channels {
  std::vector<double> mean, variance, inv_std;
};

template <class T>
Channels exact(int64_t rows, int64_t C, const EdgeVector<T>& x) {
  Channels s;
  for (int64_t c = 0; c < C; ++c) {
    double sum = 0, squares = 0;
    for (int64_t r = 0; r < rows; ++r) sum += double(x[size_t(r * C + c)]);
    const double mean = sum / double(rows);
    for (int64_t r = 0; r < rows; ++r) squares += std::pow(double(x[size_t(r * C + c)]) - mean, 2);
    s.mean.push_back(mean);
    s.variance.push_back(squares / double(rows));
    s.inv_std.push_back(1 / std::sqrt(s.variance.back() + 1e-5));
  }
  return s;
}

template <class T>
void check_norm(int64_t rows, int64_t C, double tolerance) {
  INFO("rows " << rows << " C " << C);
  const BatchNormProblem p{DTypeOf<T>::value, rows, C, 0.3};
  const EdgeVector<T> x = noise_vector<T>(rows * C, 1, 2, 0.7), dy = noise_vector<T>(rows * C, 2, 1, 0.2);
  const EdgeVector<T> gamma = noise_vector<T>(C, 3, 0.5, 1), beta = noise_vector<T>(C, 4);
  const Channels want = exact(rows, C, x);
  Guarded<double> mean(C), variance(C);
  batch_norm.at(host).statistics(p, x.data(), mean.data(), variance.data());
  CHECK((mean.intact() && variance.intact()));
  CHECK(worst(mean, 0.1, [&](int64_t c) { return want.mean[size_t(c)]; }) < tolerance);
  CHECK(worst(variance, 1e-3, [&](int64_t c) { return want.variance[size_t(c)]; }) < tolerance);

  const auto normalised = [&](int64_t i) {
    return (double(x[size_t(i)]) - want.mean[size_t(i % C)]) * want.inv_std[size_t(i % C)];
  };
  const auto affine = [&](int64_t i) { return double(gamma[size_t(i % C)]) * normalised(i) + double(beta[size_t(i % C)]); };
  std::vector<double> scale, shift;
  for (size_t c = 0; c < size_t(C); ++c) {
    scale.push_back(double(gamma[c]) * want.inv_std[c]);
    shift.push_back(double(beta[c]) - scale[c] * want.mean[c]);
  }
  Guarded<T> y(rows * C), dx(rows * C), dgamma(C), dbeta(C);
  batch_norm.at(host).forward(p, x.data(), scale.data(), shift.data(), y.data());
  CHECK(y.intact());
  CHECK(worst(y, 0.1, [&](int64_t i) { return affine(i) > 0 ? affine(i) : 0.3 * affine(i); }) < 10 * tolerance);

  std::vector<double> sum(size_t(C), 0.0), dot(size_t(C), 0.0);
  const auto da = [&](int64_t i) { return double(dy[size_t(i)]) * (affine(i) > 0 ? 1 : 0.3); };
  for (int64_t i = 0; i < rows * C; ++i) {
    sum[size_t(i % C)] += da(i);
    dot[size_t(i % C)] += da(i) * normalised(i);
  }
  for (bool batch : {true, false}) {
    batch_norm.at(host).backward(p, batch, x.data(), dy.data(), want.mean.data(), want.inv_std.data(), gamma.data(),
                                 beta.data(), dx.data(), dgamma.data(), dbeta.data());
    CHECK((dx.intact() && dgamma.intact() && dbeta.intact()));
    CHECK(worst(dbeta, 1, [&](int64_t c) { return sum[size_t(c)]; }) < 10 * tolerance);
    CHECK(worst(dgamma, 1, [&](int64_t c) { return dot[size_t(c)]; }) < 10 * tolerance);
    CHECK(worst(dx, 1, [&](int64_t i) {
      const size_t c = size_t(i % C);
      return scale[c] * (batch ? da(i) - sum[c] / double(rows) - normalised(i) * dot[c] / double(rows) : da(i));
    }) < 10 * tolerance * (rows < 3 ? 100 : 1));  // with one or two rows the terms cancel under a large inv_std
  }
  dgamma.reset();
  batch_norm.at(host).backward(p, true, x.data(), dy.data(), want.mean.data(), want.inv_std.data(), gamma.data(),
                               beta.data(), nullptr, dgamma.data(), dbeta.data());
  CHECK(worst(dgamma, 1, [&](int64_t c) { return dot[size_t(c)]; }) < 10 * tolerance);
}

}  // namespace

TEST_CASE("batch norm: statistics, forward and backward over odd sizes") {
  on_every_isa([] {
    for (int64_t C : {1, 2, 3, 5, 7, 8, 9, 16, 17, 24, 33, 130})
      for (int64_t rows : {1, 2, 7, 9, 101, 1001}) check_norm<float>(rows, C, 2e-6);
    check_norm<float>(30011, 8, 2e-6);
  });
  for (int64_t C : {1, 3, 8}) check_norm<double>(101, C, 1e-11);
}

TEST_CASE("batch norm: a mean of 1000 and a deviation of 0.01 keep their digits") {
  on_every_isa([] {
    const int64_t rows = 20011, C = 8;
    EdgeVector<float> x = noise_vector<float>(rows * C, 1, 0.01, 1000);
    for (int64_t c = 0; c < C; ++c) x[size_t(c)] = 0;  // an outlier in the first row must not spoil its block
    const Channels all = exact(rows, C, x);
    double mean[C], variance[C];
    batch_norm.at(host).statistics({DType::f32, rows, C, 1}, x.data(), mean, variance);
    for (int64_t c = 0; c < C; ++c) CHECK(std::fabs(variance[c] / all.variance[size_t(c)] - 1) < 1e-3);

    x.erase(x.begin(), x.begin() + C);
    const Channels clean = exact(rows - 1, C, x);
    batch_norm.at(host).statistics({DType::f32, rows - 1, C, 1}, x.data(), mean, variance);
    double scale[C], shift[C];
    for (int64_t c = 0; c < C; ++c) {
      CHECK(std::fabs(mean[c] - clean.mean[size_t(c)]) < 1e-6);
      CHECK(std::fabs(variance[c] / clean.variance[size_t(c)] - 1) < 1e-3);
      scale[c] = 1 / std::sqrt(clean.variance[size_t(c)]);
      shift[c] = -scale[c] * clean.mean[size_t(c)];
    }
    Guarded<float> y((rows - 1) * C);
    batch_norm.at(host).forward({DType::f32, rows - 1, C, 1}, x.data(), scale, shift, y.data());
    CHECK(worst(y, 1, [&](int64_t i) { return scale[i % C] * double(x[size_t(i)]) + shift[i % C]; }) < 1e-5);
  });
}

TEST_CASE("batch norm gives the same bits on any number of threads; NaN stays in its channel") {
  const int64_t rows = 20011, C = 5;
  EdgeVector<float> x = noise_vector<float>(rows * C, 1), dy = noise_vector<float>(rows * C, 2);
  const std::vector<float> one(C, 1.f);
  const BatchNormProblem p{DType::f32, rows, C, 0.1};
  Guarded<double> numbers(2 * C);
  same_bits_on_threads(numbers, [&] { batch_norm.at(host).statistics(p, x.data(), numbers.data(), numbers.data() + C); });
  const std::vector<double> mean(C, 0.1), inv_std(C, 1.5);
  Guarded<float> dx(rows * C), dparameters(2 * C);
  const auto backward = [&] {
    batch_norm.at(host).backward(p, true, x.data(), dy.data(), mean.data(), inv_std.data(), one.data(), one.data(),
                                 dx.data(), dparameters.data(), dparameters.data() + C);
  };
  same_bits_on_threads(dx, backward);
  same_bits_on_threads(dparameters, backward);
  x[size_t(C * 77 + 2)] = std::numeric_limits<float>::quiet_NaN();
  batch_norm.at(host).statistics(p, x.data(), numbers.data(), numbers.data() + C);
  for (int c = 0; c < C; ++c) CHECK(std::isnan(numbers[c]) == (c == 2));
}
