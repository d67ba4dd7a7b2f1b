// SPDX-License-Identifier: BSD-3-Clause
// A loss of one's own and training steps with it: a non-negative positive-unlabeled risk (Kiryo et al. 2017).

#include <cstdio>

#include "voxgrad/engine.hpp"

using namespace voxgrad;

/// max(0, R_u^- - prior R_p^-) + prior R_p^+ with the sigmoid loss; positive is 1 where a voxel is labelled.
Tensor nn_pu_risk(const Tensor& logits, const Tensor& positive, double prior) {
  const Tensor unlabeled = 1 - positive;
  const double n_p = std::max(1.0, sum(positive).item()), n_u = std::max(1.0, sum(unlabeled).item());
  const Tensor p_plus = sum(sigmoid(-logits) * positive) * (prior / n_p);
  const Tensor p_minus = sum(sigmoid(logits) * positive) * (prior / n_p);
  const Tensor u_minus = sum(sigmoid(logits) * unlabeled) * (1 / n_u);
  const Tensor negative = u_minus - p_minus;
  return negative.item() < 0 ? -negative : p_plus + negative;  // a negative part is pushed back up: a plain C++ choice
}

int main() {
  Random random(1);
  models::UNet3d net({.layers = 2, .width = 4}, random);
  optim::Adam adam(net.parameters(), {.lr = 3e-3});

  Tensor x = random_normal({4, 8, 16, 16, 1}, random), labelled = Tensor::zeros(x.shape());
  for (int i = 0; i < 200; ++i) {  // bright voxels are positive; half of them are labelled
    const size_t at = size_t(random.below(uint64_t(x.size())));
    x.mutable_span<float>()[at] += 6;
    labelled.mutable_span<float>()[at] = i % 2 == 0;
  }
  double first = 0, last = 0;
  for (int step = 0; step < 40; ++step) {
    const Tensor risk = nn_pu_risk(net.logits(x), labelled, 200.0 / double(x.size()));
    if (step == 0) first = risk.item();
    last = risk.item();
    backward(risk);
    adam.step();
  }
  std::printf("risk %.5f -> %.5f\n", first, last);
  return last < first ? 0 : 1;
}
