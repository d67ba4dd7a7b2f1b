// SPDX-License-Identifier: BSD-3-Clause
// What must hold when only a quarter of the events is annotated: learning that knows of the others finds them, the scheme that calls every
// unlabeled voxel negative puts them below 1/2. docs/pu.md has the same at the size of a study.

#include <algorithm>

#include "catch.hpp"
#include "voxgrad/nn/layers.hpp"
#include "voxgrad/optim/adam.hpp"
#include "voxgrad/pu/registry.hpp"

using namespace voxgrad;

namespace {

constexpr int64_t volumes = 6, depth = 12, edge = 16, voxels = volumes * depth * edge * edge;

/// Noise with blobs in it, the truth, and a truth of which a quarter of the blobs is left.
struct Blobs {
  Tensor x = Tensor::zeros({volumes, depth, edge, edge, 1});
  std::vector<uint8_t> truth = std::vector<uint8_t>(size_t(voxels)), labelled = truth;
  explicit Blobs(uint64_t seed) {
    Random random(seed);
    x = random_normal(x.shape(), random);
    const auto v = x.mutable_span<float>();
    for (int blob = 0; blob < 48; ++blob) {
      const int64_t n = blob % volumes, z = 2 + int64_t(random.below(depth - 4)), y = 2 + int64_t(random.below(edge - 4)),
                    w = 2 + int64_t(random.below(edge - 4));
      for (int64_t dz = -1; dz <= 1; ++dz)
        for (int64_t dy = -1; dy <= 1; ++dy)
          for (int64_t dx = -1; dx <= 1; ++dx) {
            const auto at = size_t(((n * depth + z + dz) * edge + y + dy) * edge + w + dx);
            v[at] += truth[at] ? 0 : 2.5f;
            truth[at] = 1;
            labelled[at] |= blob / volumes % 4 == 0;
          }
    }
  }
  double prior() const { return double(std::count(truth.begin(), truth.end(), 1)) / double(voxels); }
};

class Net : public nn::Module {
 public:
  explicit Net(Random& random) : first_(1, 8, 3, random), second_(8, 8, 3, random), last_(8, 1, 1, random) {
    child("first", first_);
    child("second", second_);
    child("last", last_);
  }
  Tensor operator()(const Tensor& x) const { return last_(relu(second_(relu(first_(x))))); }

 private:
  nn::Conv3d first_, second_, last_;
};

struct Found {
  double at_half, best;  ///< Dice of scores above 1/2, and at the best threshold
};

Found learn(const pu::Objective& risk, const Blobs& train, const std::vector<uint8_t>& labelled, const Blobs& test) {
  Random random(5);
  Net net(random);
  optim::Adam adam(net.parameters(), {.lr = 0.01});
  const pu::Labels labels(labelled, train.x.shape());
  for (int step = 0; step < 100; ++step) {
    backward(risk(net(train.x), labels).loss);
    adam.step();
  }
  NoGrad no_grad;
  const Tensor z = net(test.x);
  std::vector<std::pair<float, uint8_t>> scores;
  for (size_t i = 0; i < test.truth.size(); ++i) scores.emplace_back(z.span<float>()[i], test.truth[i]);
  std::sort(scores.rbegin(), scores.rend());
  const double positives = double(std::count(test.truth.begin(), test.truth.end(), 1));
  Found found{0, 0};
  double hits = 0;
  for (size_t k = 0; k < scores.size(); ++k) {
    hits += scores[k].second;
    const double dice = 2 * hits / (positives + double(k + 1));
    found.best = std::max(found.best, dice);
    if (scores[k].first > 0) found.at_half = dice;
  }
  return found;
}

}  // namespace

TEST_CASE("a quarter of the events annotated: PU risks find the others, the naive scheme scores them below 1/2") {
  const Blobs train(1), test(2);
  const pu::RiskOptions options{.prior = train.prior(), .surrogate = pu::brier_loss, .prior_prime = 0.4, .scenario = pu::Scenario::single_set};
  const Found all = learn(pu::risk_by_name("naive", options), train, train.truth, test);
  const Found naive = learn(pu::risk_by_name("naive", options), train, train.labelled, test);
  const Found absolute = learn(pu::risk_by_name("abs_pu", options), train, train.labelled, test);
  const Found imbalanced = learn(pu::risk_by_name("imbalanced_nnpu", options), train, train.labelled, test);
  pu::RiskOptions published = options;
  published.prior_prime.reset();
  const Found nonnegative = learn(pu::risk_by_name("nnpu", published), train, train.labelled, test);
  INFO("Dice at 1/2 and at best: all labels " << all.at_half << " " << all.best << ", naive " << naive.at_half << " " << naive.best
       << ", abs_pu " << absolute.at_half << " " << absolute.best << ", imbalanced_nnpu " << imbalanced.at_half << " " << imbalanced.best
       << ", nnpu " << nonnegative.at_half << " " << nonnegative.best);
  CHECK(all.best > 0.7);  // the network can do it
  CHECK(nonnegative.best > naive.best - 0.05);  // as published; positives weigh little, so that it learns more slowly than the two below
  for (const Found& risk : {absolute, imbalanced}) {
    CHECK(risk.best > naive.best - 0.05);
    CHECK(risk.at_half > naive.at_half + 0.2);
    CHECK(risk.best > 0.75 * all.best);
  }
}
