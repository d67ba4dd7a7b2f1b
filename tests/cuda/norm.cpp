// SPDX-License-Identifier: BSD-3-Clause
// Batch norm with activation, forwards: moments, their merging, running statistics, and the activated tensor in its place.
#include "matrices.hpp"
#include "voxgrad/cpu/norm_ref.hpp"
#include "voxgrad/cpu/pool3d_ref.hpp"
#include "voxgrad/cuda/kernels/channel_moments.hpp"
#include "voxgrad/cuda/kernels/finish_norm.hpp"
#include "voxgrad/cuda/kernels/norm_act.hpp"
#include "voxgrad/cuda/kernels/norm_act_pool.hpp"

using namespace voxgrad::cuda;
using namespace voxgrad::cuda::test;
using voxgrad::DType;

TEMPLATE_TEST_CASE("channel moments merge to the mean and variance of every channel", "", bf16, f16, float) {
  using E = TestType;
  for (const auto [rows, C] : awkward) {
    for (const int64_t beside : {0, 8, 1}) {
      CAPTURE(rows, C, beside);
      Numbers numbers(uint32_t(rows + C));
      Matrix<E> z(rows, C, C + beside, beside);
      const int64_t width = z.stride;
      for (int64_t i = 0; i < rows * width; ++i) z.all[size_t(i)] = E(numbers(-2, 3) + float(i % width) * 0.5f);
      Guarded<float> partials(size_t(ChannelMoments<E>::workspace(rows, C)) / sizeof(float));
      test::run<ChannelMoments<E>>({rows, C, z.read(), partials.data()}, partials);

      const int64_t parts = ChannelMoments<E>::parts(rows, C);
      double count = 0;
      for (int64_t p = 0; p < parts; ++p) count += double(partials[size_t(p * 4 * C)]);
      REQUIRE(count == double(rows));

      const auto n = size_t(C);
      Guarded<float> gamma(n), beta(n), bias(n), running_mean(n), running_var(n), mean(n), inv_std(n), scale(n), shift(n);
      fill(gamma, numbers, 0.5f, 1.5f), fill(beta, numbers), fill(bias, numbers), fill(running_mean, numbers), fill(running_var, numbers, 0.5f, 1);
      std::vector<float> old_mean(n), old_var(n);
      for (size_t c = 0; c < n; ++c) old_mean[c] = running_mean[c], old_var[c] = running_var[c];
      const bool several = rows > 1;  // the unbiased variance of one value does not exist
      test::run<FinishNorm>({C, parts, partials.data(), gamma.data(), beta.data(), bias.data(), 1e-5, 0.1, several, running_mean.data(),
                             running_var.data(), mean.data(), inv_std.data(), scale.data(), shift.data()},
                            running_mean, running_var, mean, inv_std, scale, shift);

      const std::vector<float> values = z.values();
      std::vector<double> m(n), v(n);
      voxgrad::cpu::batch_norm_statistics_ref(voxgrad::kernels::BatchNormProblem{DType::f32, rows, C, 1}, values.data(), m.data(), v.data());
      for (size_t c = 0; c < n; ++c) {
        const double is = 1 / std::sqrt(v[c] + 1e-5), size = 1 + std::abs(m[c]);
        require_near<float>(mean[c], m[c], 1e-6 * size);
        require_near<float>(inv_std[c], is, 1e-5 * is);
        require_near<float>(scale[c], gamma[c] * is, 1e-5 * is);
        require_near<float>(shift[c], beta[c] - gamma[c] * is * m[c], 2e-5 * is * size);
        require_near<float>(running_mean[c], 0.9 * old_mean[c] + 0.1 * (m[c] + bias[c]), 1e-6 * size);
        require_near<float>(running_var[c], 0.9 * old_var[c] + 0.1 * v[c] * (several ? double(rows) / double(rows - 1) : 1), 1e-6 * (1 + v[c]));
      }
    }
  }
}

TEST_CASE("channel moments survive a mean that is far from zero") {
  const int64_t rows = 4000, C = 8;
  Numbers numbers(5);
  Matrix<float> z(rows, C, numbers, 10000, 10001);
  Guarded<float> partials(size_t(ChannelMoments<float>::workspace(rows, C)) / sizeof(float));
  test::run<ChannelMoments<float>>({rows, C, z.read(), partials.data()}, partials);
  const std::vector<float> one(8, 1), zero(8, 0);
  Guarded<float> mean(8), inv_std(8), scale(8), shift(8);
  test::run<FinishNorm>({C, ChannelMoments<float>::parts(rows, C), partials.data(), one.data(), zero.data(), nullptr, 0, 0.1, true, nullptr,
                         nullptr, mean.data(), inv_std.data(), scale.data(), shift.data()},
                        mean, inv_std, scale, shift);
  const std::vector<float> values = z.values();
  std::vector<double> m(8), v(8);
  voxgrad::cpu::batch_norm_statistics_ref(voxgrad::kernels::BatchNormProblem{DType::f32, rows, C, 1}, values.data(), m.data(), v.data());
  for (size_t c = 0; c < 8; ++c) require_near<float>(inv_std[c], 1 / std::sqrt(v[c]), 1e-5 / std::sqrt(v[c]));
}

