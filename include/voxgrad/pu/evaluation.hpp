// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Measures and thresholds without negatives: from the share of held-out labelled voxels at or above a threshold (recall) and the share
// of everything there (rate). They hold if the labelled positives are a fair sample of all positives.

#include "voxgrad/pu/risk.hpp"
#include "voxgrad/pu/scores.hpp"

namespace voxgrad::pu {

struct PuMeasures {
  double threshold = 0;
  double recall = 0, rate = 0;
  double precision_raw = 0;   ///< prior recall / rate: above 1 the prior is too high
  double precision = 0;       ///< the same, at most 1; 0 where nothing is called positive
  double f1 = 0;              ///< 2 prior recall / (prior + rate), not from the clipped precision
  double lee_liu = 0;         ///< recall^2 / rate = precision recall / prior: needs no prior, ranks models and thresholds
  double iou = 0, fpr = 0;
  double zero_one = 0;        ///< 2 prior (1 - recall) + rate - prior: may be negative by chance
  double proxy_accuracy = 0;  ///< 1 + prior - zero_one: chooses between models
};

/// Errors: UsageError for a prior outside (0, 1).
inline PuMeasures pu_measures(double threshold, double recall, double rate, double prior) {
  check_open("pu_measures", "prior", prior);
  PuMeasures m;
  m.threshold = threshold;
  m.recall = recall;
  m.rate = rate;
  m.precision_raw = rate > 0 ? prior * recall / rate : 0;
  m.precision = std::min(1.0, m.precision_raw);
  m.f1 = 2 * prior * recall / (prior + rate);
  m.lee_liu = rate > 0 ? recall * recall / rate : 0;
  m.iou = prior * recall / (prior + rate - prior * recall);
  m.fpr = std::max(0.0, (rate - prior * recall) / (1 - prior));
  m.zero_one = 2 * prior * (1 - recall) + rate - prior;
  m.proxy_accuracy = 1 + prior - m.zero_one;
  return m;
}

/// Measures at every distinct score, thresholds falling. scenario: what everything is, U alone or U and P. Errors: UsageError.
inline std::vector<PuMeasures> pu_curve(const ScoreTable& t, double prior, Scenario scenario) {
  check_scores("pu_curve", t);
  const bool both = scenario == Scenario::single_set;
  std::vector<PuMeasures> curve;
  double p = 0, u = 0;
  for (const ScoreRow& r : t.rows) {
    p += r.positive;
    u += r.unlabeled;
    curve.push_back(pu_measures(r.threshold, p / t.positive, (u + (both ? p : 0)) / (t.unlabeled + (both ? t.positive : 0)), prior));
  }
  return curve;
}

/// The highest of the best thresholds of a curve. max_f1 needs the prior, max_lee_liu does not; quantile is the lowest threshold that
/// calls no more than the prior positive, the answer to labels that are no fair sample (nothing when even the highest calls more).
inline PuMeasures max_f1(const std::vector<PuMeasures>& curve) {
  check<UsageError>(!curve.empty(), "max_f1: the curve is empty");
  return *std::max_element(curve.begin(), curve.end(), [](const PuMeasures& a, const PuMeasures& b) { return a.f1 < b.f1; });
}
inline PuMeasures max_lee_liu(const std::vector<PuMeasures>& curve) {
  check<UsageError>(!curve.empty(), "max_lee_liu: the curve is empty");
  return *std::max_element(curve.begin(), curve.end(), [](const PuMeasures& a, const PuMeasures& b) { return a.lee_liu < b.lee_liu; });
}
inline std::optional<PuMeasures> quantile_threshold(const std::vector<PuMeasures>& curve, double prior) {
  check_open("quantile_threshold", "prior", prior);
  std::optional<PuMeasures> last;
  for (const PuMeasures& m : curve)
    if (m.rate <= prior) last = m;
  return last;
}

struct PuRanking {
  double auc_pu;             ///< of P against everything, ties one half: the area under the lift curve, needs no prior
  double auc;                ///< (auc_pu - prior / 2) / (1 - prior): of positives against negatives
  double average_precision;  ///< sum over falling thresholds of the gain in recall times the clipped precision
};
/// Errors: UsageError.
inline PuRanking pu_ranking(const ScoreTable& t, double prior, Scenario scenario) {
  PuRanking r{0, 0, 0};
  const bool both = scenario == Scenario::single_set;
  double below = t.unlabeled + (both ? t.positive : 0), recall = 0;
  const double everything = below;
  const std::vector<PuMeasures> curve = pu_curve(t, prior, scenario);
  for (size_t i = 0; i < t.rows.size(); ++i) {
    const double here = t.rows[i].unlabeled + (both ? t.rows[i].positive : 0);
    below -= here;
    r.auc_pu += t.rows[i].positive * (below + 0.5 * here);
    r.average_precision += (curve[i].recall - recall) * curve[i].precision;
    recall = curve[i].recall;
  }
  r.auc_pu /= t.positive * everything;
  r.auc = (r.auc_pu - prior / 2) / (1 - prior);
  return r;
}

/// Share of predicted components that are events, estimated: true events expected, times the share of annotated ones that were found, over
/// the components predicted. Clipped to [0, 1]. Errors: UsageError for negative numbers.
inline double event_precision(double true_events, double event_recall, double predicted) {
  check<UsageError>(true_events >= 0 && event_recall >= 0 && event_recall <= 1 && predicted >= 0, "event_precision: true_events ", true_events,
                    ", event_recall ", event_recall, ", predicted ", predicted, " (expected 0 or above, a share, 0 or above)");
  return predicted > 0 ? std::min(1.0, true_events * event_recall / predicted) : 0;
}

/// P(positive | x) under `prior` from the probability of a network trained as if it were `trained_prior` (imbalanced nnPU).
inline double corrected_probability(double probability, double trained_prior, double prior) {
  check_open("corrected_probability", "trained_prior", trained_prior);
  check_open("corrected_probability", "prior", prior);
  const double yes = probability * prior * (1 - trained_prior), no = (1 - probability) * (1 - prior) * trained_prior;
  return yes + no > 0 ? yes / (yes + no) : 0;
}

}  // namespace voxgrad::pu
