// SPDX-License-Identifier: BSD-3-Clause
// Gradients of batch norm, activations and bias, from every source that a gradient can come from.
#include "matrices.hpp"
#include "voxgrad/cpu/norm_ref.hpp"
#include "voxgrad/cuda/kernels/act_backward.hpp"
#include "voxgrad/cuda/kernels/head_logits.hpp"
#include "voxgrad/cuda/kernels/norm_backward_apply.hpp"
#include "voxgrad/cuda/kernels/norm_backward_sums.hpp"

using namespace voxgrad::cuda;
using namespace voxgrad::cuda::test;

namespace {

/// A volume, whose rows a gradient belongs to, and the ways in which it comes.
struct Volume {
  int64_t N, D, H, W, C;
  int64_t rows() const { return N * D * H * W; }
};

/// One gradient source of each kind and the dense gradient that they amount to.
template <class E>
struct Sources {
  Volume v;
  int Co;
  int64_t window[3];
  Matrix<E> slice, dense, pooled;
  Guarded<uint8_t> argmax;
  Guarded<float> dlogit, weight;

  Sources(const Volume& volume, int outputs, Numbers& numbers)
      : v(volume), Co(outputs), window{1, 2, 2}, slice(v.rows(), v.C, 2 * v.C, v.C), dense(v.rows(), v.C), pooled(v.N * v.D * (v.H / 2) * (v.W / 2), v.C),
        argmax(size_t(pooled.rows * v.C)), dlogit(size_t(v.rows() * Co)), weight(size_t(v.C * Co)) {
    fill(slice.all, numbers), fill(dense.all, numbers), fill(pooled.all, numbers), fill(dlogit, numbers), fill(weight, numbers);
    for (size_t i = 0; i < argmax.size(); ++i) argmax[i] = uint8_t(double(numbers(0, 1)) * 3.999);
  }
  /// Bits: slice, dense, pooled, head.
  GradientSource<E> source(int what) {
    GradientSource<E> from;
    if (what & 1) from.first = slice.read();
    if (what & 2) from.second = dense.read();
    if (what & 4) from.pooled = {pooled.all.data(), argmax.data(), PoolWindows(v.D, v.H, v.W, window[0], window[1], window[2])};
    if (what & 8) from.head = {dlogit.data(), weight.data(), Co};
    return from;
  }
  std::vector<double> value(int what) {
    std::vector<double> g(size_t(v.rows() * v.C));
    for (int64_t r = 0; r < v.rows(); ++r)
      for (int64_t c = 0; c < v.C; ++c) {
        double& to = g[size_t(r * v.C + c)];
        if (what & 1) to += double(slice(r, c));
        if (what & 2) to += double(dense(r, c));
        if (what & 4) {
          const int64_t x = r % v.W, y = r / v.W % v.H, nz = r / v.W / v.H;
          if (y / 2 < v.H / 2 && x / 2 < v.W / 2) {
            const int64_t p = (nz * (v.H / 2) + y / 2) * (v.W / 2) + x / 2;
            if (argmax[size_t(p * v.C + c)] == y % 2 * 2 + x % 2) to += double(pooled(p, c));
          }
        }
        if (what & 8)
          for (int co = 0; co < Co; ++co) to += double(dlogit[size_t(r * Co + co)]) * double(weight[size_t(c * Co + co)]);
      }
    return g;
  }
};

/// A batch norm over a volume: z and its numbers.
template <class E>
struct Norm {
  Matrix<E> z;
  std::vector<double> mean, inv_std;
  Guarded<float> gamma, beta, mean_f, inv_std_f, scale, shift;
  static constexpr float slope = 0.2f;

