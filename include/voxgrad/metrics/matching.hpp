// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Pairing predicted events with true ones by the distance of their centres, and the scores that follow
// (reference-pipeline.md 7.5, to the number).

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/metrics/assignment.hpp"
#include "voxgrad/metrics/regions.hpp"

namespace voxgrad::metrics {

enum class Matcher { hungarian, nearest };

/// "hungarian" or "nearest". Errors: UsageError for any other name.
inline Matcher matcher_named(const std::string& name) {
  check<UsageError>(name == "hungarian" || name == "nearest", "matching: unknown algorithm '", name,
                    "' (expected hungarian or nearest)");
  return name == "hungarian" ? Matcher::hungarian : Matcher::nearest;
}

/// Distance at which the published evaluation gives up a match; one frame counts as much as one pixel.
inline constexpr double match_distance = 6.0;

/// Distances between every truth (rows) and every prediction (columns), as many rows and columns when empty.
inline Matrix distance_matrix(const std::vector<Point>& truth, const std::vector<Point>& predicted) {
  Matrix d(int64_t(truth.size()), int64_t(predicted.size()));
  for (size_t i = 0; i < truth.size(); ++i)
    for (size_t j = 0; j < predicted.size(); ++j)
      d.at(int64_t(i), int64_t(j)) = distance(truth[i], predicted[j]);
  return d;
}

/// Pairs by increasing distance while it is <= limit, each point used once; ties in row-major order.
inline std::vector<Pair> match_nearest(const Matrix& d, double limit = match_distance) {
  std::vector<std::tuple<double, int64_t, int64_t>> close;
  for (int64_t i = 0; i < d.rows; ++i)
    for (int64_t j = 0; j < d.columns; ++j)
      if (d.at(i, j) <= limit) close.emplace_back(d.at(i, j), i, j);
  std::sort(close.begin(), close.end());
  std::vector<char> row_taken(size_t(d.rows), 0), column_taken(size_t(d.columns), 0);
  std::vector<Pair> pairs;
  for (const auto& [unused, i, j] : close) {
    if (row_taken[size_t(i)] || column_taken[size_t(j)]) continue;
    row_taken[size_t(i)] = column_taken[size_t(j)] = 1;
    pairs.emplace_back(i, j);
  }
  return pairs;
}

/// Minimum sum of ln(distance + 1e-6) over the points that have some partner at < limit, all of them
/// assigned; pairs at >= limit are dropped afterwards. The logarithm prefers very close pairs and may cost a
/// second match.
inline std::vector<Pair> match_hungarian(const Matrix& d, double limit = match_distance) {
  std::vector<char> row_near(size_t(d.rows), 0), column_near(size_t(d.columns), 0);
  for (int64_t i = 0; i < d.rows; ++i)
    for (int64_t j = 0; j < d.columns; ++j)
      if (d.at(i, j) < limit) row_near[size_t(i)] = column_near[size_t(j)] = 1;
  std::vector<int64_t> rows, columns;
  for (int64_t i = 0; i < d.rows; ++i)
    if (row_near[size_t(i)]) rows.push_back(i);
  for (int64_t j = 0; j < d.columns; ++j)
    if (column_near[size_t(j)]) columns.push_back(j);
  Matrix cost(int64_t(rows.size()), int64_t(columns.size()));
  for (size_t i = 0; i < rows.size(); ++i)
    for (size_t j = 0; j < columns.size(); ++j)
      cost.at(int64_t(i), int64_t(j)) = std::log(d.at(rows[i], columns[j]) + 1e-6);
  std::vector<Pair> pairs;
  for (const auto& [i, j] : assign(cost)) {
    const int64_t row = rows[size_t(i)], column = columns[size_t(j)];
    if (d.at(row, column) < limit) pairs.emplace_back(row, column);
  }
  return pairs;
}

/// Scores of a detection. eps = 1e-6 in the denominators, as published: a perfect score is 0.999999.
struct DetectionScores {
  int64_t tp = 0, fp = 0, fn = 0;
  static constexpr double eps = 1e-6;

  double precision() const { return double(tp) / (double(tp + fp) + eps); }
  double recall() const { return double(tp) / (double(tp + fn) + eps); }  ///< also called TPR
  double f1() const {                                                     ///< also called dice
    const double p = precision(), r = recall();
    return 2 * p * r / (p + r + eps);
  }
  /// Matched share of the truth; 1 where there is neither truth nor prediction.
  double accuracy() const { return tp + fp + fn == 0 ? 1.0 : double(tp) / (double(tp + fn) + eps); }
  double fnr() const { return 1 - recall(); }
  double jaccard() const { return f1() / (2 - f1()); }
  double average_precision() const {
    return double(tp) / (double(tp + fp + fn) + eps);
  }  ///< one operating point
  /// FP / FN under the published name. Not a false-positive rate: detections have no true negatives.
  double fpr() const { return double(fp) / double(fn); }

  void add(const DetectionScores& o) { tp += o.tp, fp += o.fp, fn += o.fn; }
};

/// A matching with its scores; indices refer to the inputs.
struct Matching {
  std::vector<Pair> pairs;  ///< (truth, prediction)
  std::vector<int64_t> false_positives, false_negatives;
  DetectionScores scores;
};

/// Pairs truth with predictions. `limit` in voxels: nearest accepts a distance equal to it, Hungarian does
/// not.
inline Matching match_points(const std::vector<Point>& truth, const std::vector<Point>& predicted,
                             Matcher matcher = Matcher::hungarian, double limit = match_distance) {
  const Matrix d = distance_matrix(truth, predicted);
  Matching m;
  m.pairs = matcher == Matcher::nearest ? match_nearest(d, limit) : match_hungarian(d, limit);
  std::vector<char> found(truth.size(), 0), right(predicted.size(), 0);
  for (const auto& [i, j] : m.pairs) found[size_t(i)] = right[size_t(j)] = 1;
  for (size_t i = 0; i < found.size(); ++i)
    if (!found[i]) m.false_negatives.push_back(int64_t(i));
  for (size_t j = 0; j < right.size(); ++j)
    if (!right[j]) m.false_positives.push_back(int64_t(j));
  m.scores = {int64_t(m.pairs.size()), int64_t(m.false_positives.size()), int64_t(m.false_negatives.size())};
  return m;
}

}  // namespace voxgrad::metrics
