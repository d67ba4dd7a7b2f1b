// SPDX-License-Identifier: BSD-3-Clause
// Properties of the risks: what must hold for any data, known cases, sets that are empty, extreme logits.

#include "voxgrad/pu/risk.hpp"

#include <numeric>

#include "catch.hpp"
#include "op_case.hpp"
#include "voxgrad/pu/accumulation.hpp"
#include "voxgrad/pu/expectation.hpp"
#include "voxgrad/pu/extra_labels.hpp"
#include "voxgrad/pu/overlap.hpp"
#include "voxgrad/pu/variational.hpp"

using namespace voxgrad;
using namespace voxgrad::pu;
using voxgrad::test::for_each_isa_and_threads;

namespace {

/// Every objective that needs nothing but logits and labels.
std::vector<Objective> all_objectives(double prior) {
  std::vector<Objective> all;
  for (const SurrogateFacts& s : surrogates()) {
    if (s.kind == kernels::SetFunction::zero_one) continue;
    const Function f = surrogate_by_name(s.name);
    for (Correction c : {Correction::none, Correction::clamp, Correction::kiryo, Correction::abs, Correction::leaky})
      all.push_back(pu_risk({.prior = prior, .surrogate = f, .correction = c, .beta = 0.01, .gamma = 0.7, .leak = 0.5}));
    all.push_back(imbalanced_nnpu({.prior = prior, .surrogate = f}));
    all.push_back(nnpu({.prior = prior, .surrogate = f, .scenario = Scenario::single_set}));
    all.push_back(pn({.prior = prior, .surrogate = f}));
    all.push_back(naive(f));
    all.push_back(naive_balanced(0.5, f));
    all.push_back(pnu({.prior = prior, .surrogate = f}, 0.6));
  }
  all.push_back(nnpu({.prior = prior, .surrogate = brier_loss, .beta_deviations = 1, .effective_positives = 5, .effective_unlabeled = 20}));
  all.push_back(dist_pu(prior, 0.1));
  all.push_back(ge_kl(prior));
  all.push_back(ge_gaussian(prior, 1, 8, true));
  all.push_back(ge_binomial(prior));
  all.push_back(vpu());
  all.push_back(vpu(false));
  all.push_back(taylor_vpu(3));
  for (Correction c : {Correction::none, Correction::clamp, Correction::abs}) all.push_back(pu_dice({.prior = prior, .correction = c}));
  all.push_back(pu_tversky({.prior = prior}));
  all.push_back(plus(abs_pu({.prior = prior, .surrogate = brier_loss}), ge_kl(prior), 0.3));
  return all;
}

Labels mixed_labels(const Shape& shape) {
  std::vector<uint8_t> codes(size_t(shape.size()));
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = i % 5 == 0 ? 1 : i % 7 == 0 ? 255 : i % 11 == 0 ? 2 : i % 13 == 0 ? 3 : 0;
  return Labels(codes, shape);
}

Tensor gradient(const Objective& o, const Tensor& z, const Labels& l) {
  Tensor x = z.clone();
  x.set_requires_grad();
  backward(o(x, l).loss);
  return x.grad();
}

Tensor of(const std::vector<double>& v) { return Tensor::from(v, {int64_t(v.size())}); }

bool finite(const Tensor& t) {
  for (double v : t.to(DType::f64).span<double>())
    if (!std::isfinite(v)) return false;
  return true;
}

}  // namespace

TEST_CASE("gradients of all objectives are difference quotients in both branches") {
  for (const Objective& o : all_objectives(0.4)) {
    const GradcheckResult r = check_gradient(o);
    INFO(o.name() << ": " << r.message);
    CHECK(r.ok);
  }
}

TEST_CASE("the gradient check sees a wrong derivative") {
  const Objective wrong = objective("wrong", [](Stats& s) { return step(s.mean(P, score), 1.01 * s.mean(P, score)); });
  CHECK(check_gradient(wrong).ok);  // the objective's own number is what is checked
  const Function slope(Function([](const Dual& z) {
    Dual y = exp(z);
    y.d[0] *= 1.01;
    return y;
  }));
  CHECK_FALSE(check_gradient(objective("wrong", [slope](Stats& s) { return Step(s.mean(P, slope)); })).ok);
}