  Norm(int64_t rows, int64_t C, Numbers& numbers, bool batch)
      : z(rows, C, numbers, -1, 3), mean(size_t(C)), inv_std(size_t(C)), gamma(size_t(C)), beta(size_t(C)), mean_f(size_t(C)), inv_std_f(size_t(C)),
        scale(size_t(C)), shift(size_t(C)) {
    fill(gamma, numbers, 0.5f, 1.5f), fill(beta, numbers);
    std::vector<double> variance(static_cast<size_t>(C), 0.7);
    const std::vector<float> values = z.values();
    if (batch)
      voxgrad::cpu::batch_norm_statistics_ref(voxgrad::kernels::BatchNormProblem{voxgrad::DType::f32, rows, C, 1}, values.data(), mean.data(),
                                              variance.data());
    for (size_t c = 0; c < size_t(C); ++c) {
      inv_std[c] = 1 / std::sqrt(variance[c] + 1e-5);
      mean_f[c] = float(mean[c]), inv_std_f[c] = float(inv_std[c]);
      scale[c] = float(double(gamma[c]) * inv_std[c]), shift[c] = float(double(beta[c]) - double(gamma[c]) * inv_std[c] * mean[c]);
    }
    // The sign of an activation within rounding of zero is anybody's: keep away from it.
    for (int64_t i = 0; i < rows * C; ++i) {
      const size_t c = size_t(i % C);
      if (std::abs(double(scale[c]) * double(z.all[size_t(i)]) + double(shift[c])) < 1e-4) z.all[size_t(i)] = E(float(z.all[size_t(i)]) + 0.25f);
    }
  }
  double activated(int64_t r, int64_t c) {
    const double v = double(scale[size_t(c)]) * double(z(r, c)) + double(shift[size_t(c)]);
    return v > 0 ? v : double(slope) * v;
  }
};

const Volume volumes[] = {{1, 1, 1, 2, 1}, {2, 3, 4, 6, 8}, {1, 2, 5, 7, 24}, {1, 2, 3, 3, 97}, {2, 8, 16, 16, 8}, {1, 1, 2, 2, 2056}};

template <class E, bool head>
void check_norm(const Volume& v, int what, int Co, bool batch) {
  CAPTURE(v.N, v.D, v.H, v.W, v.C, what, Co, batch);
  Numbers numbers(uint32_t(what * 10 + Co));
  const int64_t rows = v.rows(), C = v.C;
  Sources<E> sources(v, Co, numbers);
  Norm<E> norm(rows, C, numbers, batch);
  using Kernel = NormBackwardSums<E, head>;
  Guarded<float> partials(size_t(Kernel::workspace(rows, C, head ? Co : 0)) / sizeof(float));
  test::run<Kernel>({rows, C, norm.z.read(), norm.scale.data(), norm.shift.data(), norm.mean_f.data(), norm.inv_std_f.data(), norm.slope,
                     sources.source(what), partials.data()},
                    partials);
  const auto n = size_t(C);
  Guarded<float> dgamma(n), dbeta(n), z_factor(n), offset(n), dbias(n), dw(head ? n * size_t(Co) : 0), db(head ? size_t(Co) : 0);
  test::run<FinishNormBackward>({rows, C, Kernel::parts(rows, C), partials.data(), head ? Co : 0, norm.scale.data(), norm.mean_f.data(),
                                 norm.inv_std_f.data(), batch, dgamma.data(), dbeta.data(), z_factor.data(), offset.data(), dbias.data(), dw.data(),
                                 db.data()},
                                dgamma, dbeta, z_factor, offset, dbias, dw, db);
  Matrix<E> dz(rows, C, C + 8);
  test::run<NormBackwardApply<E>>({rows, C, norm.z.read(), norm.scale.data(), norm.shift.data(), norm.slope, sources.source(what),
                                   batch ? z_factor.data() : nullptr, batch ? offset.data() : nullptr, dz.slice()},
                                  dz.all);
  REQUIRE(dz.beside_untouched());

  const std::vector<double> da = sources.value(what), mean = norm.mean, inv_std = norm.inv_std;
  std::vector<double> z, gamma, beta, dx(da.size()), expected_dgamma(n), expected_dbeta(n);
  for (const float value : norm.z.values()) z.push_back(double(value));
  for (size_t c = 0; c < n; ++c) gamma.push_back(double(norm.gamma[c])), beta.push_back(double(norm.beta[c]));
  voxgrad::cpu::batch_norm_backward_ref(voxgrad::kernels::BatchNormProblem{voxgrad::DType::f64, rows, C, double(norm.slope)}, batch, z.data(), da.data(),
                                        mean.data(), inv_std.data(), gamma.data(), beta.data(), dx.data(), expected_dgamma.data(), expected_dbeta.data());
  const double sum_slack = 2e-6 * std::sqrt(double(rows)) * 4;
  for (size_t c = 0; c < n; ++c) {
    require_near<float>(dgamma[c], expected_dgamma[c], sum_slack * 2);
    require_near<float>(dbeta[c], expected_dbeta[c], sum_slack);
    require_near<float>(dbias[c], batch ? 0 : expected_dbeta[c] * gamma[c] * inv_std[c], sum_slack * 4);
  }
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < C; ++c) require_near<E>(dz(r, c), dx[size_t(r * C + c)], 1e-5 * (1 + inv_std[size_t(c)] * inv_std[size_t(c)]));
  if constexpr (head) {
    for (int co = 0; co < Co; ++co) {
      double bias = 0;
      for (int64_t r = 0; r < rows; ++r) bias += double(sources.dlogit[size_t(r * Co + co)]);
      require_near<float>(db[size_t(co)], bias, sum_slack);
      for (int64_t c = 0; c < C; ++c) {
        double sum = 0;
        for (int64_t r = 0; r < rows; ++r) sum += double(sources.dlogit[size_t(r * Co + co)]) * norm.activated(r, c);
        require_near<float>(dw[size_t(c * Co + co)], sum, sum_slack * 4);
      }
    }
  }
}

}  // namespace