TEST_CASE("running statistics give scale and shift, without the bias that z is without") {
  for (const size_t n : {size_t(1), size_t(8), size_t(131)}) {
    Numbers numbers(3);
    Guarded<float> gamma(n), beta(n), bias(n), running_mean(n), running_var(n), mean(n), inv_std(n), scale(n), shift(n);
    fill(gamma, numbers), fill(beta, numbers), fill(bias, numbers), fill(running_mean, numbers), fill(running_var, numbers, 0.1f, 2);
    for (const bool biased : {false, true}) {
      test::run<RunningNorm>({int64_t(n), gamma.data(), beta.data(), biased ? bias.data() : nullptr, running_mean.data(), running_var.data(), 1e-3,
                              mean.data(), inv_std.data(), scale.data(), shift.data()},
                             mean, inv_std, scale, shift);
      for (size_t c = 0; c < n; ++c) {
        const double m = double(running_mean[c]) - (biased ? double(bias[c]) : 0), is = 1 / std::sqrt(double(running_var[c]) + 1e-3);
        require_near<float>(mean[c], m, 1e-7);
        require_near<float>(inv_std[c], is, 1e-6);
        require_near<float>(scale[c], gamma[c] * is, 1e-6);
        require_near<float>(shift[c], beta[c] - m * gamma[c] * is, 1e-6);
      }
    }
  }
}

TEMPLATE_TEST_CASE("norm_act finishes z into its place among other channels", "", bf16, f16, float) {
  using E = TestType;
  for (const auto [rows, C] : awkward) {
    for (const int64_t beside : {0, 8, 3}) {
      CAPTURE(rows, C, beside);
      Numbers numbers(uint32_t(rows * 3 + C));
      Matrix<E> z(rows, C, numbers, -3, 3), a(rows, C, C + beside, beside);
      Guarded<float> scale(static_cast<size_t>(C)), shift(static_cast<size_t>(C));
      fill(scale, numbers), fill(shift, numbers);
      test::run<NormAct<E>>({rows, C, z.read(), scale.data(), shift.data(), 0.2f, a.slice()}, a.all);
      REQUIRE(a.beside_untouched());
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < C; ++c) {
          const double v = double(scale[size_t(c)]) * double(z(r, c)) + double(shift[size_t(c)]);
          require_near<E>(a(r, c), v > 0 ? v : double(0.2f) * v, 1e-6);
        }
    }
  }
}

TEMPLATE_TEST_CASE("norm_act_pool is norm_act followed by a max-pooling of what it stored", "", bf16, f16, float) {
  using E = TestType;
  struct Case {
    int64_t N, D, H, W, C, window[3];
  };
  const Case cases[] = {{2, 4, 6, 2, 8, {2, 2, 2}}, {1, 5, 3, 7, 8, {2, 2, 2}}, {3, 2, 2, 2, 3, {2, 2, 2}}, {1, 3, 4, 6, 16, {1, 2, 2}},
                        {2, 4, 4, 5, 1, {2, 1, 1}}, {1, 1, 1, 1, 8, {2, 2, 2}}, {1, 8, 8, 8, 24, {1, 1, 1}}};
  for (const Case& k : cases) {
    CAPTURE(k.N, k.D, k.H, k.W, k.C);
    Numbers numbers(11);
    const int64_t rows = k.N * k.D * k.H * k.W;
    Matrix<E> z(rows, k.C, numbers), a(rows, k.C, 2 * k.C), expected(rows, k.C);
    for (int64_t i = 0; i < rows * k.C; i += 3) z.all[size_t(i)] = E(0.5f);  // equal maxima: the first wins
    Guarded<float> scale(static_cast<size_t>(k.C)), shift(static_cast<size_t>(k.C));
    fill(scale, numbers, 0.1f, 1), fill(shift, numbers);
    const voxgrad::kernels::Pool3dProblem p{DType::f32, k.N, {k.D, k.H, k.W}, {k.D / k.window[0], k.H / k.window[1], k.W / k.window[2]}, k.C,
                                            {k.window[0], k.window[1], k.window[2]}, {k.window[0], k.window[1], k.window[2]}};
    const int64_t pooled_rows = k.N * p.out[0] * p.out[1] * p.out[2];
    Guarded<E> pooled(size_t(pooled_rows * k.C));
    Guarded<uint8_t> argmax(size_t(pooled_rows * k.C));
    const typename NormActPool<E>::Args args{k.N, k.D, k.H, k.W, k.C, {k.window[0], k.window[1], k.window[2]}, z.read(), scale.data(), shift.data(),
                                             0.2f, a.slice(), pooled.data(), argmax.data()};
    test::run<NormActPool<E>>(args, a.all, pooled, argmax);
    test::run<NormAct<E>>({rows, k.C, z.read(), scale.data(), shift.data(), 0.2f, expected.slice()}, expected.all);
    REQUIRE(a.beside_untouched());
    REQUIRE(a.values() == expected.values());

    const std::vector<float> values = expected.values();
    voxgrad::cpu::for_each_maximum(p, values.data(), 0, k.N, [&](int64_t o, int64_t i) {
      const int64_t row = i / k.C, x = row % k.W, y = row / k.W % k.H, zz = row / k.W / k.H % k.D;
      const int64_t position = ((zz % k.window[0]) * k.window[1] + y % k.window[1]) * k.window[2] + x % k.window[2];
      REQUIRE(float(pooled[size_t(o)]) == values[size_t(i)]);
      REQUIRE(argmax[size_t(o)] == position);
    });
    // Without winners the rest is the same.
    typename NormActPool<E>::Args no_argmax = args;
    no_argmax.argmax = nullptr;
    Guarded<E> again(size_t(pooled_rows * k.C));
    no_argmax.pooled = again.data();
    test::run<NormActPool<E>>(no_argmax, again);
    for (size_t i = 0; i < again.size(); ++i) REQUIRE(float(again[i]) == float(pooled[i]));
  }
}

TEST_CASE("norm_act_pool refuses windows that a thread cannot hold") {
  NormActPool<float>::Args a{};
  a.N = a.D = a.H = a.W = a.C = 1;
  a.window[0] = a.window[1] = 2, a.window[2] = 3;
  REQUIRE_THROWS_AS(NormActPool<float>::blocks(a), voxgrad::DeviceError);
}