TEST_CASE("worked examples of the literature's formulas") {
  const Tensor z = of({0.5, 2, -1, 0, 1.5});
  const Labels l(std::vector<int>{1, 1, 0, 0, 0}, z.shape());
  const Result r = nnpu({.prior = 0.3})(z, l);
  CHECK(r["Rp_pos"] == Approx(0.248372).epsilon(1e-5));
  CHECK(r["r"] == Approx(0.303350).epsilon(1e-5));
  CHECK(r.reported == Approx(0.377862).epsilon(1e-5));
  CHECK(r.reported == upu({.prior = 0.3})(z, l).reported);
  // Brier: <s^2>_U - 2 prior <s>_P + prior
  CHECK(upu({.prior = 0.3, .surrogate = brier_loss})(z, l).reported == Approx(0.179276).epsilon(1e-5));

  const Tensor far = of({3, 4, -3, -4});
  const Labels two(std::vector<int>{1, 1, 0, 0}, far.shape());
  const Result c = nnpu({.prior = 0.6})(far, two);
  CHECK(c.corrected());
  CHECK(c.reported == Approx(0.019624).epsilon(1e-4));
  CHECK(c.objective == Approx(0.547670).epsilon(1e-5));
  CHECK(nnpu({.prior = 0.6, .beta = 0.1})(far, two).reported == Approx(-0.080376).epsilon(1e-4));
  CHECK_FALSE(nnpu({.prior = 0.6, .beta = 0.6})(far, two).corrected());
  CHECK(abs_pu({.prior = 0.6})(far, two).reported == Approx(0.567294).epsilon(1e-5));
}

TEST_CASE("r exactly at -beta is the normal branch") {
  const Tensor z = of({0, -0.5, 0.5});  // ramp: Rp- = 1/2, Ru- = 1/2
  const Labels l(std::vector<int>{1, 0, 0}, z.shape());
  CHECK_FALSE(nnpu({.prior = 0.5, .surrogate = ramp_loss, .beta = 0})(z, Labels(std::vector<int>{1, 0, 255}, z.shape())).corrected());
  const Result r = nnpu({.prior = 0.75, .surrogate = ramp_loss, .beta = 0.125})(of({0, -0.5}), Labels(std::vector<int>{1, 0}, {2}));
  CHECK(r["r"] == -0.125);
  CHECK_FALSE(r.corrected());
  CHECK(nnpu({.prior = 0.75, .surrogate = ramp_loss, .beta = 0.1249})(of({0, -0.5}), Labels(std::vector<int>{1, 0}, {2})).corrected());
}

TEST_CASE("symmetric and linear-odd surrogates simplify the unbiased risk") {
  Random random(3);
  const Tensor z = random_normal({4, 3, 5, 2}, random, DType::f64);
  const Labels l = mixed_labels(z.shape());
  const double prior = 0.2;
  for (const SurrogateFacts& s : surrogates()) {
    const Function f = surrogate_by_name(s.name);
    INFO(s.name);
    const double value = upu({.prior = prior, .surrogate = f})(z, l).reported;
    const Result simple = objective("simple", [&](Stats& t) {
      return Step(s.symmetric ? 2 * prior * t.mean(P, f) + t.mean(U, neg(f)) - prior : -s.odd * prior * t.mean(P, logit) + t.mean(U, neg(f)));
    })(z, l);
    if (s.symmetric || s.odd > 0) CHECK(value == Approx(simple.reported).epsilon(1e-12));
    for (double x : {-30.0, -2.2, -0.3, 0.4, 1.7, 25.0}) {
      const double plus = evaluate(f, x).v, minus = evaluate(neg(f), x).v;
      if (s.symmetric) CHECK(plus + minus == Approx(1));
      if (s.odd > 0) CHECK(plus - minus == Approx(-s.odd * x));
      CHECK(plus >= s.infimum);
      CHECK(plus <= s.supremum);
    }
  }
}

