// SPDX-License-Identifier: BSD-3-Clause
// What the risks refuse, with their words: nothing that is not finite gets past them.

#include <limits>

#include "catch.hpp"
#include "message.hpp"
#include "voxgrad/pu/accumulation.hpp"
#include "voxgrad/pu/expectation.hpp"
#include "voxgrad/pu/extra_labels.hpp"
#include "voxgrad/pu/overlap.hpp"
#include "voxgrad/pu/variational.hpp"

using namespace voxgrad;
using namespace voxgrad::pu;
using voxgrad::test::message;

namespace {
const double nan_value = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
Tensor zeros(const Shape& s) { return Tensor::zeros(s, DType::f64); }
Labels labels(const std::vector<int>& codes, const Shape& s) { return Labels(codes, s); }
}  // namespace

TEST_CASE("options outside their range are refused by name and value") {
  CHECK(message<UsageError>([] { nnpu({.prior = 0}); }) == "nnpu: prior is 0 (expected above 0 and below 1)");
  CHECK(message<UsageError>([] { upu({.prior = 1.2}); }) == "upu: prior is 1.2 (expected above 0 and below 1)");
  CHECK(message<UsageError>([] { abs_pu({.prior = nan_value}); }) == "abs_pu: prior is nan (expected above 0 and below 1)");
  CHECK(message<UsageError>([] { nnpu({.priors = {0.1, 1}}); }) == "nnpu: priors is 1 (expected above 0 and below 1)");
  CHECK(message<UsageError>([] { imbalanced_nnpu({.prior = 0.1, .prior_prime = 1.0}); }) ==
        "imbalanced_nnpu: prior_prime is 1 (expected above 0 and below 1)");
  CHECK(message<UsageError>([] { nnpu({.prior = 0.1, .beta = -1}); }) == "nnpu: beta is -1 (expected 0 or above)");
  CHECK(message<UsageError>([] { nnpu({.prior = 0.1, .gamma = 2}); }) == "nnpu: gamma is 2 (expected 0 to 1)");
  CHECK(message<UsageError>([] { pu_risk({.prior = 0.1, .leak = -0.5}); }) == "pu_risk: leak is -0.5 (expected 0 to 1)");
  CHECK(message<UsageError>([] { nnpu({.prior = 0.1, .unlabeled_denominator = infinity}); }) ==
        "nnpu: a fixed denominator is inf (expected a weight, or 0 for the batch's own)");
  CHECK(message<UsageError>([] { nnpu({.prior = 0.1, .beta_deviations = 1}); }) ==
        "nnpu: beta_deviations 1 needs effective_positives and effective_unlabeled (they are 0 and 0): events and crops per batch, not voxels");
  CHECK(message<UsageError>([] { pnu({.prior = 0.1}, 1.5); }) == "pnu: eta is 1.5 (expected 0 to 1)");
  CHECK(message<UsageError>([] { dist_pu(0.1, -1); }) == "dist_pu: mu is -1 (expected 0 or above)");
  CHECK(message<UsageError>([] { ge_kl(1); }) == "ge_kl: prior_u is 1 (expected above 0 and below 1)");
  CHECK(message<UsageError>([] { ge_gaussian(0.1, 1, 0.5); }) == "ge_gaussian: spread is 0.5 (expected 1 or above)");
  CHECK(message<UsageError>([] { taylor_vpu(0); }) == "taylor_vpu: order is 0 (expected 1 or above)");
  CHECK(message<UsageError>([] { pu_dice({.prior = 0.1, .correction = Correction::kiryo}); }) ==
        "pu_dice: correction must be none, clamp or abs");
  CHECK(message<UsageError>([] { focal_loss(-1); }) == "focal_loss: exponent is -1 (expected 0 or above)");
  CHECK(message<UsageError>([] { surrogate_by_name("focal-x"); }) ==
        "surrogate 'focal-x' is not one of sigmoid, ramp, zero_one, logistic, squared, double_hinge, hinge, brier, savage, focal (focal takes "
        "its exponent, as in focal2)");
  CHECK(message<UsageError>([] { pubn({.prior = 0.1}, 0.1, Tensor::full({2}, 1.5), 0.5); }) == "pubn: q is 1.5 at voxel 0 (expected 0 to 1)");
  CHECK(message<UsageError>([] { propensity_risk(Tensor::full({2}, nan_value), {}); }) ==
        "propensity_risk: propensity is nan at voxel 0 (expected 0 to 1)");
}

