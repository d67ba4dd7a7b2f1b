// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Thresholds and measures from labelled and unlabeled voxels, and signs that something is wrong with them.

#include <optional>
#include <string>
#include <vector>

#include "movie_scores.hpp"
#include "session.hpp"
#include "voxgrad/pu/evaluation.hpp"

namespace voxgrad::app {

/// One threshold and what holds at it.
struct PuRow {
  std::string criterion;              ///< "pu_f1", "lee_liu", "quantile", or what the caller named its own
  pu::PuMeasures at;
  pu::Interval recall, rate;          ///< 95 %, over events and over blocks
  double precision_low, precision_high;  ///< for the ends of the prior's band
};

struct PuReport {
  double prior, low, high;            ///< in use, and its band: the estimate's interval, or half and twice of a given one
  bool estimated;
  std::vector<PuRow> rows;
  pu::PuRanking ranking;
  double rate_at_half = 0, deviation = 0;  ///< share of everything with a score of 1/2 and above; spread of logits
  double events = 0, voxels_per_event = 0, true_events = 0;  ///< labelled, their mean size, and prior * voxels / that size
  std::vector<std::string> warnings;

  const PuRow* find(const std::string& criterion) const;
};

/// prior: given, or estimated from the same scores. own: thresholds by name, measured beside the chosen ones. The scores are one set, some of
/// whose positives are labelled. Errors: UsageError for a prior outside (0, 1) or below the labelled share, and without labelled voxels.
PuReport pu_report(const MovieScores& scores, std::optional<double> prior, const std::vector<std::pair<std::string, double>>& own);

/// Adds what the training of a model says, from its risk.csv: the share of corrected steps and the mean of r among the last 1000. Nothing without
/// such a file.
std::vector<std::string> training_signs(const std::string& model_folder);

void print_report(const PuReport& report, Session& session);
std::string report_csv(const PuReport& report);
Fields report_fields(const PuReport& report);

}  // namespace voxgrad::app
