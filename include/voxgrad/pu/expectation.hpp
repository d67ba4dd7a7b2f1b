// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Objectives that fit the mean score to the prior: Dist-PU (Zhao et al. 2022) and generalised expectation (Bepler et al. 2019).

#include "voxgrad/pu/risk.hpp"

namespace voxgrad::pu {

/// 2 prior |<s>_P - 1| + |<s>_U - prior| + mu <H(s)>_U with s = sigmoid(z) and the entropy H. Two means alone are satisfied by a constant
/// score: use the entropy (published: 0.002 at first, then ramped) and mixup (mixup.hpp) with it. Noted: mean_p, mean_u, entropy_u, mu.
/// Errors: UsageError for a prior outside (0, 1) or mu below 0.
inline Objective dist_pu(double prior, double mu = 0.002, const ObjectiveOptions& how = {}) {
  check_open("dist_pu", "prior", prior);
  check<UsageError>(std::isfinite(mu) && mu >= 0, "dist_pu: mu is ", mu, " (expected 0 or above)");
  return objective("dist_pu", [prior, mu](Stats& s) {
    const Value p = s.mean(P, score), u = s.mean(U, score), h = s.mean(U, entropy);
    s.note("mean_p", p);
    s.note("mean_u", u);
    s.note("entropy_u", h);
    s.note("mu", mu);
    return Step(2 * prior * abs(p - 1) + abs(u - prior) + mu * h);
  }, how);
}

/// <softplus(-z)>_P + slack KL(prior_u || <s>_U). U holds no labelled voxels: prior_u = (prior - alpha) / (1 - alpha) where a share alpha
/// of all voxels is labelled. Cheap, and strong when the prior is exact; plus() adds it to another risk. Noted: classifier, penalty,
/// mean_u. Errors: UsageError for a prior outside (0, 1) or a slack below 0.
inline Objective ge_kl(double prior_u, double slack = 10, const ObjectiveOptions& how = {}) {
  check_open("ge_kl", "prior_u", prior_u);
  check<UsageError>(std::isfinite(slack) && slack >= 0, "ge_kl: slack is ", slack, " (expected 0 or above)");
  return objective("ge_kl", [q = prior_u, slack](Stats& s) {
    const Value classifier = s.mean(P, logistic_loss), yes = s.log_mean_score(U), no = s.log_mean_score(U, true);
    const Value penalty = s.weight(U) > 0 ? q * (std::log(q) - yes) + (1 - q) * (std::log(1 - q) - no) : Value(0);
    s.note("classifier", classifier);
    s.note("penalty", penalty);
    s.note("mean_u", exp(yes));
    return Step(classifier + slack * penalty);
  }, how);
}

/// classifier + slack penalty for a model of the number of positives with mean mu and variance var, all noted.
inline Step penalised(Stats& s, const Value& classifier, double slack, const Value& penalty, const Value& mu, const Value& var) {
  s.note("classifier", classifier);
  s.note("penalty", penalty);
  s.note("mu", mu);
  s.note("var", var);
  return Step(classifier + slack * penalty);
}

/// <softplus(-z)>_P + slack times the cross-entropy of the number of positives in U, m = sum s with variance v = sum s (1 - s), against a
/// binomial of n voxels and prior_u, as Gaussians: ((m - n prior_u)^2 + v) / (2 S) + log(2 pi S) / 2, S = spread n prior_u (1 - prior_u).
/// spread >= 1 because voxels are copies of each other: voxels per event is a fair value, 1 the published model. per_voxel divides the
/// penalty by n. Noted: classifier, penalty, mu, var. Errors: UsageError for values outside these ranges.
inline Objective ge_gaussian(double prior_u, double slack = 1, double spread = 1, bool per_voxel = false,
                             const ObjectiveOptions& how = {}) {
  check_open("ge_gaussian", "prior_u", prior_u);
  check<UsageError>(std::isfinite(slack) && slack >= 0, "ge_gaussian: slack is ", slack, " (expected 0 or above)");
  check<UsageError>(std::isfinite(spread) && spread >= 1, "ge_gaussian: spread is ", spread, " (expected 1 or above)");
  return objective("ge_gaussian", [=](Stats& s) {
    const Value classifier = s.mean(P, logistic_loss), m = s.sum(U, score), v = s.sum(U, score_variance);
    const double n = s.weight(U), width = spread * n * prior_u * (1 - prior_u);
    Value penalty = 0;
    if (n > 0) {
      const Value miss = m - n * prior_u;
      penalty = (miss * miss + v) * (1 / (2 * width)) + 0.5 * std::log(6.283185307179586 * width);
      if (per_voxel) penalty = penalty * (1 / n);
    }
    return penalised(s, classifier, slack, penalty, m, v);
  }, how);
}

/// The published discrete form for at most 4096 unlabeled voxels of weight 1: minus the mean of log Bin(k; n, prior_u) under
/// q_k ~ exp(-(m - k)^2 / (2 v)). Noted as ge_gaussian. Errors: UsageError beyond these limits.
inline Objective ge_binomial(double prior_u, double slack = 1, const ObjectiveOptions& how = {}) {
  check_open("ge_binomial", "prior_u", prior_u);
  check<UsageError>(std::isfinite(slack) && slack >= 0, "ge_binomial: slack is ", slack, " (expected 0 or above)");
  return objective("ge_binomial", [prior_u, slack](Stats& s) {
    const Value classifier = s.mean(P, logistic_loss), m = s.sum(U, score), v = s.sum(U, score_variance);
    const int64_t n = s.count(U);
    check<UsageError>(n <= 4096 && s.weight(U) == double(n), "ge_binomial: takes at most 4096 unlabeled voxels of weight 1, got ", n,
                      " of weight ", s.weight(U), "; use ge_gaussian");
    const Value sharpness = Value(0.5) / (v + 1e-10);
    const double nearest = std::max(0.0, std::min(double(n), std::round(m.v)));
    double log_bin = double(n) * std::log1p(-prior_u);
    const Value top = (m - nearest) * (m - nearest) * sharpness;  // the largest weight: others relative to it
    Value sum = 0, weighted = 0;
    for (int64_t k = 0; k <= n; ++k) {
      const Value miss = m - double(k), q = exp(top - miss * miss * sharpness);
      sum += q;
      weighted += q * log_bin;
      if (k < n) log_bin += std::log(double(n - k)) - std::log(double(k + 1)) + std::log(prior_u) - std::log1p(-prior_u);
    }
    const Value penalty = n > 0 ? -weighted / sum : Value(0);
    return penalised(s, classifier, slack, penalty, m, v);
  }, how);
}

}  // namespace voxgrad::pu