TEST_CASE("two Gaussians: the unbiased risk estimates the ordinary one, the naive one does not") {
  // Positives N(1, 1), negatives N(-1, 1), logit z = x. With the 0-1 loss the true risk is the error rate Phi(-1), whatever the prior.
  Random random(11);
  const double prior = 0.3, error = 0.15865525393145707;
  const int64_t n_p = 40000, n_u = 160000;
  std::vector<double> z;
  std::vector<uint8_t> codes;
  for (int64_t i = 0; i < n_p + n_u; ++i) {
    const bool positive = i < n_p || random.uniform() < prior;
    z.push_back(random.normal() + (positive ? 1 : -1));
    codes.push_back(i < n_p);
  }
  const Tensor logits = of(z);
  const Labels l(codes, logits.shape());
  const double deviation = std::sqrt(0.25 / double(n_u) + 4 * prior * prior * 0.25 / double(n_p));
  CHECK(std::abs(upu({.prior = prior, .surrogate = zero_one_loss})(logits, l).reported - error) < 4 * deviation);
  CHECK(std::abs(nnpu({.prior = prior, .surrogate = zero_one_loss})(logits, l).reported - error) < 4 * deviation);
  // U called negative: prior (1 - Phi(-1)) of it is an error that is none.
  const double biased = prior * error + (1 - prior) * (prior * (1 - error) + (1 - prior) * error);
  CHECK(std::abs(naive_balanced(prior, zero_one_loss)(logits, l).reported - biased) < 4 * deviation);
}

TEST_CASE("minimising the unbiased Brier risk gives the posterior, the naive one gives the posterior times the label frequency") {
  // One voxel value, 40 % positive, a quarter of the positives labelled: P 100, U 900 of 1000; one logit for all.
  std::vector<uint8_t> codes(1000, 0);
  for (size_t i = 0; i < 100; ++i) codes[i] = 1;
  const Labels l(codes, {1000});
  const auto minimiser = [&](const Objective& o) {
    double z = 0;
    for (int i = 0; i < 1000; ++i) {
      const Tensor g = gradient(o, Tensor::full({1000}, z, DType::f64), l);
      z -= 4 * std::accumulate(g.span<double>().begin(), g.span<double>().end(), 0.0);
    }
    return 1 / (1 + std::exp(-z));
  };
  CHECK(minimiser(upu({.prior = 0.4, .surrogate = brier_loss, .scenario = Scenario::single_set})) == Approx(0.4).epsilon(1e-6));
  CHECK(minimiser(naive()) == Approx(0.1).epsilon(1e-6));
  CHECK(minimiser(nnpu({.prior = 0.4, .surrogate = logistic_loss, .scenario = Scenario::single_set})) == Approx(0.4).epsilon(1e-6));
}

TEST_CASE("constant propensity is the single-set risk") {
  Random random(5);
  const Tensor z = random_normal({60}, random, DType::f64);
  std::vector<uint8_t> codes(60, 0);
  for (size_t i = 0; i < 12; ++i) codes[i * 5] = 1;
  const Labels l(codes, z.shape());
  const double c = 0.5, alpha = 0.2;
  const RiskOptions o{.prior = alpha / c, .surrogate = brier_loss, .scenario = Scenario::single_set};
  const Objective by_e = propensity_risk(Tensor::full({60}, c, DType::f64), {.surrogate = brier_loss});
  CHECK(by_e(z, l).reported == Approx(nnpu(o)(z, l).reported).epsilon(1e-12));
  CHECK(test::relative_difference(gradient(by_e, z, l), gradient(nnpu(o), z, l)) < 1e-12);
  CHECK(effective_positives(Tensor::full({60}, c, DType::f64), l) == Approx(12));
}

TEST_CASE("ignored voxels, whole numbers of weights, and order change nothing") {
  Random random(6);
  const Tensor z = random_normal({50}, random, DType::f64);
  std::vector<uint8_t> codes(50);
  for (size_t i = 0; i < 50; ++i) codes[i] = i % 4 == 0;
  const Labels l(codes, z.shape());
  std::vector<double> longer, turned, twice;
  std::vector<uint8_t> longer_codes, turned_codes, twice_codes;
  for (size_t i = 0; i < 50; ++i) {
    const double v = z.span<double>()[i];
    longer.push_back(v), longer_codes.push_back(codes[i]);
    longer.push_back(1e4 * v), longer_codes.push_back(255);
    turned.insert(turned.begin(), v), turned_codes.insert(turned_codes.begin(), codes[i]);
    for (int k = 0; k < (i % 3 == 0 ? 2 : 1); ++k) twice.push_back(v), twice_codes.push_back(codes[i]);
  }
  Tensor weight = Tensor::full({50}, 1, DType::f64);
  for (size_t i = 0; i < 50; i += 3) weight.mutable_span<double>()[i] = 2;
  for (const Objective& o : all_objectives(0.3)) {
    INFO(o.name());
    const double value = o(z, l).reported;
    CHECK(o(of(longer), Labels(longer_codes, {100})).reported == Approx(value).epsilon(1e-12));
    CHECK(o(of(turned), Labels(turned_codes, {50})).reported == Approx(value).epsilon(1e-12));
    if (o.name() != "ge_binomial")
      CHECK(o(z, l.weighted(weight)).reported == Approx(o(of(twice), Labels(twice_codes, {int64_t(twice.size())})).reported).epsilon(1e-12));
  }
}

