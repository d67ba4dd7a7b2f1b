// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What `voxgrad evaluate` writes: scores per movie, their mean and total, and every hit, miss and false alarm (docs/metrics.md).

#include <string>
#include <vector>

#include "evaluation.hpp"
#include "session.hpp"

namespace voxgrad::app {

/// Sums over movies. The mean counts every movie once, the total every event once.
struct EvaluationTotals {
  metrics::DetectionScores detection;
  metrics::SegmentationScores segmentation;
  int64_t scored = 0, segmented = 0;
  double precision = 0, recall = 0, f1 = 0, dice = 0, iou = 0;

  void add(const MovieEvaluation& movie);
  Fields total() const;  ///< over all events
  Fields mean() const;   ///< over movies
};

/// metrics.csv: a row per movie, then `mean` and `total`.
std::string metrics_csv(const std::vector<MovieEvaluation>& movies, const EvaluationTotals& totals);
/// metrics.json: the same names, undefined values absent; `settings` say how movies were compared.
std::string metrics_json(const std::vector<MovieEvaluation>& movies, const EvaluationTotals& totals, const Fields& settings);
/// matches.csv: one row per hit, miss and false alarm.
std::string matches_csv(const std::vector<MovieEvaluation>& movies);
/// The table for people.
void print_table(Session& session, const std::vector<MovieEvaluation>& movies, const EvaluationTotals& totals);

}  // namespace voxgrad::app