TEST_CASE("labels and weights outside what is declared are refused") {
  CHECK(message<UsageError>([] { labels({0, 1, 7}, {3}); }) ==
        "labels: 7 at voxel 2 is none of the declared codes (unlabeled 0, positive 1, negative 2, positive outside the population 3, ignore 255)");
  CHECK(message<UsageError>([] { Labels(std::vector<double>{0, nan_value}, {2}); }).rfind("labels: nan at voxel 1", 0) == 0);
  CHECK(message<UsageError>([] { Labels(std::vector<int>{-1, 1}, {2}); }).rfind("labels: -1 at voxel 0", 0) == 0);
  CHECK(Labels(std::vector<int>{-1, 1}, {2}, {.positive = 1, .unlabeled = -1}).count(U) == 1);
  CHECK(message<ShapeError>([] { labels({0, 1}, {3}); }) == "labels: 2 codes for shape 3");
  CHECK(message<ShapeError>([] { labels({0, 1}, {2}).weighted(zeros({3})); }) == "weight: is 3, the labels are 2");
  CHECK(message<UsageError>([] { labels({0, 1}, {2}).weighted(Tensor::from<double>({1, -2}, {2})); }) ==
        "weight: -2 at voxel 1 (expected a number, 0 or above)");
  CHECK(message<UsageError>([] { labels({0, 1}, {2}).weighted(Tensor::from<double>({nan_value, 2}, {2})); }) ==
        "weight: nan at voxel 0 (expected a number, 0 or above)");
  CHECK(message<UsageError>([] { labels({0, 1}, {2}).with_centred({true, true}); }) == "centred: 2 marks for 1 volumes");
}

TEST_CASE("batches that teach nothing or are not finite are refused") {
  const Objective risk = nnpu({.prior = 0.1});
  CHECK(message<ShapeError>([&] { risk(zeros({2, 3}), labels({0, 1}, {2})); }) == "nnpu: logits are 2x3, labels are 2");
  CHECK(message<UsageError>([&] { risk(zeros({2}), labels({255, 255}, {2})); }) ==
        "nnpu: labels: all voxels are ignored; there is nothing to learn from");
  ObjectiveOptions how;
  how.reduction = Reduction::volume;
  CHECK(message<UsageError>([&] { risk.with(how)(zeros({2, 2}), labels({0, 1, 255, 255}, {2, 2})); }) ==
        "nnpu: labels: all voxels of volume 1 are ignored; leave it out or label it");
  how.allow_all_ignored = true;
  CHECK(risk.with(how)(zeros({2, 2}), labels({255, 255, 255, 255}, {2, 2})).reported == 0);
  how.allow_all_ignored = false;
  CHECK(message<UsageError>([&] { nnpu({.priors = {0.1}}, how)(zeros({2, 2}), labels({0, 1, 0, 1}, {2, 2})); }) ==
        "nnpu: priors has 1 values, the batch has a volume 1");
  CHECK(message<UsageError>([&] { nnpu({.priors = {0.1}})(zeros({2, 2}), labels({0, 1, 0, 1}, {2, 2})); }) ==
        "nnpu: priors per volume need reduction volume");

  for (DType t : {DType::f32, DType::f64})
    for (double bad : {nan_value, infinity, -infinity})
      for (int at : {0, 4000, 8191}) {  // also where the voxel is ignored, and far from the first block
        Tensor z = Tensor::zeros({2, 4096}, t);
        visit(t, [&](auto zero) { z.mutable_span<decltype(zero)>()[size_t(at)] = decltype(zero)(bad); });
        std::vector<int> codes(8192, 0);
        codes[1] = 1;
        codes[4000] = 255;
        const std::string said = message<Error>([&] { risk(z, Labels(codes, z.shape())); });
        CHECK(said == text("nnpu: logits: the value at voxel ", at, " of 8192 is ", bad,
                           ". No gradient was computed; try a smaller learning rate, and check the input."));
      }

  Tensor z = zeros({2});
  z.set_requires_grad();
  CHECK(message<UsageError>([&] { upu({.prior = 0.1, .surrogate = zero_one_loss})(z, labels({0, 1}, {2})); }) ==
        "upu: surrogate: zero_one has no gradient; it measures, and sigmoid or ramp are its trainable forms");
  CHECK(message<Error>([&] {
          objective("mine", [](Stats& s) { return Step(log(s.mean(P, score) - 0.5)); })(z, labels({0, 1}, {2}));
        }) == "mine: the risk is -inf, its objective -inf (1 positive, 1 unlabeled voxels)");
  CHECK(message<ShapeError>([&] {
          objective("mine", [](Stats& s) { return Step(s.sum(P, score, Tensor::zeros({3}))); })(z, labels({0, 1}, {2}));
        }) == "mine: factor is 3 f32, the logits are 2 f64");
  CHECK(message<UsageError>([&] {
          objective("mine", [](Stats& s) {
            Value v = 0;
            for (int i = 1; i < 18; ++i) v += s.mean(P, focal_loss(i));
            return Step(v);
          })(z, labels({0, 1}, {2}));
        }) == "mine: asks for more than 16 sums");
  CHECK(message<UsageError>([&] { ge_binomial(0.1)(zeros({5000}), Labels(std::vector<int>(5000, 0), {5000})); }) ==
        "ge_binomial: takes at most 4096 unlabeled voxels of weight 1, got 5000 of weight 5000; use ge_gaussian");
  CHECK(message<UsageError>([&] { Accumulation a(risk.with(how)); }) ==
        "nnpu: accumulation needs reduction batch; the mean over volumes adds up by itself");
}
