// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Risks that use more than positive and unlabeled: checked negatives (PNU; Sakai et al. 2017), negatives of one kind (PUbN; Hsieh et
// al. 2019), and labels that depend on the voxel (propensities; Bekker, Robberechts, Davis 2019).

#include "voxgrad/pu/risk.hpp"

namespace voxgrad::pu {

/// prior Rp+ + f((1 - eta) (1 - prior) <l(-z)>_N + eta (Ru- - prior Rp-)): eta 0 is the ordinary risk, 1 the unlabeled one. For data
/// where some crops were checked and found empty. Noted: Rp_pos, Rp_neg, Ru_neg, Rn_neg, neg (what f is taken of).
/// Errors: UsageError for eta outside 0 to 1.
inline Objective pnu(const RiskOptions& options, double eta, const ObjectiveOptions& how = {}) {
  check_risk("pnu", options);
  check<UsageError>(eta >= 0 && eta <= 1, "pnu: eta is ", eta, " (expected 0 to 1)");
  return objective("pnu", [o = options, eta](Stats& s) {
    const double prior = prior_of("pnu", s, o);
    const Value rp_pos = s.mean(P, o.surrogate), rp_neg = s.mean(P, neg(o.surrogate));
    const Value ru_neg = s.mean(everything(o), neg(o.surrogate)), rn_neg = s.mean(N, neg(o.surrogate));
    const Value negative = (1 - eta) * (1 - prior) * rn_neg + eta * (ru_neg - prior * rp_neg);
    s.note("Rp_pos", rp_pos);
    s.note("Rp_neg", rp_neg);
    s.note("Ru_neg", ru_neg);
    s.note("Rn_neg", rn_neg);
    s.note("neg", negative);
    return corrected(prior * rp_pos, negative, 1, o.beta, o);
  }, how);
}

/// A tensor of g(x) for every x, in double inside.
template <class G>
Tensor each(const Tensor& x, G&& g) {
  Tensor y = x.clone();
  visit(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    for (T& v : y.mutable_span<T>()) v = T(g(double(v)));
  });
  return y;
}

/// Every value of a tensor is in [low, high]. Errors: UsageError names the first that is not.
inline void check_range(const char* what, const char* name, const Tensor& x, double low, double high) {
  visit(x.dtype(), [&](auto zero) {
    const auto v = x.span<decltype(zero)>();
    for (size_t i = 0; i < v.size(); ++i)
      check<UsageError>(double(v[i]) >= low && double(v[i]) <= high, what, ": ", name, " is ", v[i], " at voxel ", i, " (expected ", low,
                        " to ", high, ")");
  });
}

/// Positives, unlabeled voxels, and negatives (label 2) of one kind, such as marked artefacts, that are the share `negative_share` of
/// the population. q: first-stage estimate of P(positive or such a negative | x), like the logits; where q > threshold the labelled
/// voxels stand for the unlabeled ones. All weights are positive, so nothing needs correcting. Noted: p_term, bn_term, u_term.
/// q belongs to a batch: make the objective anew for each. Errors: UsageError for shares outside (0, 1) or q outside 0 to 1.
inline Objective pubn(const RiskOptions& options, double negative_share, const Tensor& q, double threshold,
                      const ObjectiveOptions& how = {}) {
  check_risk("pubn", options);
  check_open("pubn", "negative_share", negative_share);
  check<UsageError>(threshold > 0 && threshold < 1, "pubn: threshold is ", threshold, " (expected above 0 and below 1)");
  check_range("pubn", "q", q, 0, 1);
  const Tensor labelled = each(q, [threshold](double v) { return v > threshold ? (1 - v) / v : 0; });
  const Tensor unlabeled = each(q, [threshold](double v) { return v > threshold ? 0 : 1 - v; });
  return objective("pubn", [o = options, negative_share, labelled, unlabeled](Stats& s) {
    const Function cost = o.surrogate, against = neg(o.surrogate);
    const auto over = [&](const Value& sum, Set set) { return s.weight(set) > 0 ? sum * (1 / s.weight(set)) : Value(0); };
    const Value p = s.mean(P, cost) + over(s.sum(P, against, labelled), P);
    const Value n = s.mean(N, against) + over(s.sum(N, against, labelled), N);
    const Value u = over(s.sum(U, against, unlabeled), U);  // over all of U, also what the factor leaves out
    s.note("p_term", p);
    s.note("bn_term", n);
    s.note("u_term", u);
    return Step(prior_of("pubn", s, o) * p + negative_share * n + u);
  }, how);
}

/// Single set in which a positive voxel was labelled with its own probability e (its propensity), like the logits, read at labelled
/// voxels only and cut at `floor`: sum_P l(z)/e + f(sum_U l(-z) + sum_P (1 - 1/e) l(-z)), over the weight of P and U. A constant e = c
/// is pu_risk with single_set and prior alpha/c. Noted: pos, r. The prior of the options is not used. e belongs to a batch.
/// Errors: UsageError for propensities outside 0 to 1 or a floor outside (0, 1).
inline Objective propensity_risk(const Tensor& propensity, RiskOptions options, double floor = 0.05, const ObjectiveOptions& how = {}) {
  options.prior = options.priors.empty() && options.prior == 0 ? 0.5 : options.prior;
  check_risk("propensity_risk", options);
  check_open("propensity_risk", "floor", floor);
  check_range("propensity_risk", "propensity", propensity, 0, 1);
  const Tensor up = each(propensity, [floor](double e) { return 1 / std::max(e, floor); });
  const Tensor away = each(propensity, [floor](double e) { return 1 - 1 / std::max(e, floor); });
  return objective("propensity_risk", [o = options, up, away](Stats& s) {
    const double w = s.weight(population), scale = w > 0 ? 1 / w : 0;
    const Value positive = s.sum(in_population, o.surrogate, up) * scale;
    const Value r = (s.sum(U, neg(o.surrogate)) + s.sum(in_population, neg(o.surrogate), away)) * scale;
    s.note("pos", positive);
    s.note("r", r);
    return corrected(positive, r, 1, o.beta, o);
  }, how);
}

/// How many equally weighted positives the weights 1/e are worth: (sum 1/e)^2 / sum 1/e^2; 0 without a positive.
inline double effective_positives(const Tensor& propensity, const Labels& labels, double floor = 0.05) {
  double sum = 0, square = 0;
  visit(propensity.dtype(), [&](auto zero) {
    const auto e = propensity.span<decltype(zero)>();
    for (size_t i = 0; i < e.size(); ++i)
      if (labels.has(int64_t(i), P)) {
        const double w = 1 / std::max(double(e[i]), floor);
        sum += w;
        square += w * w;
      }
  });
  return square > 0 ? sum * sum / square : 0;
}

}  // namespace voxgrad::pu
