// SPDX-License-Identifier: BSD-3-Clause
// Mixup of dense volumes: its draws, its targets in closed form, its gradients, and that its parts add up.

#include "voxgrad/pu/mixup.hpp"

#include <algorithm>

#include "catch.hpp"
#include "message.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/pu/variational.hpp"

using namespace voxgrad;
using namespace voxgrad::pu;
using voxgrad::test::message;

namespace {

double sigmoid_of(double z) { return 1 / (1 + std::exp(-z)); }
double entropy_of(double s) { return -s * std::log(s) - (1 - s) * std::log(1 - s); }
double bce(double z, double t) { return -t * std::log(sigmoid_of(z)) - (1 - t) * std::log(1 - sigmoid_of(z)); }

Tensor gradient(const Objective& o, const Tensor& logits, const Labels& l) {
  Tensor z = logits.clone();
  z.set_requires_grad();
  backward(o(z, l).loss);
  return z.grad();
}

}  // namespace

TEST_CASE("mixup: lambda follows its beta distribution, partners are a permutation, both by seed") {
  for (const double alpha : {0.3, 1.0, 6.0}) {
    INFO(alpha);
    Random random(4, 2);
    double sum = 0, square = 0;
    const int n = 20000;
    for (int i = 0; i < n; ++i) {
      const double lambda = draw_mixture(1, alpha, random).lambda;
      CHECK((lambda >= 0 && lambda <= 1));
      sum += lambda, square += lambda * lambda;
    }
    const double variance = 1 / (4 * (2 * alpha + 1));
    CHECK(std::abs(sum / n - 0.5) < 4 * std::sqrt(variance / n));
    CHECK(square / n - sum / n * (sum / n) == Approx(variance).epsilon(0.03));
  }
  Random one(7, 1), same(7, 1), other(7, 2);
  const Mixture m = draw_mixture(50, 6, one), again = draw_mixture(50, 6, same), else_where = draw_mixture(50, 6, other);
  CHECK((m.lambda == again.lambda && m.partner == again.partner));
  CHECK((m.lambda != else_where.lambda && m.partner != else_where.partner));
  std::vector<int64_t> sorted = m.partner;
  std::sort(sorted.begin(), sorted.end());
  for (int64_t i = 0; i < 50; ++i) CHECK(sorted[size_t(i)] == i);
  CHECK(m.partner != sorted);
  Random random(1);
  CHECK(message<UsageError>([&] { draw_mixture(2, 0, random); }) == "draw_mixture: alpha is 0 (expected above 0)");
}

TEST_CASE("mixup: inputs are mixed volume by volume") {
  const Tensor x = Tensor::from<float>({1, 2, 10, 20, 100, 200}, {3, 2});
  const Tensor y = mix(x, {0.75, {1, 2, 0}});
  const std::vector<float> expected{3.25f, 6.5f, 32.5f, 65, 75.25f, 150.5f};
  CHECK(std::equal(expected.begin(), expected.end(), y.span<float>().begin()));
  CHECK(message<ShapeError>([&] { mix(x, {0.5, {1, 0}}); }) == "mix: x is 3x2, the mixture has 2 volumes");
}

TEST_CASE("mixup of Dist-PU: pseudo-labels, 1 for labelled voxels, in closed form") {
  // Two volumes: labelled, unlabeled, known negative, ignored against unlabeled, labelled, unlabeled, unlabeled.
  const Shape shape{2, 4};
  const Labels labels(std::vector<int>{1, 0, 2, 255, 0, 1, 0, 0}, shape);
  const Tensor z = Tensor::from<double>({3, -1, 2, 0.5, 0.25, -2, 1, 4}, shape);
  const double lambda = 0.7;
  const MixedTargets t = dist_pu_targets(z, labels, {lambda, {1, 0}});
  CHECK(t.total == 6);
  CHECK(t.codes == std::vector<uint8_t>{0, 0, 0, 255, 0, 0, 0, 255});
  const std::vector<double> expected{lambda + (1 - lambda) * sigmoid_of(0.25), lambda * sigmoid_of(-1) + 1 - lambda, (1 - lambda) * sigmoid_of(1), 0,
                                     lambda * sigmoid_of(0.25) + 1 - lambda, lambda + (1 - lambda) * sigmoid_of(-1), lambda * sigmoid_of(1), 0};
  for (size_t i = 0; i < 8; ++i) CHECK(t.target.span<double>()[i] == Approx(expected[i]).epsilon(1e-14));

  const Tensor mixed = Tensor::from<double>({0.5, -0.75, 1.5, 50, -2.5, 0.1, 0.9, -50}, shape);
  double loss = 0, entropy = 0;
  for (size_t i : {0u, 1u, 2u, 4u, 5u, 6u}) {
    const double m = mixed.span<double>()[i];
    loss += bce(m, expected[i]) / 6, entropy += entropy_of(sigmoid_of(m)) / 6;
  }
  const Objective o = dist_pu_mixup(t, 5, 0.04);
  const Result r = o(mixed, t.labels());
  CHECK(r["mixup"] == Approx(loss).epsilon(1e-12));
  CHECK(r["mixup_entropy"] == Approx(entropy).epsilon(1e-12));
  CHECK(r.reported == Approx(5 * loss + 0.04 * entropy).epsilon(1e-12));
  const Tensor g = gradient(o, mixed, t.labels());
  for (size_t i = 0; i < 8; ++i) {
    const double m = mixed.span<double>()[i], s = sigmoid_of(m);
    CHECK(g.span<double>()[i] == Approx(i == 3 || i == 7 ? 0 : (5 * (s - expected[i]) - 0.04 * m * s * (1 - s)) / 6).margin(1e-14));
  }
  // BCE with mixed targets is the mixture of both BCE, as the authors write it.
  CHECK(bce(0.5, expected[0]) == Approx(lambda * bce(0.5, 1) + (1 - lambda) * bce(0.5, sigmoid_of(0.25))).epsilon(1e-12));
}

