// SPDX-License-Identifier: BSD-3-Clause
// Losses: values and gradients, also where logarithms are cut.

#include "voxgrad/ops/loss.hpp"

#include "catch.hpp"
#include "op_case.hpp"
#include "voxgrad/autograd/backward.hpp"

using namespace voxgrad;
using namespace voxgrad::test;

namespace {
using In = const std::vector<Tensor>&;
const Shape S{4, 5};

std::vector<OpCase> cases() {
  return {
      {"mse_loss", "F.mse_loss(a, b)", {{S}, {S}}, [](In x) { return mse_loss(x[0], x[1]); }, {}, {1}},
      {"mse_with_logits_loss", "F.mse_loss(torch.sigmoid(a), b)", {{S, -4, 4}, {S, 0, 1}},
       [](In x) { return mse_with_logits_loss(x[0], x[1]); }, {}, {1}},
      {"bce_loss", "F.binary_cross_entropy(a, b)", {{S, 0.02, 0.98}, {S, 0, 1}},
       [](In x) { return bce_loss(x[0], x[1]); }, {}, {1}},
      {"bce_with_logits_loss", "F.binary_cross_entropy_with_logits(a, b)", {{S, -4, 4}, {S, 0, 1}},
       [](In x) { return bce_with_logits_loss(x[0], x[1]); }, {}, {1}},
      {"bce_with_logits_loss_wide", "F.binary_cross_entropy_with_logits(a, b)", {{S, -900, 900}, {S, 0, 1}},
       [](In x) { return bce_with_logits_loss(x[0], x[1]); }, {}, {1}},
  };
}
}  // namespace

TEST_CASE("losses") { run_cases(cases()); }

TEST_CASE("bce_loss at probabilities 0 and 1 cuts logarithms at -100, as PyTorch") {
  const Tensor p = Tensor::from<double>({0, 1, 0, 1}, {4}), t = Tensor::from<double>({0, 1, 1, 0}, {4});
  CHECK(bce_loss(p, t).item() == 50);  // F.binary_cross_entropy of the same: 50.0
}

TEST_CASE("the gradient of a loss scales with the incoming one") {
  Tensor p = Tensor::from<double>({1, 2}, {2});
  p.set_requires_grad();
  backward(mse_loss(p, Tensor::zeros({2}, DType::f64)), Tensor::scalar(3, DType::f64));
  CHECK(p.grad().span<double>()[0] == 3);
  CHECK(p.grad().span<double>()[1] == 6);
}