TEST_CASE("finite values and gradients for every logit to 3000, and for sets that are empty") {
  for (DType t : {DType::f64, DType::f32})
    for (double size : {0.0, 90.0, 750.0, 3000.0})
      for (int signs = 0; signs < 4; ++signs)
        for (const std::vector<int>& codes : {std::vector<int>{1, 1, 0, 0}, {0, 0, 0, 0}, {1, 1, 1, 1}, {2, 2, 2, 255}}) {
          const double p = signs & 1 ? size : -size, u = signs & 2 ? size : -size;
          const Tensor z = of({p, p, u, u}).to(t);
          const Labels l(codes, {4});
          for (const Objective& o : all_objectives(0.3)) {
            INFO(o.name() << " " << name(t) << " p " << p << " u " << u << " codes " << codes[0] << codes[2]);
            const Result r = o(z, l);
            CHECK(std::isfinite(r.reported));
            CHECK(finite(gradient(o, z, l)));
          }
        }
}

TEST_CASE("f32 agrees with f64 on every instruction set, the same for any thread count") {
  Random random(8);
  const Shape shape{2, 3, 37, 41};  // blocks and vectors with rests
  Tensor z = random_normal(shape, random, DType::f64);
  for (double& v : z.mutable_span<double>()) v *= 3;
  const Tensor weight = random_uniform(shape, random, 0, 2, DType::f64);
  const Labels l = mixed_labels(shape).weighted(weight);
  struct Case {
    Objective objective;
    double value;
    Tensor grad;
    double value32 = 0;  // of the instruction set at hand, on one thread
    Tensor grad32 = {};
  };
  std::vector<Case> cases;
  for (Reduction reduction : {Reduction::batch, Reduction::volume})
    for (const Objective& built : all_objectives(0.35)) {
      ObjectiveOptions how;
      how.reduction = reduction;
      const Objective o = built.with(how);
      if (o.name() != "ge_binomial") cases.push_back({o, o(z, l).reported, gradient(o, z, l)});
    }
  const Tensor z32 = z.to(DType::f32);
  for_each_isa_and_threads([&](const char* isa, int threads) {
    for (Case& c : cases) {
      INFO(c.objective.name() << " on " << isa << " with " << threads << " threads");
      CHECK(c.objective(z, l).reported == c.value);
      CHECK(test::relative_difference(gradient(c.objective, z, l), c.grad) == 0);
      const double value = c.objective(z32, l).reported;
      const Tensor grad = gradient(c.objective, z32, l);
      CHECK(value == Approx(c.value).epsilon(2e-6).margin(2e-7));
      CHECK(test::relative_difference(grad, c.grad) < 2e-5);
      if (threads == 1) c.value32 = value, c.grad32 = grad;
      CHECK(value == c.value32);
      CHECK(test::relative_difference(grad, c.grad32) == 0);
    }
  });
}

TEST_CASE("accumulated parts give the whole batch's gradient") {
  Random random(9);
  const Shape shape{6, 4, 5};
  Tensor z = random_normal(shape, random, DType::f64);
  const Labels l = mixed_labels(shape);
  std::vector<uint8_t> codes;
  for (int64_t i = 0; i < l.size(); ++i) codes.push_back(l.has(i, in_population) ? 1 : l.has(i, out_of_population) ? 3 : l.has(i, U) ? 0 : l.has(i, N) ? 2 : 255);
  for (double gap : {0.0, 4.0}) {
    for (int64_t i = 0; i < l.size(); ++i) z.mutable_span<double>()[size_t(i)] += l.has(i, P) ? gap : -gap;
    for (const Objective& o : all_objectives(0.4)) {
      if (o.name() == "ge_binomial") continue;
      INFO(o.name() << " gap " << gap);
      const Tensor whole = gradient(o, z, l);
      Accumulation sum(o);
      std::vector<Tensor> parts;
      std::vector<Labels> labels;
      for (int64_t from : {0, 1, 4}) {  // volumes 0, 1 to 3, 4 to 5
        const int64_t count = from == 0 ? 1 : from == 1 ? 3 : 2;
        parts.push_back(z.view({count, 4, 5}, from * 20).clone());
        labels.emplace_back(std::vector<uint8_t>(codes.begin() + from * 20, codes.begin() + (from + count) * 20), Shape{count, 4, 5});
        sum.add(parts.back(), labels.back());
      }
      CHECK(sum.total().reported == Approx(o(z, l).reported).epsilon(1e-12));
      int64_t at = 0;
      for (size_t i = 0; i < parts.size(); ++i) {
        parts[i].set_requires_grad();
        backward(sum.loss(parts[i], labels[i]));
        CHECK(test::relative_difference(parts[i].grad(), whole.view(parts[i].shape(), at)) < 1e-12);
        at += parts[i].size();
      }
    }
  }
}