TEMPLATE_TEST_CASE("the gradient of a norm agrees with the definition for every source", "", bf16, f16, float) {
  for (const Volume& v : volumes)
    for (const int what : {1, 2, 3, 4, 5, 7}) check_norm<TestType, false>(v, what, 1, v.rows() > 1 && what % 2 == 1);
}

TEMPLATE_TEST_CASE("the gradient of a norm below a head takes the head's gradients along", "", bf16, f16, float) {
  for (const Volume& v : volumes)
    for (const int Co : {1, 3, 4})
      for (const int what : {8, 15}) check_norm<TestType, true>(v, what, Co, what == 8);
}

TEST_CASE("dz may take the place of z or of a dense gradient") {
  Numbers numbers(9);
  const int64_t rows = 600, C = 8;
  const Volume v{1, 6, 10, 10, C};
  Sources<bf16> sources(v, 1, numbers);
  Norm<bf16> norm(rows, C, numbers, false);
  Matrix<bf16> apart(rows, C), z(rows, C), g(rows, C);
  const auto args = [&](Slice<const bf16> from, Slice<const bf16> gradient, Slice<bf16> to) {
    GradientSource<bf16> source = sources.source(5);
    source.second = gradient;
    return NormBackwardApply<bf16>::Args{rows, C, from, norm.scale.data(), norm.shift.data(), 0.2f, source, nullptr, nullptr, to};
  };
  test::run<NormBackwardApply<bf16>>(args(norm.z.read(), sources.dense.read(), apart.slice()), apart.all);
  for (size_t i = 0; i < size_t(rows * C); ++i) z.all[i] = norm.z.all[i], g.all[i] = sources.dense.all[i];
  test::run<NormBackwardApply<bf16>>(args(z.read(), sources.dense.read(), z.slice()), z.all);
  REQUIRE(z.values() == apart.values());
  test::run<NormBackwardApply<bf16>>(args(norm.z.read(), g.read(), g.slice()), g.all);
  REQUIRE(g.values() == apart.values());
}

