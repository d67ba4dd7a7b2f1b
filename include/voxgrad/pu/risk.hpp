// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Risks of learning from positive and unlabeled voxels: the unbiased one (uPU; du Plessis, Niu, Sugiyama 2015), the non-negative one
// (nnPU; Kiryo et al. 2017, eq. 6 and algorithm 1), its relatives, and the schemes that call unlabeled voxels negative.
// With a surrogate l, and means over the labelled and the unlabeled voxels,
//   Rp+ = <l(z)>_P,  Rp- = <l(-z)>_P,  Ru- = <l(-z)>_U,  r = Ru- - prior Rp-   (r estimates the risk on negatives, and is not negative).

#include <optional>

#include "voxgrad/pu/objective.hpp"

namespace voxgrad::pu {

/// What happens when r falls below -beta (below 0 for abs and leaky), which only overfitting can do.
enum class Correction : uint8_t {
  none,   ///< nothing: the unbiased risk, which a flexible network drives to minus infinity with an unbounded surrogate
  clamp,  ///< -beta in place of r: only the positives teach
  kiryo,  ///< as published: shows -beta, and climbs back along r alone, without the positives' term
  abs,    ///< -r (Lu et al. 2020; Hammoudeh and Lowd 2020): continuous, no parameter
  leaky   ///< -leak r
};
enum class Scenario : uint8_t {
  case_control,  ///< U was drawn from everything, separately from P: its mean is over U, the prior that of everything
  single_set     ///< one sample, some of its positives labelled: the mean is over U and P, the prior that of everything
};
/// gamma makes corrected steps shorter: it scales the loss, as all public code does and Adam undoes, or (as published) the step.
enum class GammaMode : uint8_t { loss, step };

struct RiskOptions {
  double prior = 0;                    ///< share of true positives in the population, in (0, 1); there is no default
  Function surrogate = sigmoid_loss;   ///< built in or your own; an unbounded one needs a correction
  Correction correction = Correction::kiryo;
  double beta = 0, gamma = 1, leak = 1;
  std::optional<double> prior_prime = {};   ///< imbalanced nnPU (Su et al. 2021): train as if positives had this share; 0.3 to 0.5 for rare ones
  Scenario scenario = Scenario::case_control;
  GammaMode gamma_mode = GammaMode::loss;
  double positive_denominator = 0;     ///< expected weight of P and of U per batch in place of this batch's, unbiased under random crops
  double unlabeled_denominator = 0;
  std::vector<double> priors = {};     ///< with reduction volume: the prior of each volume of a batch
  double beta_deviations = 0;          ///< above 0: beta is so many standard errors of r, given how many values are independent
  double effective_positives = 0, effective_unlabeled = 0;
  // What single risks take beside these, when they are made by name.
  double eta = 0.5;                         ///< pnu: share of the unlabeled voxels' risk, 0 to 1
  double negative_share = 0;                ///< pubn: share of the population that negatives of the known kind are
  double first_stage_threshold = 0.5;       ///< pubn
  double slack = 0, spread = 1;             ///< ge_*: weight of the penalty (0: the usual one), and voxels that make one independent value
  double entropy = 0.002;                   ///< dist_pu: weight of the unlabeled scores' entropy
  Tensor propensity = {}, first_stage = {}; ///< of the batch at hand, like the logits: propensity; pubn's first-stage estimate
};

inline void check_open(const char* what, const char* name, double value) {
  check<UsageError>(value > 0 && value < 1, what, ": ", name, " is ", value, " (expected above 0 and below 1)");
}
inline void check_risk(const char* what, const RiskOptions& o) {
  if (o.priors.empty()) check_open(what, "prior", o.prior);
  for (double p : o.priors) check_open(what, "priors", p);
  if (o.prior_prime) check_open(what, "prior_prime", *o.prior_prime);
  check<UsageError>(std::isfinite(o.beta) && o.beta >= 0, what, ": beta is ", o.beta, " (expected 0 or above)");
  check<UsageError>(o.gamma >= 0 && o.gamma <= 1, what, ": gamma is ", o.gamma, " (expected 0 to 1)");
  check<UsageError>(o.leak >= 0 && o.leak <= 1, what, ": leak is ", o.leak, " (expected 0 to 1)");
  for (double d : {o.positive_denominator, o.unlabeled_denominator})
    check<UsageError>(std::isfinite(d) && d >= 0, what, ": a fixed denominator is ", d, " (expected a weight, or 0 for the batch's own)");
  check<UsageError>(o.beta_deviations == 0 || (o.beta_deviations > 0 && o.effective_positives > 0 && o.effective_unlabeled > 0), what,
                    ": beta_deviations ", o.beta_deviations, " needs effective_positives and effective_unlabeled (they are ",
                    o.effective_positives, " and ", o.effective_unlabeled, "): events and crops per batch, not voxels");
}

/// positive + scale f(r) with the correction f; the published step of kiryo descends -gamma scale r alone.
inline Step corrected(const Value& positive, const Value& r, double scale, double beta, const RiskOptions& o) {
  const bool below = o.correction == Correction::abs || o.correction == Correction::leaky ? r.v < 0 : r.v < -beta;
  if (o.correction == Correction::none || !below) return Step(positive + scale * r);
  switch (o.correction) {
    case Correction::clamp: {
      const Value shown = positive - scale * beta;
      return {shown, shown};
    }
    case Correction::abs: return {positive - scale * r, positive - scale * r};
    case Correction::leaky: return {positive - scale * o.leak * r, positive - scale * o.leak * r};
    default: break;
  }
  const bool by_step = o.gamma_mode == GammaMode::step;
  Step s(positive - scale * beta, (by_step ? 1 : o.gamma) * -scale * r);
  s.rate = by_step ? o.gamma : 1;
  return s;
}

/// The set that "everything is negative" is averaged over.
inline Set everything(const RiskOptions& o) { return o.scenario == Scenario::single_set ? population : U; }

/// The prior of the batch or volume at hand. Errors: UsageError when a volume has none.
inline double prior_of(const char* what, const Stats& s, const RiskOptions& o) {
  if (o.priors.empty()) return o.prior;
  check<UsageError>(s.volume() >= 0, what, ": priors per volume need reduction volume");
  check<UsageError>(size_t(s.volume()) < o.priors.size(), what, ": priors has ", o.priors.size(), " values, the batch has a volume ",
                    s.volume());
  return o.priors[size_t(s.volume())];
}

/// a Rp+ + b f(r): a = prior and b = 1, or with prior_prime p' a = p' and b = (1 - p') / (1 - prior).
/// Noted: Rp_pos, Rp_neg, Ru_neg, r, upu (the risk without correction), beta.
inline Objective pu_risk(const RiskOptions& options, const ObjectiveOptions& how = {}, const char* what = "pu_risk") {
  check_risk(what, options);
  const auto squared = [](const Function& f) {
    return Function([f](const Dual& z) {
      const Dual v = evaluate(f, z.v);
      return Dual(v.v * v.v);
    });
  };
  const Function square = squared(neg(options.surrogate));
  return objective(what, [o = options, square, what](Stats& s) {
    const double prior = prior_of(what, s, o);
    const Value rp_pos = s.mean(P, o.surrogate, o.positive_denominator), rp_neg = s.mean(P, neg(o.surrogate), o.positive_denominator);
    const Value ru_neg = s.mean(everything(o), neg(o.surrogate), o.unlabeled_denominator);
    const Value r = ru_neg - prior * rp_neg;
    const double a = o.prior_prime.value_or(prior), b = o.prior_prime ? (1 - *o.prior_prime) / (1 - prior) : 1;
    double beta = o.beta;
    if (o.beta_deviations > 0) {
      const double var_u = s.mean(everything(o), square).v - ru_neg.v * ru_neg.v, var_p = s.mean(P, square).v - rp_neg.v * rp_neg.v;
      beta = o.beta_deviations *
             std::sqrt(std::max(0.0, var_u) / o.effective_unlabeled + prior * prior * std::max(0.0, var_p) / o.effective_positives);
    }
    s.note("Rp_pos", rp_pos);
    s.note("Rp_neg", rp_neg);
    s.note("Ru_neg", ru_neg);
    s.note("r", r);
    s.note("upu", a * rp_pos + b * r);
    s.note("beta", beta);
    return corrected(a * rp_pos, r, b, beta, o);
  }, how);
}

/// Unbiased: prior Rp+ + r. May be negative.
inline Objective upu(RiskOptions o, const ObjectiveOptions& how = {}) {
  o.correction = Correction::none;
  return pu_risk(o, how, "upu");
}
/// Non-negative, as published.
inline Objective nnpu(RiskOptions o, const ObjectiveOptions& how = {}) {
  o.correction = Correction::kiryo;
  return pu_risk(o, how, "nnpu");
}
/// Non-negative, as if positives had the share prior_prime (default 1/2).
inline Objective imbalanced_nnpu(RiskOptions o, const ObjectiveOptions& how = {}) {
  o.correction = Correction::kiryo;
  if (!o.prior_prime) o.prior_prime = 0.5;
  return pu_risk(o, how, "imbalanced_nnpu");
}
/// |r| in place of r.
inline Objective abs_pu(RiskOptions o, const ObjectiveOptions& how = {}) {
  o.correction = Correction::abs;
  return pu_risk(o, how, "abs_pu");
}

/// Ordinary risk with known negatives (label 2): prior <l(z)>_P + (1 - prior) <l(-z)>_N. Noted: Rp_pos, Rn_neg.
inline Objective pn(const RiskOptions& options, const ObjectiveOptions& how = {}) {
  check_risk("pn", options);
  return objective("pn", [o = options](Stats& s) {
    const double prior = prior_of("pn", s, o);
    const Value rp_pos = s.mean(P, o.surrogate, o.positive_denominator), rn_neg = s.mean(N, neg(o.surrogate));
    s.note("Rp_pos", rp_pos);
    s.note("Rn_neg", rn_neg);
    return Step(prior * rp_pos + (1 - prior) * rn_neg);
  }, how);
}

/// The published scheme: unlabeled voxels are called negative and every voxel counts the same, (sum_P l(z) + sum_U l(-z)) / weight.
/// Biased: a minimiser gives P(labelled | x) = c P(positive | x), with the share c of the batch's positives that are labelled, so its
/// threshold moves with the mixture of crops. Brier is the squared error of the sigmoid, logistic the binary cross-entropy.
inline Objective naive(const Function& surrogate = brier_loss, const ObjectiveOptions& how = {}) {
  return objective("naive", [surrogate](Stats& s) {
    const Value positive = s.sum(P, surrogate), unlabeled = s.sum(U, neg(surrogate));
    const double w = s.weight(P | U);
    s.note("positive_sum", positive);
    s.note("unlabeled_sum", unlabeled);
    return Step(w > 0 ? (positive + unlabeled) * (1 / w) : Value(0));
  }, how);
}

/// Unlabeled voxels are called negative, either class weighs as given: share <l(z)>_P + (1 - share) <l(-z)>_U.
/// Errors: UsageError for a share outside (0, 1).
inline Objective naive_balanced(double share = 0.5, const Function& surrogate = brier_loss, const ObjectiveOptions& how = {}) {
  check_open("naive_balanced", "share", share);
  return objective("naive_balanced", [share, surrogate](Stats& s) {
    const Value rp_pos = s.mean(P, surrogate), ru_neg = s.mean(U, neg(surrogate));
    s.note("Rp_pos", rp_pos);
    s.note("Ru_neg", ru_neg);
    return Step(share * rp_pos + (1 - share) * ru_neg);
  }, how);
}

/// a + weight b: a term such as ge_kl beside any risk. Both keep their own branches and notes.
inline Objective plus(const Objective& a, const Objective& b, double weight) {
  return objective(a.name() + "+" + b.name(), [ra = a.rule(), rb = b.rule(), weight](Stats& s) {
    const Step x = ra(s), y = rb(s);
    Step sum(x.reported + weight * y.reported, x.objective + weight * y.objective, x.corrected || y.corrected);
    sum.rate = x.rate;
    return sum;
  }, a.options());
}

}  // namespace voxgrad::pu
