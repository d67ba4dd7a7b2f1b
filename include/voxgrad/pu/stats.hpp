// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What a risk is written with: means of functions over sets of voxels, and the step that they lead to.

#include <string>
#include <utility>
#include <vector>

#include "voxgrad/pu/labels.hpp"
#include "voxgrad/pu/running.hpp"
#include "voxgrad/pu/surrogate.hpp"

namespace voxgrad::pu {

/// A sum over voxels: of weight * factor * f(z) on a set.
struct Term {
  Set set;
  Function f;
  Tensor factor;  ///< one number per voxel, or undefined
  bool same(const Term& o) const {
    return set == o.set && f.same(o.f) && factor.defined() == o.factor.defined() && (!factor.defined() || factor.is(o.factor));
  }
};

/// What a rule returns: the number to show, and the number to descend, which differ in the corrected branch of nnPU.
struct Step {
  Value reported, objective;
  bool corrected = false;  ///< the rule took its correcting branch
  double rate = 1;         ///< factor on the learning rate of this step

  Step(const Value& both) : reported(both), objective(both) {}  // NOLINT: an ordinary loss is a step
  Step(const Value& report, const Value& descend, bool correction = true)
      : reported(report), objective(descend), corrected(correction) {}
};
/// Shows `report` and descends along the gradient of `descend`.
inline Step step(const Value& report, const Value& descend) { return {report, descend}; }
inline Step step(const Value& both) { return {both}; }

/// One number of a risk, for plots.
struct Noted {
  std::string name;
  double value;
};

/// The sums behind the means that a rule asks for. `unit` is a volume, or 0 for a whole batch.
class SumSource {
 public:
  virtual ~SumSource() = default;
  /// Place of a term's sum; it is computed now if no sweep has had it.
  virtual int find(const Term& term) = 0;
  virtual double sum(int64_t unit, int place) const = 0;
  /// Of z, or of -z when negated.
  virtual double largest_logit(int64_t unit, Set set, bool negated) const = 0;
  virtual double weight(int64_t unit, Set set) const = 0;
  virtual int64_t count(int64_t unit, Set set) const = 0;
};

/// What a rule sees of a batch, or of one volume of it. Means carry their derivatives along.
class Stats {
 public:
  Stats(SumSource& source, int64_t unit, int64_t volume, std::vector<Term>* asked, RunningMeans* running = nullptr)
      : source_(&source), unit_(unit), volume_(volume), asked_(asked), running_(running) {}

  /// Weighted mean of f over a set; 0, without gradient, when the set has no weight. A denominator above 0 replaces the set's weight.
  /// With running means the value is theirs, the gradient the batch's.
  Value mean(Set set, const Function& f, double denominator = 0) {
    const double w = denominator > 0 ? denominator : weight(set);
    const Value total = sum(set, f);
    Value m = w > 0 ? total * (1 / w) : Value(0);
    if (running_ && !asked_) m.v = running_->seen(source_->find({set, f, {}}), m.v, w > 0, (P | set) == P);
    return m;
  }
  /// Sum over a set of weight * f, or of weight * factor * f with one factor per voxel (a tensor of the logits' shape and dtype).
  Value sum(Set set, const Function& f, const Tensor& factor = {}) {
    Term term{set, f, factor};
    if (asked_) {  // a first run, to learn what the rule wants: any number will do
      asked_->push_back(std::move(term));
      return Value(0.5 * weight(set));
    }
    if (!(weight(set) > 0)) return Value(0);
    const int place = source_->find(term);
    return Value::variable(source_->sum(unit_, place), place);
  }
  /// log of the mean of sigmoid(z), or of sigmoid(-z), also where every score is below the smallest float. 0 on an empty set.
  Value log_mean_score(Set set, bool negated = false) {
    const Value m = mean(set, negated ? neg(score) : score);
    if (asked_ || m.v > 1e-30 || !(weight(set) > 0)) return log(m.v > 0 ? m : Value(1));
    const double shift = -softplus(Dual(-source_->largest_logit(unit_, set, negated))).v;
    const Function shifted(kernels::SetFunction::shifted_score, shift);
    return log(mean(set, negated ? neg(shifted) : shifted)) + shift;
  }

  double weight(Set set) const { return source_->weight(unit_, set); }
  int64_t count(Set set) const { return source_->count(unit_, set); }
  /// Index of the volume, or -1 when the whole batch is one.
  int64_t volume() const { return volume_; }

  /// Keeps a number under a name in the result.
  void note(std::string name, const Value& value) {
    if (!asked_) notes_.push_back({std::move(name), value.v});
  }
  const std::vector<Noted>& notes() const { return notes_; }
  /// True in the first run, whose numbers are made up.
  bool dry() const { return asked_ != nullptr; }

 private:
  SumSource* source_;
  int64_t unit_, volume_;
  std::vector<Term>* asked_;
  RunningMeans* running_;
  std::vector<Noted> notes_;
};

}  // namespace voxgrad::pu