namespace {

const std::pair<const char*, Activation> activations[] = {{"none", {}},
                                                          {"leaky_relu", leaky_relu(0.25)},
                                                          {"relu", leaky_relu(0)},
                                                          {"relu6", {ActivationKind::clamp, 0, 6}},
                                                          {"selu", {ActivationKind::elu, 1.6732632f, 1.050701f}},
                                                          {"sigmoid", {ActivationKind::sigmoid, 0, 0}},
                                                          {"tanh", {ActivationKind::tanh, 0, 0}},
                                                          {"softplus", {ActivationKind::softplus, 0, 0}},
                                                          {"softsign", {ActivationKind::softsign, 0, 0}},
                                                          {"swish", {ActivationKind::swish, 0, 0}},
                                                          {"exponential", {ActivationKind::exponential, 0, 0}},
                                                          {"gelu", {ActivationKind::gelu, 0, 0}},
                                                          {"hard_sigmoid", {ActivationKind::hard_sigmoid, 0.2f, 0.5f}}};

/// f in double, for differences.
double value(const Activation& f, double v) {
  switch (f.kind) {
    case ActivationKind::none: return v;
    case ActivationKind::leaky_relu: return v > 0 ? v : double(f.a) * v;
    case ActivationKind::clamp: return std::min(std::max(v, double(f.a)), double(f.b));
    case ActivationKind::elu: return double(f.b) * (v > 0 ? v : double(f.a) * std::expm1(v));
    case ActivationKind::sigmoid: return 1 / (1 + std::exp(-v));
    case ActivationKind::tanh: return std::tanh(v);
    case ActivationKind::softplus: return std::log1p(std::exp(v));
    case ActivationKind::softsign: return v / (1 + std::abs(v));
    case ActivationKind::swish: return v / (1 + std::exp(-v));
    case ActivationKind::exponential: return std::exp(v);
    case ActivationKind::gelu: return 0.5 * v * std::erfc(-v / std::sqrt(2.0));
    case ActivationKind::hard_sigmoid: return std::min(std::max(double(f.a) * v + double(f.b), 0.0), 1.0);
  }
  return 0;
}
double slope_of(const Activation& f, double v) { return (value(f, v + 1e-5) - value(f, v - 1e-5)) / 2e-5; }

template <class E, bool head>
void check_act(const Volume& v, const char* what_activation, const Activation& f, int what, int Co, bool from_output, int terms) {
  CAPTURE(v.D, v.H, v.W, v.C, what_activation, what, Co, from_output, terms);
  Numbers numbers(uint32_t(what * 10 + Co));
  const int64_t rows = v.rows(), C = v.C;
  Sources<E> sources(v, Co, numbers);
  Matrix<E> z(rows, C, numbers, -2, 3), second(rows, C, numbers), y(rows, C), dv(rows, C, 2 * C);
  Guarded<float> scale(static_cast<size_t>(C)), bias(static_cast<size_t>(C));
  fill(scale, numbers, 0.5f, 1), fill(bias, numbers);
  const float* const scales = terms & 1 ? scale.data() : nullptr;
  const float* const biases = terms & 2 ? bias.data() : nullptr;
  const Slice<const E> seconds = terms & 4 ? second.read() : Slice<const E>{};
  const auto before = [&](int64_t r, int64_t c) {
    return (terms & 1 ? double(scale[size_t(c)]) : 1) * double(z(r, c)) + (terms & 2 ? double(bias[size_t(c)]) : 0) + (terms & 4 ? double(second(r, c)) : 0);
  };
  const auto at_kink = [&](double x) { return std::abs(x) < 0.01 || (f.kind == ActivationKind::hard_sigmoid && std::abs(std::abs(x) - 2.5) < 0.02); };
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < C; ++c)
      if (at_kink(before(r, c))) z.all[size_t(r * C + c)] = E(z(r, c) + 0.25f);
  test::run<BiasAct<E>>({rows, C, z.read(), scales, biases, seconds, f, y.slice()}, y.all);

