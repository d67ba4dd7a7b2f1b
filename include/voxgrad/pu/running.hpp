// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Means that outlive a batch: for ratios such as PU-Dice and for generalised expectation, which small batches estimate badly, and for
// batches in which nothing is labelled.

#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include "voxgrad/core/error.hpp"

namespace voxgrad::pu {

/// Running means of the terms of one rule, in the order in which the rule asks for them. A rule is then taken of them instead of the
/// batch's own means, while the gradient of a mean stays that of the batch: an estimate of the gradient of the rule at the true means.
class RunningMeans {
 public:
  /// momentum: weight of a batch in the means that the rule sees, in (0, 1]; 1 shows the batch's own. carry: a mean over labelled voxels of a
  /// batch without any is the running one, without gradient, instead of 0. Errors: UsageError.
  explicit RunningMeans(double momentum = 1, bool carry = false) : momentum_(momentum), carry_(carry) {
    check<UsageError>(momentum > 0 && momentum <= 1, "running means: momentum is ", momentum, " (expected above 0, at most 1)");
  }
  /// Weight of a batch in means that are only kept to be carried.
  static constexpr double carried_momentum = 0.1;

  bool used() const { return momentum_ < 1 || carry_; }
  /// A new batch, or volume: every term counts once in it.
  void begin() { shown_.assign(mean_.size(), unknown); }

  /// The mean that a rule sees for its term `place`, given the batch's. present: its set has weight; labelled: it holds labelled voxels only.
  double seen(int place, double batch, bool present, bool labelled) {
    const size_t k = size_t(place);
    if (mean_.size() <= k) mean_.resize(k + 1, unknown);
    if (shown_.size() <= k) shown_.resize(k + 1, unknown);
    if (!std::isnan(shown_[k])) return shown_[k];
    double& m = mean_[k];
    if (present) {
      const double weight = momentum_ < 1 ? momentum_ : carried_momentum;
      m = std::isnan(m) ? batch : m + weight * (batch - m);
    }
    const bool kept = !std::isnan(m) && (momentum_ < 1 || (carry_ && labelled && !present));
    return shown_[k] = kept ? m : batch;
  }

  /// All means, NaN where none was seen: what a checkpoint keeps.
  const std::vector<double>& values() const { return mean_; }
  void restore(std::vector<double> values) {
    mean_ = std::move(values);
    begin();
  }

 private:
  static constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
  double momentum_;
  bool carry_;
  std::vector<double> mean_, shown_;
};

}  // namespace voxgrad::pu
