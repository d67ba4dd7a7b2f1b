// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// One step over several parts of a batch, exactly: a risk with a branch is not the mean of the risks of its parts.

#include "voxgrad/pu/objective.hpp"

namespace voxgrad::pu {

/// First add() every part (forward only), then call loss() on every part again: the gradients add up to that of the whole batch in one
/// piece. The price is a second forward pass. The parts' order changes nothing but rounding.
class Accumulation : private SumSource {
 public:
  /// Errors: UsageError for an objective that takes the mean over volumes: that is accumulated by plain addition.
  explicit Accumulation(Objective objective) : objective_(std::move(objective)) {
    check<UsageError>(objective_.options().reduction == Reduction::batch, objective_.name(),
                      ": accumulation needs reduction batch; the mean over volumes adds up by itself");
  }

  /// Adds the sums of a part. Errors: those of Objective, and UsageError for means with a factor per voxel.
  void add(const Tensor& logits, const Labels& labels) {
    Sweep part(objective_.name(), logits, labels, false);
    const std::vector<Term> terms = objective_.wanted(part, false);
    for (const Term& t : terms)
      check<UsageError>(!t.factor.defined(), objective_.name(), ": means with a factor per voxel cannot be accumulated");
    part.add(terms);
    if (terms_.empty()) {
      terms_ = part.terms();
      sums_.assign(terms_.size(), 0.0);
    }
    for (size_t k = 0; k < terms_.size(); ++k) sums_[k] += part.sum(0, part.find(terms_[k]));
    for (size_t c = 0; c < classes.size(); ++c) {
      weights_[c] += labels.weight(classes[c]);
      counts_[c] += labels.count(classes[c]);
    }
  }

  /// The outcome for all parts together. Errors: as Objective.
  Result total() {
    check<UsageError>(objective_.options().allow_all_ignored || count(0, P | U | N) > 0, objective_.name(),
                      ": labels: all voxels are ignored; there is nothing to learn from");
    Stats stats(*this, 0, -1, nullptr);
    const Step s = objective_.rule_(stats);
    Result r;
    r.outcomes.push_back(objective_.outcome(s, *this, 0, false, stats.notes()));
    r.reported = s.reported.v;
    r.objective = s.objective.v;
    r.rate = s.rate;
    coefficient_.assign(s.objective.d.begin(), s.objective.d.begin() + std::ptrdiff_t(terms_.size()));
    return r;
  }

  /// A scalar with the value of the whole and the gradient of this part's share of it.
  Tensor loss(const Tensor& logits, const Labels& labels) {
    const Result r = total();
    auto sweep = std::make_shared<Sweep>(objective_.name(), logits, labels, false);
    sweep->add({});  // refuses logits that are not finite
    sweep->adopt(terms_);
    objective_.check_coefficients(*sweep, coefficient_, logits);
    return objective_.differentiable(objective_.shown(r), std::move(sweep), coefficient_, logits);
  }

 private:
  static constexpr std::array<Set, 4> classes{in_population, U, N, out_of_population};

  int find(const Term& term) override {
    for (size_t k = 0; k < terms_.size(); ++k)
      if (terms_[k].same(term)) return int(k);
    throw UsageError(text(objective_.name(), ": asked for a mean in one branch only; ask for all means first to accumulate them"));
  }
  double sum(int64_t, int place) const override { return sums_[size_t(place)]; }
  double largest_logit(int64_t, Set, bool) const override {
    throw Error(text(objective_.name(), ": all scores are below 1e-30; their logarithm is not known across parts"));
  }
  double weight(int64_t, Set set) const override { return over(weights_, set); }
  int64_t count(int64_t, Set set) const override { return over(counts_, set); }
  template <class T>
  static T over(const std::array<T, 4>& values, Set set) {
    T total = 0;
    for (size_t c = 0; c < classes.size(); ++c)
      if (set.bits & classes[c].bits) total += values[c];
    return total;
  }

  Objective objective_;
  std::vector<Term> terms_;
  std::vector<double> sums_, coefficient_;
  std::array<double, 4> weights_{};
  std::array<int64_t, 4> counts_{};
};

}  // namespace voxgrad::pu