  using Kernel = ActBackward<E, head>;
  Guarded<float> partials(size_t(Kernel::workspace(rows, C, head ? Co : 0)) / sizeof(float));
  typename Kernel::Args args{rows, C, from_output ? y.read() : z.read(), from_output, scales, biases, seconds, f, sources.source(what), dv.slice(), partials.data()};
  test::run<Kernel>(args, dv.all, partials);
  REQUIRE(dv.beside_untouched());
  const auto n = size_t(C);
  Guarded<float> dbias(n), dw(head ? n * size_t(Co) : 0), db(head ? size_t(Co) : 0);
  test::run<FinishActBackward>({C, Kernel::parts(rows, C), partials.data(), head ? Co : 0, dbias.data(), dw.data(), db.data()}, dbias, dw, db);

  const std::vector<double> da = sources.value(what);
  std::vector<double> sum(n), weights(n * size_t(Co)), logits(static_cast<size_t>(Co));
  // What a rounded y says of the slope is as rounded as y.
  const double slack = from_output ? (element_of<E> == Element::f32 ? 1e-5 : element_of<E> == Element::bf16 ? 0.05 : 0.01) : 1e-5;
  double most = 0;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < C; ++c) {
      const double g = da[size_t(r * C + c)] * slope_of(f, before(r, c)), size = std::abs(da[size_t(r * C + c)]) * 20;
      require_near<E>(dv(r, c), g, slack * (1 + size));
      most = std::max(most, slack * (1 + size));
      sum[size_t(c)] += g;
      if constexpr (head)
        for (int co = 0; co < Co; ++co) {
          const double d = double(sources.dlogit[size_t(r * Co + co)]);
          weights[size_t(c * Co + co)] += d * (from_output ? double(y(r, c)) : value(f, before(r, c)));
          if (c == 0) logits[size_t(co)] += d;
        }
    }
  const double sums = 1e-5 * std::sqrt(double(rows)) * 40;
  for (size_t c = 0; c < n; ++c) require_near<float>(dbias[c], sum[c], sums + (from_output ? most * double(rows) : 0));
  if constexpr (head)
    for (size_t i = 0; i < weights.size(); ++i) require_near<float>(dw[i], weights[i], sums);
  if constexpr (head)
    for (size_t i = 0; i < logits.size(); ++i) require_near<float>(db[i], logits[i], sums);

  // The gradient alone and the sums alone are the same as both.
  const std::vector<float> both = dv.values();
  typename Kernel::Args alone = args;
  alone.partials = nullptr;
  test::run<Kernel>(alone, dv.all);
  REQUIRE(dv.values() == both);
  Guarded<float> again(partials.size());
  alone = args;
  alone.dv = {};
  alone.partials = again.data();
  test::run<Kernel>(alone, again);
  for (size_t i = 0; i < again.size(); ++i) REQUIRE(again[i] == partials[i]);
}

}  // namespace

TEMPLATE_TEST_CASE("the gradient of a biased activation agrees with differences", "", bf16, f16, float) {
  for (const auto& [name, f] : activations)
    for (const Volume& v : {volumes[0], volumes[1], volumes[3]})
      for (const int terms : {0, 2, 7}) {
        check_act<TestType, false>(v, name, f, 5, 1, false, terms);
        if (derivative_from_output(f)) check_act<TestType, false>(v, name, f, 2, 1, true, terms);
        check_act<TestType, true>(v, name, f, 10, 2, false, terms);
        if (derivative_from_output(f)) check_act<TestType, true>(v, name, f, 8, 1, true, terms);
      }
  check_act<TestType, false>(volumes[4], "relu", leaky_relu(0), 7, 1, true, 2);
}