TEST_CASE("mixup of VPU: where an unlabeled voxel meets a labelled one, in closed form") {
  const Shape shape{2, 3};
  const Labels labels(std::vector<int>{0, 0, 1, 1, 255, 1}, shape);
  const Tensor z = Tensor::from<double>({-1, 2, 5, 5, 0, 5}, shape), mixed = Tensor::from<double>({0.3, 9, 9, 9, 9, 9}, shape);
  const MixedTargets t = vpu_targets(z, labels, {0.4, {1, 0}});
  CHECK(t.total == 1);  // the first voxel alone: the second meets an ignored one, the third is labelled itself
  const double target = 0.4 * sigmoid_of(-1) + 0.6, miss = std::log(target) - std::log(sigmoid_of(0.3));
  const Objective o = vpu_mixup(t, 0.03);
  CHECK(o(mixed, t.labels()).reported == Approx(0.03 * miss * miss).epsilon(1e-12));
  CHECK(o(mixed, t.labels())["mixup"] == Approx(miss * miss).epsilon(1e-12));
  const Tensor g = gradient(o, mixed, t.labels());
  CHECK(g.span<double>()[0] == Approx(-0.06 * miss * (1 - sigmoid_of(0.3))).epsilon(1e-12));
  for (size_t i = 1; i < 6; ++i) CHECK(g.span<double>()[i] == 0);

  // Where all count it is the formula of variational.hpp.
  Random random(3);
  const Shape half{1, 40}, both{2, 40};
  const Tensor u = random_normal(both, random, DType::f64), m = random_normal(both, random, DType::f64);
  std::vector<int> codes(80, 1);
  std::fill(codes.begin(), codes.begin() + 40, 0);
  const MixedTargets all = vpu_targets(u, Labels(codes, both), {0.2, {1, 0}});
  CHECK(all.total == 40);
  CHECK(vpu_mixup(all, 1)(m, all.labels()).reported == Approx(vpu_mixup(m.view(half), u.view(half), 0.2).item()).epsilon(1e-12));
}

TEST_CASE("mixup: no pair that counts is 0 without a gradient, and parts add up to the whole") {
  const Shape shape{2, 2};
  const Labels none(std::vector<int>{0, 0, 0, 0}, shape);
  const Tensor z = Tensor::from<double>({1, -2, 3, -4}, shape);
  const MixedTargets empty = vpu_targets(z, none, {0.4, {1, 0}});
  CHECK(empty.total == 0);
  CHECK(vpu_mixup(empty, 1)(z, empty.labels()).reported == 0);
  CHECK(gradient(vpu_mixup(empty, 1), z, empty.labels()).span<double>()[0] == 0);

  Random random(5);
  const Shape batch{5, 2, 3, 1};
  const Tensor logits = random_normal(batch, random, DType::f64), mixed = random_normal(batch, random, DType::f64);
  std::vector<int> codes(size_t(batch.size()));
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = i % 3 == 0 ? 1 : i % 7 == 0 ? 255 : 0;
  const Labels labels(codes, batch);
  const Mixture m = draw_mixture(5, 1, random);
  for (const bool vpu : {false, true}) {
    const MixedTargets t = vpu ? vpu_targets(logits, labels, m) : dist_pu_targets(logits, labels, m);
    const auto make = [&](const MixedTargets& of) { return vpu ? vpu_mixup(of, 0.3) : dist_pu_mixup(of, 5, 0.04); };
    const double whole = make(t)(mixed, t.labels()).reported;
    const Tensor full = gradient(make(t), mixed, t.labels());
    double sum = 0;
    for (const auto& [first, count] : {std::pair<int64_t, int64_t>{0, 2}, {2, 1}, {3, 2}}) {
      const MixedTargets part = t.part(first, count);
      const Tensor z_part = mixed.view({count, 2, 3, 1}, first * 6);
      sum += make(part)(z_part, part.labels()).reported;
      const Tensor g = gradient(make(part), z_part, part.labels());
      for (size_t i = 0; i < size_t(count) * 6; ++i)
        CHECK(g.span<double>()[i] == Approx(full.span<double>()[size_t(first) * 6 + i]).epsilon(1e-12).margin(1e-15));
    }
    CHECK(sum == Approx(whole).epsilon(1e-12));
    CHECK(gradcheck([&](const std::vector<Tensor>& x) { return make(t)(x[0], t.labels()).loss; }, {mixed.clone()}).ok);
  }
}
