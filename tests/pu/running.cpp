// SPDX-License-Identifier: BSD-3-Clause
// Means that outlive a batch, and every risk made by its name.

#include "catch.hpp"
#include "message.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/pu/registry.hpp"

using namespace voxgrad;
using namespace voxgrad::pu;
using voxgrad::test::message;

namespace {

Tensor row(std::vector<double> z) {
  const int64_t n = int64_t(z.size());
  return Tensor::from(z, {n});
}
double sigmoid_of(double z) { return 1 / (1 + std::exp(-z)); }
std::vector<double> gradient(const Objective& o, const Tensor& logits, const Labels& l, RunningMeans* running) {
  Tensor z = logits.clone();
  z.set_requires_grad();
  backward(o(z, l, running).loss);
  const auto g = z.grad().span<double>();
  return {g.begin(), g.end()};
}

}  // namespace

TEST_CASE("running means: the rule sees them, the gradient is the batch's") {
  const Objective square = objective("square", [](Stats& s) {
    const Value m = s.mean(P, score);
    return step(m * m + s.mean(P, score));  // asked twice, counted once
  });
  const Labels l(std::vector<int>{1, 0}, {2});
  RunningMeans running(0.25);
  const Tensor first = row({1, 0}), second = row({-2, 0});
  const double a = sigmoid_of(1), b = sigmoid_of(-2), m = 0.75 * a + 0.25 * b;
  CHECK(square(first, l, &running).reported == Approx(a * a + a));
  CHECK(square(second, l).reported == Approx(b * b + b));  // without them, as ever
  RunningMeans copy = running;
  CHECK(square(second, l, &running).reported == Approx(m * m + m));
  CHECK(running.values() == std::vector<double>{m});
  CHECK(gradient(square, second, l, &copy)[0] == Approx((2 * m + 1) * b * (1 - b)));
  RunningMeans restored(0.25);
  restored.restore(running.values());
  CHECK(square(first, l, &restored).reported == square(first, l, &running).reported);
}

TEST_CASE("running means: a batch without labelled voxels carries theirs, without gradient") {
  const RiskOptions o{.prior = 0.3, .surrogate = sigmoid_loss, .scenario = Scenario::single_set};
  const Tensor z = row({2, -1, 0.5});
  const Labels with(std::vector<int>{1, 0, 0}, {3}), without(std::vector<int>{0, 0, 0}, {3});
  RunningMeans carried(1, true);
  CHECK(nnpu(o)(z, with, &carried).reported == nnpu(o)(z, with).reported);  // a batch that has some is taken as it is
  const Result r = nnpu(o)(z, without, &carried);
  CHECK(r["Rp_pos"] == Approx(sigmoid_of(-2)));
  CHECK(r["Rp_neg"] == Approx(sigmoid_of(2)));
  CHECK(r["Ru_neg"] == nnpu(o)(z, without)["Ru_neg"]);  // what is not of labelled voxels alone is never carried
  CHECK(nnpu(o)(z, without)["Rp_neg"] == 0);
  const std::vector<double> g = gradient(upu(o), z, without, &carried), plain = gradient(upu(o), z, without, nullptr);
  CHECK(g == plain);
  RunningMeans none(1, true);
  CHECK(nnpu(o)(z, without, &none).reported == nnpu(o)(z, without).reported);  // nothing to carry yet
  CHECK(message<UsageError>([] { RunningMeans(0); }) == "running means: momentum is 0 (expected above 0, at most 1)");
}

TEST_CASE("running means make the mean of small batches' PU-Dice that of the whole") {
  Random random(4);
  RunningMeans running(0.02);
  const Objective dice = pu_dice({.prior = 0.25, .scenario = Scenario::single_set});
  double single = 0, averaged = 0;
  std::vector<double> all;
  std::vector<int> codes;
  for (int batch = 0; batch < 600; ++batch) {
    std::vector<double> z;
    std::vector<int> c;
    for (int i = 0; i < 8; ++i) {
      const bool positive = random.uniform() < 0.25;
      z.push_back(random.normal() + (positive ? 1 : -1));
      c.push_back(positive && random.uniform() < 0.5);
    }
    all.insert(all.end(), z.begin(), z.end());
    codes.insert(codes.end(), c.begin(), c.end());
    const Labels l(c, {8});
    single += dice(row(z), l).reported / 600;
    const double value = dice(row(z), l, &running).reported;
    if (batch >= 300) averaged += value / 300;
  }
  const double whole = dice(row(all), Labels(codes, {int64_t(codes.size())})).reported;
  CHECK(averaged == Approx(whole).margin(0.01));
  CHECK(std::abs(single - whole) > 0.05);
}

TEST_CASE("every risk can be made by its name, and says what it lacks") {
  const Tensor z = row({1, -1, 2, -2});
  const Labels l(std::vector<int>{1, 0, 2, 0}, {4});
  RiskOptions o{.prior = 0.2};
  o.negative_share = 0.1;
  o.propensity = Tensor::full({4}, 0.5, DType::f64);
  o.first_stage = Tensor::full({4}, 0.4, DType::f64);
  for (const auto& [name, risk] : risks()) {
    INFO(name);
    const Labels prepared = risk.prepare ? risk.prepare(z, l, o) : l;
    CHECK(std::isfinite(risk_by_name(name, o)(z, prepared).reported));
  }
  CHECK(risk_by_name("pnu", o)(z, l).reported == pnu(o, 0.5)(z, l).reported);
  CHECK(risk_by_name("ge_gaussian", o)(z, l).reported == ge_gaussian(0.2)(z, l).reported);
  o.slack = 3;
  CHECK(risk_by_name("ge_kl", o)(z, l).reported == ge_kl(0.2, 3)(z, l).reported);
  o.prior = 0.5;
  CHECK(risks().at("cvir").prepare(z, l, o).count(U) == 1);  // of two unlabeled voxels the higher one is gone
  o.propensity = Tensor();
  o.first_stage = Tensor();
  CHECK(message<UsageError>([&] { risk_by_name("propensity", o); }) == "propensity: needs the propensity of every labelled voxel");
  CHECK(message<UsageError>([&] { risk_by_name("pubn", o); }) == "pubn: needs a first-stage estimate for every voxel");
}