TEST_CASE("a bias gradient needs no saved values where there is no activation") {
  Numbers numbers(2);
  const int64_t rows = 3000, C = 97;
  Matrix<float> g(rows, C, numbers);
  using Kernel = ActBackward<float>;
  Guarded<float> partials(size_t(Kernel::workspace(rows, C)) / sizeof(float)), dbias(size_t{97});
  Kernel::Args args{rows, C, {}, false, nullptr, nullptr, {}, {}, {}, {}, partials.data()};
  args.from.first = g.read();
  test::run<Kernel>(args, partials);
  test::run<FinishActBackward>({C, Kernel::parts(rows, C), partials.data(), 0, dbias.data(), nullptr, nullptr}, dbias);
  for (int64_t c = 0; c < C; ++c) {
    double sum = 0;
    for (int64_t r = 0; r < rows; ++r) sum += double(g(r, c));
    require_near<float>(dbias[size_t(c)], sum, 1e-4);
  }
}

TEST_CASE("backward kernels refuse what they cannot do") {
  const float number = 0;
  ActBackward<float>::Args a{1, 1, {&number, 1}, true, nullptr, nullptr, {}, {ActivationKind::swish, 0, 0}, {}, {}, nullptr};
  REQUIRE_THROWS_WITH(ActBackward<float>::blocks(a), "act_backward: the derivative of activation 8 cannot be told from its output");
  a.saved = {};
  a.saved_output = false;
  REQUIRE_THROWS_WITH(ActBackward<float>::blocks(a), "act_backward: nothing was saved to take the derivative from");
  a.from.head = {&number, &number, 1};
  REQUIRE_THROWS_WITH(ActBackward<float>::blocks(a), "act_backward: does not take the gradient of a head");
  NormBackwardSums<float, true>::Args n{};
  REQUIRE_THROWS_WITH((NormBackwardSums<float, true>::blocks(n)), "norm_backward_sums_head: needs the gradient of a head");
  n.from.head = {&number, &number, 5};
  REQUIRE_THROWS_WITH((NormBackwardSums<float, true>::blocks(n)), "norm_backward_sums_head: the head has 5 outputs (expected 1 to 4)");
  n.from.head.Co = 1;
  n.rows = int64_t(1) << 31, n.C = 8;
  REQUIRE_THROWS_WITH((NormBackwardSums<float, true>::blocks(n)),
                      "a GPU kernel was given a matrix of 2147483648 rows and 8 channels (expected less than 2^31 and from 1 to 2^24)");
}

TEMPLATE_TEST_CASE("head_logits finishes z and multiplies it out", "", bf16, f16, float) {
  using E = TestType;
  for (const auto [rows, C] : awkward)
    for (const int Co : {1, 2, 4})
      for (const bool norm : {false, true}) {
        CAPTURE(rows, C, Co, norm);
        Numbers numbers(uint32_t(rows + Co));
        Matrix<E> z(rows, C, C + 8, 8);
        fill(z.all, numbers);
        Guarded<float> scale(static_cast<size_t>(C)), shift(static_cast<size_t>(C)), weight(size_t(C * Co)), bias(static_cast<size_t>(Co)), logits(size_t(rows * Co)), sigmoid(size_t(rows * Co));
        fill(scale, numbers), fill(shift, numbers), fill(weight, numbers), fill(bias, numbers);
        test::run<HeadLogits<E>>({rows, C, z.read(), norm ? scale.data() : nullptr, norm ? shift.data() : nullptr, norm ? 0.2f : 1.0f, Co, weight.data(),
                                  bias.data(), logits.data(), sigmoid.data()},
                                 logits, sigmoid);
        for (int64_t r = 0; r < rows; ++r)
          for (int co = 0; co < Co; ++co) {
            double sum = double(bias[size_t(co)]);
            for (int64_t c = 0; c < C; ++c) {
              double a = double(z(r, c));
              if (norm) a = double(scale[size_t(c)]) * a + double(shift[size_t(c)]), a = a > 0 ? a : double(0.2f) * a;
              sum += a * double(weight[size_t(c * Co + co)]);
            }
            require_near<float>(logits[size_t(r * Co + co)], sum, 1e-6 * double(C));
            require_near<float>(sigmoid[size_t(r * Co + co)], 1 / (1 + std::exp(-sum)), 1e-6 * double(C));
          }
      }
}
