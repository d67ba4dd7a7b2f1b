// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Objectives that need no prior: variational PU (VPU; Chen et al. 2020), its Taylor form (Zhao et al. 2023), and discarding the unlabeled
// voxels that look most positive (CVIR; Garg et al. 2021).

#include <numeric>

#include "voxgrad/ops/mean.hpp"
#include "voxgrad/pu/risk.hpp"

namespace voxgrad::pu {

/// log<s>_X - <log s>_P with s = sigmoid(z). X is everything, as published, or U alone. Scores are defined up to a factor: classify by
/// s / (a high quantile of s). Overfits as uPU does: stop early on held-out values. Noted: mean_x, nll_p.
inline Objective vpu(bool with_positives = true, const ObjectiveOptions& how = {}) {
  return objective("vpu", [with_positives](Stats& s) {
    const Value log_x = s.log_mean_score(with_positives ? population : U), nll = s.mean(P, logistic_loss);
    s.note("mean_x", exp(log_x));
    s.note("nll_p", nll);
    return Step(log_x + nll);
  }, how);
}

/// VPU's regulariser on inputs mixed as lambda x_u + (1 - lambda) x_p: the mean of (log t - log s(mixed))^2 with the target
/// t = lambda s(x_u) + (1 - lambda). No gradient goes through t unless through_target. Add weight * this (1e-4 to 0.3) to the loss tensor.
/// Errors: UsageError for lambda outside 0 to 1; ShapeError.
inline Tensor vpu_mixup(const Tensor& mixed, const Tensor& unlabeled, double lambda, bool through_target = false) {
  check<UsageError>(lambda >= 0 && lambda <= 1, "vpu_mixup: lambda is ", lambda, " (expected 0 to 1)");
  check<ShapeError>(mixed.shape() == unlabeled.shape(), "vpu_mixup: mixed is ", mixed.shape(), ", unlabeled is ", unlabeled.shape());
  const Tensor t = affine(voxgrad::sigmoid(through_target ? unlabeled : unlabeled.detach()), lambda, 1 - lambda);
  return mean(square(voxgrad::log(clamp(t, 1e-30, 1)) + voxgrad::softplus(-mixed)));
}

/// -<log s>_P - sum over i = 1..order of (1 - <s>_U)^i / i: order 1 weighs U the same always, a high order is VPU. Noted: mean_u, nll_p.
/// Errors: UsageError for an order below 1.
inline Objective taylor_vpu(int order, const ObjectiveOptions& how = {}) {
  check<UsageError>(order >= 1, "taylor_vpu: order is ", order, " (expected 1 or above)");
  return objective("taylor_vpu", [order](Stats& s) {
    const Value nll = s.mean(P, logistic_loss), rest = 1 - s.mean(U, score);
    Value power = 1, sum = 0;
    if (s.weight(U) > 0)
      for (int i = 1; i <= order; ++i) {
        power *= rest;
        sum += power * (1.0 / i);
      }
    s.note("mean_u", 1 - rest);
    s.note("nll_p", nll);
    return Step(nll - sum);
  }, how);
}

/// The same labels with the floor(share * count) unlabeled voxels of highest logit ignored; of equals the first.
/// Errors: ShapeError; UsageError for a share outside 0 to 1.
inline Labels without_highest(const Tensor& logits, const Labels& labels, double share) {
  check<UsageError>(share >= 0 && share <= 1, "without_highest: share is ", share, " (expected 0 to 1)");
  check<ShapeError>(logits.shape() == labels.shape(), "without_highest: logits are ", logits.shape(), ", labels are ", labels.shape());
  std::vector<size_t> order;
  for (int64_t i = 0; i < labels.size(); ++i)
    if (labels.has(i, U)) order.push_back(size_t(i));
  const auto drop = order.begin() + std::ptrdiff_t(share * double(order.size()));
  visit(logits.dtype(), [&](auto zero) {
    const auto z = logits.span<decltype(zero)>();
    std::nth_element(order.begin(), drop, order.end(), [&](size_t a, size_t b) { return z[a] != z[b] ? z[a] > z[b] : a < b; });
  });
  std::vector<bool> dropped(size_t(labels.size()), false);
  for (auto i = order.begin(); i != drop; ++i) dropped[*i] = true;
  return labels.changed([&](size_t i, uint8_t c) { return dropped[i] ? uint8_t(0) : c; });
}

/// (<softplus(-z)>_P + <softplus(z)>_U) / 2: the loss after without_highest(z, labels, estimated share of positives in U).
inline Objective cvir(const ObjectiveOptions& how = {}) { return naive_balanced(0.5, logistic_loss, how); }

}  // namespace voxgrad::pu