TEST_CASE("centred crops teach what positives look like, random crops what everything does") {
  // Volume 0 is centred on an event, volume 1 is random: only the random one's voxels are a sample of everything.
  const Labels l(std::vector<int>{1, 0, 0, 1, 0, 0}, {2, 3});
  const Labels c = l.with_centred({true, false});
  CHECK(c.count(P) == 2);
  CHECK(c.count(U) == 2);
  CHECK(c.count(population) == 3);
  CHECK(c.count(U, 0) == 0);
  const Tensor z = Tensor::from<double>({1, -1, -2, 2, 0.5, -3}, {2, 3});
  const Result r = nnpu({.prior = 0.1, .scenario = Scenario::single_set})(z, c);
  const auto s = [](double v) { return 1 / (1 + std::exp(-v)); };
  CHECK(r["Ru_neg"] == Approx((s(2) + s(0.5) + s(-3)) / 3));
  CHECK(r["Rp_neg"] == Approx((s(1) + s(2)) / 2));
}

TEST_CASE("a surrogate of one's own equals the built-in one") {
  Random random(10);
  const Tensor z = random_normal({2, 300}, random, DType::f64);
  const Labels l = mixed_labels(z.shape());
  const Function mine([](const Dual& x) { return 1 / (1 + exp(x)); });
  for (Correction c : {Correction::none, Correction::kiryo}) {
    const Objective own = pu_risk({.prior = 0.3, .surrogate = mine, .correction = c}), built = pu_risk({.prior = 0.3, .correction = c});
    CHECK(own(z, l).reported == Approx(built(z, l).reported).epsilon(1e-13));
    CHECK(test::relative_difference(gradient(own, z, l), gradient(built, z, l)) < 1e-13);
    CHECK(test::relative_difference(gradient(own, z.to(DType::f32), l), gradient(built, z, l)) < 1e-6);
  }
}

TEST_CASE("gamma as a step leaves the gradient and shortens the rate") {
  const Tensor z = of({3, 4, -3, -4});
  const Labels l(std::vector<int>{1, 1, 0, 0}, z.shape());
  const Objective full = nnpu({.prior = 0.6}), step = nnpu({.prior = 0.6, .gamma = 0.25, .gamma_mode = GammaMode::step});
  CHECK(step(z, l).rate == 0.25);
  CHECK(full(z, l).rate == 1);
  CHECK(test::relative_difference(gradient(step, z, l), gradient(full, z, l)) == 0);
  const Tensor shorter = gradient(nnpu({.prior = 0.6, .gamma = 0.25}), z, l);
  CHECK(shorter.span<double>()[0] == Approx(0.25 * gradient(full, z, l).span<double>()[0]));
}

TEST_CASE("beta by standard errors tolerates what chance explains") {
  Random random(12);
  const Tensor z = random_normal({400}, random, DType::f64);
  const Labels l = mixed_labels(z.shape());
  const Result r = nnpu({.prior = 0.3, .beta_deviations = 2, .effective_positives = 4, .effective_unlabeled = 9})(z, l);
  double sum_u = 0, square_u = 0, n_u = 0, sum_p = 0, square_p = 0, n_p = 0;
  for (int64_t i = 0; i < 400; ++i) {
    const double v = 1 / (1 + std::exp(-z.span<double>()[size_t(i)]));
    if (l.has(i, U)) sum_u += v, square_u += v * v, ++n_u;
    if (l.has(i, P)) sum_p += v, square_p += v * v, ++n_p;
  }
  const double var_u = square_u / n_u - sum_u * sum_u / n_u / n_u, var_p = square_p / n_p - sum_p * sum_p / n_p / n_p;
  CHECK(r["beta"] == Approx(2 * std::sqrt(var_u / 9 + 0.09 * var_p / 4)));
}
