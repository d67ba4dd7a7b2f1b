// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Overlap measures as objectives, from means over labelled voxels and over everything: no negative is needed. With true positives
// TP = prior <s>_P, everything called positive <s>_X, and all positives = prior. Ratios of means: give them large batches.

#include "voxgrad/pu/risk.hpp"

namespace voxgrad::pu {

struct OverlapOptions {
  double prior = 0;                           ///< share of true positives in the population, in (0, 1)
  Correction correction = Correction::abs;    ///< of the mass of false positives: abs, clamp at 0, or none, for evaluation
  Scenario scenario = Scenario::case_control;
  double eps = 1e-6;                          ///< a share of voxels too: keep it far below the prior
  Set everything() const { return scenario == Scenario::single_set ? population : U; }
};
inline void check_overlap(const char* what, const OverlapOptions& o) {
  check_open(what, "prior", o.prior);
  check<UsageError>(std::isfinite(o.eps) && o.eps >= 0, what, ": eps is ", o.eps, " (expected 0 or above)");
  check<UsageError>(o.correction == Correction::none || o.correction == Correction::clamp || o.correction == Correction::abs, what,
                    ": correction must be none, clamp or abs");
}

/// Dice: 1 - (2 TP + eps) / (prior + TP + f(d) + eps), d = <s>_X - TP the mass of false positives, which goes negative when the labelled
/// voxels are learnt by heart. Noted: mean_p, mean_x, excess. Errors: UsageError.
inline Objective pu_dice(const OverlapOptions& options, const ObjectiveOptions& how = {}) {
  check_overlap("pu_dice", options);
  return objective("pu_dice", [o = options](Stats& s) {
    const Value p = s.mean(P, score), x = s.mean(o.everything(), score), tp = o.prior * p, d = x - tp;
    const bool below = d.v < 0 && o.correction != Correction::none;
    const Value f = !below ? d : o.correction == Correction::abs ? -d : Value(0);
    s.note("mean_p", p);
    s.note("mean_x", x);
    s.note("excess", d);
    const Value loss = 1 - (2 * tp + o.eps) / (o.prior + tp + f + o.eps);
    return Step(loss, loss, below);
  }, how);
}

/// Tversky: 1 - (TP + eps) / (TP + alpha FP + beta FN + eps), FP = max(0, <s>_X - TP), FN = prior - TP. Noted: tp, fp, fn.
/// Errors: UsageError.
inline Objective pu_tversky(const OverlapOptions& options, double alpha = 0.3, double beta = 0.7, const ObjectiveOptions& how = {}) {
  check_overlap("pu_tversky", options);
  for (double v : {alpha, beta})
    check<UsageError>(std::isfinite(v) && v >= 0, "pu_tversky: alpha and beta are ", alpha, " and ", beta, " (expected 0 or above)");
  return objective("pu_tversky", [o = options, alpha, beta](Stats& s) {
    const Value tp = o.prior * s.mean(P, score), d = s.mean(o.everything(), score) - tp;
    const Value fn = o.prior - tp, fp = d.v < 0 ? Value(0) : d;
    s.note("tp", tp);
    s.note("fp", fp);
    s.note("fn", fn);
    const Value loss = 1 - (tp + o.eps) / (tp + alpha * fp + beta * fn + o.eps);
    return Step(loss, loss, d.v < 0);
  }, how);
}

}  // namespace voxgrad::pu
