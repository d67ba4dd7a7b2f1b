// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Objective: any function of weighted means over sets of voxels, with its gradient. One sweep adds up all sums, the rule combines
// them as a handful of numbers, and a second sweep writes the gradient: no risk needs memory of the size of a volume.

#include <algorithm>
#include <cmath>
#include <functional>

#include "voxgrad/autograd/gradcheck.hpp"
#include "voxgrad/pu/sweep.hpp"

namespace voxgrad::pu {

enum class Reduction : uint8_t {
  batch,  ///< sums over all voxels of all volumes, one branch: for rare positives
  volume  ///< the rule for each volume, then the mean: for priors that differ by movie
};
enum class Shown : uint8_t { reported, objective };  ///< which number the loss tensor holds; its gradient is the objective's

struct ObjectiveOptions {
  Reduction reduction = Reduction::batch;
  bool skip_without_positive = false;  ///< volume: leave volumes without a labelled voxel out of the mean
  bool allow_all_ignored = false;      ///< a batch (or volume) without any voxel is 0 without gradient, not an error
  Shown shown = Shown::reported;
};

/// The outcome of a rule on a batch or a volume.
struct Outcome {
  int64_t volume = -1;
  double reported = 0, objective = 0, rate = 1;
  bool corrected = false;
  int64_t positives = 0, unlabeled = 0, negatives = 0;
  std::vector<Noted> notes;

  /// A noted number. Errors: Error for a name that was not noted.
  double operator[](const std::string& name) const {
    for (const Noted& n : notes)
      if (n.name == name) return n.value;
    throw Error(text("outcome: no number '", name, "' was noted"));
  }
};

struct Result {
  Tensor loss;  ///< scalar; backward() descends the objective
  double reported = 0, objective = 0, rate = 1;
  std::vector<Outcome> outcomes;  ///< one, or one per volume

  bool corrected() const {
    return std::any_of(outcomes.begin(), outcomes.end(), [](const Outcome& o) { return o.corrected; });
  }
  double operator[](const std::string& name) const { return outcomes.front()[name]; }
};

/// What an objective does with the means: the whole of a risk. It runs twice per batch, the first time with made-up numbers to learn
/// which means it wants, so that one sweep can add them all up: it must have no side effects.
using Rule = std::function<Step(Stats&)>;

class Objective {
 public:
  Objective(std::string name, Rule rule, const ObjectiveOptions& options = {})
      : name_(std::move(name)), rule_(std::move(rule)), options_(options) {}

  /// The objective of a batch. logits: any shape, f32 or f64, the labels' shape. Errors: ShapeError; UsageError when all voxels are
  /// ignored (unless allowed); Error names the first logit, or the number of the risk, that is not finite. running: means over
  /// earlier batches, which this one joins.
  Result operator()(const Tensor& logits, const Labels& labels, RunningMeans* running = nullptr) const {
    const bool by_volume = options_.reduction == Reduction::volume;
    auto sweep = std::make_shared<Sweep>(name_, logits, labels, by_volume);
    std::vector<int64_t> used;
    for (int64_t u = 0; u < sweep->units(); ++u) {
      check_used(*sweep, u, by_volume);
      if (!by_volume || !options_.skip_without_positive || sweep->count(u, P) > 0) used.push_back(u);
    }
    if (!used.empty()) sweep->add(wanted(*sweep, by_volume));
    else sweep->add({});
    Result result;
    std::vector<std::pair<int64_t, Step>> steps;
    for (int64_t u : used) {
      if (running) running->begin();
      Stats stats(*sweep, u, by_volume ? u : -1, nullptr, running);
      steps.emplace_back(u, rule_(stats));
      result.outcomes.push_back(outcome(steps.back().second, *sweep, u, by_volume, stats.notes()));
    }
    const size_t terms = sweep->terms().size();
    std::vector<double> coefficient(size_t(sweep->units()) * terms, 0.0);
    for (const auto& [u, s] : steps) {
      const double share = (by_volume ? s.rate : 1) / double(steps.size());
      result.reported += s.reported.v / double(steps.size());
      result.objective += s.objective.v * share;
      result.rate = by_volume ? 1 : s.rate;
      for (size_t k = 0; k < terms; ++k) coefficient[size_t(u) * terms + k] = s.objective.d[k] * share;
    }
    check_coefficients(*sweep, coefficient, logits);
    result.loss = differentiable(shown(result), std::move(sweep), std::move(coefficient), logits);
    return result;
  }

  const std::string& name() const { return name_; }
  const ObjectiveOptions& options() const { return options_; }
  /// The same rule with other options.
  Objective with(const ObjectiveOptions& options) const { return {name_, rule_, options}; }
  const Rule& rule() const { return rule_; }

 private:
  friend class Accumulation;

  void check_used(const Sweep& sweep, int64_t u, bool by_volume) const {
    if (options_.allow_all_ignored || sweep.count(u, P | U | N) > 0) return;
    throw UsageError(by_volume ? text(name_, ": labels: all voxels of volume ", u, " are ignored; leave it out or label it")
                               : text(name_, ": labels: all voxels are ignored; there is nothing to learn from"));
  }

  std::vector<Term> wanted(SumSource& source, bool by_volume) const {
    std::vector<Term> asked;
    Stats dry(source, 0, by_volume ? 0 : -1, &asked);
    rule_(dry);
    return asked;
  }

  Outcome outcome(const Step& s, const SumSource& source, int64_t u, bool by_volume, const std::vector<Noted>& notes) const {
    Outcome o{by_volume ? u : -1, s.reported.v, s.objective.v, s.rate, s.corrected, source.count(u, P), source.count(u, U),
              source.count(u, N), notes};
    check(std::isfinite(o.reported) && std::isfinite(o.objective), name_, ": the risk is ", o.reported, ", its objective ", o.objective,
          by_volume ? text(" in volume ", u) : std::string(), " (", o.positives, " positive, ", o.unlabeled, " unlabeled voxels)");
    return o;
  }

  double shown(const Result& r) const { return options_.shown == Shown::objective ? r.objective : r.reported; }

  void check_coefficients(const Sweep& sweep, const std::vector<double>& coefficient, const Tensor& logits) const {
    const size_t terms = sweep.terms().size();
    for (size_t i = 0; i < coefficient.size(); ++i) {
      check(std::isfinite(coefficient[i]), name_, ": a derivative of the risk is ", coefficient[i]);
      const Function& f = sweep.terms()[i % terms].f;
      check<UsageError>(!recording({&logits, 1}) || coefficient[i] == 0 || !f.built_in() || f.kind() != kernels::SetFunction::zero_one,
                        name_, ": surrogate: zero_one has no gradient; it measures, and sigmoid or ramp are its trainable forms");
    }
  }

  Tensor differentiable(double value, std::shared_ptr<Sweep> sweep, std::vector<double> coefficient, const Tensor& logits) const {
    sweep->let_go();
    return record("pu_objective", Tensor::scalar(value, logits.dtype()), {logits},
                  [sweep = std::move(sweep), coefficient = std::move(coefficient), z = Saved(logits)](const Tensor& dy, Grads& grads) {
                    std::vector<double> scaled = coefficient;
                    for (double& c : scaled) c *= dy.item();
                    grads.set(0, sweep->gradient(z.get("pu_objective"), scaled));
                  });
  }

  std::string name_;
  Rule rule_;
  ObjectiveOptions options_;
};

/// An objective from a rule: objective("mine", [](Stats& s) { return s.mean(P, logistic_loss) + ...; }).
inline Objective objective(std::string name, Rule rule, const ObjectiveOptions& options = {}) {
  return {std::move(name), std::move(rule), options};
}

/// Compares an objective's gradient with difference quotients, on drawn logits and labels: once with positives that look like the
/// rest, once with positives far above it, where corrected risks take their other branch. Errors: none; the result says what differs.
inline GradcheckResult check_gradient(const Objective& objective, const GradcheckOptions& options = {}) {
  ObjectiveOptions shown = objective.options();
  shown.shown = Shown::objective;
  const Objective checked = objective.with(shown);
  Random random(options.seed, 0x7075);
  const Shape shape{3, 2, 3, 4, 1};
  std::vector<uint8_t> codes(size_t(shape.size()));
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = i % 5 == 0 ? 1 : i % 7 == 0 ? 255 : i % 11 == 0 ? 2 : 0;
  const Labels labels(codes, shape);
  GradcheckResult worst;
  for (double gap : {0.0, 3.0}) {
    Tensor z = random_normal(shape, random, DType::f64);
    for (size_t i = 0; i < codes.size(); ++i) z.mutable_span<double>()[i] += codes[i] == 1 ? gap : -gap;
    const GradcheckResult r = gradcheck([&](const std::vector<Tensor>& x) { return checked(x[0], labels).loss; }, {z}, options);
    if (!(r.worst <= worst.worst)) worst.worst = r.worst;
    if (!r.ok && worst.ok) {
      worst.ok = false;
      worst.message = r.message;
    }
  }
  return worst;
}

}  // namespace voxgrad::pu
