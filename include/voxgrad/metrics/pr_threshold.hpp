// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The segmentation threshold: the point of the precision-recall curve nearest to (1, 1), averaged over crops
// (reference-pipeline.md 7.1). Chosen with score >= threshold, applied with score > threshold, as published.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "voxgrad/core/error.hpp"

namespace voxgrad::metrics {

/// One point of a precision-recall curve: voxels with score >= threshold are called positive.
struct CurvePoint {
  double threshold = 0;
  int64_t tp = 0, fp = 0;
};

/// Precision-recall curve of n scores: one point per distinct score, thresholds ascending.
/// labels: anything non-zero is positive. Errors: Error for a score that is not a number.
template <class L>
std::vector<CurvePoint> precision_recall_curve(const float* scores, const L* labels, int64_t n) {
  std::vector<std::pair<float, bool>> sorted(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    check<Error>(!std::isnan(scores[i]), "precision-recall curve: score ", i, " is not a number");
    sorted[size_t(i)] = {scores[i], labels[i] != L{}};
  }
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<CurvePoint> curve;
  CurvePoint point;
  for (size_t i = 0; i < sorted.size(); ++i) {
    ++(sorted[i].second ? point.tp : point.fp);
    if (i + 1 < sorted.size() && sorted[i + 1].first == sorted[i].first) continue;
    point.threshold = double(sorted[i].first);
    curve.push_back(point);
  }
  std::reverse(curve.begin(), curve.end());
  return curve;
}

/// Distance of a point's (precision, recall) to (1, 1), given the number of positives (> 0).
inline double distance_to_ideal(const CurvePoint& p, int64_t positives) {
  const double precision = double(p.tp) / double(p.tp + p.fp), recall = double(p.tp) / double(positives);
  return std::sqrt((1 - precision) * (1 - precision) + (1 - recall) * (1 - recall));
}

/// The threshold of one crop: the lowest of those nearest to (1, 1). Nothing without a positive voxel.
template <class L>
std::optional<double> best_pr_threshold(const float* scores, const L* labels, int64_t n) {
  const std::vector<CurvePoint> curve = precision_recall_curve(scores, labels, n);
  const int64_t positives = curve.empty() ? 0 : curve.front().tp;  // the lowest threshold calls all positive
  if (positives == 0) return std::nullopt;
  const auto nearer = [&](const CurvePoint& a, const CurvePoint& b) {
    return distance_to_ideal(a, positives) < distance_to_ideal(b, positives);
  };
  return std::min_element(curve.begin(), curve.end(), nearer)->threshold;  // the first of equal ones
}

/// Mean over crops, every crop that holds a positive voxel counting once.
class SegmentationThreshold {
 public:
  template <class L>
  void add_crop(const float* scores, const L* labels, int64_t n) {
    ++crops_;
    const std::optional<double> best = best_pr_threshold(scores, labels, n);
    if (!best) return;
    sum_ += *best;
    ++used_;
  }
  int64_t crops() const { return crops_; }
  int64_t used() const { return used_; }
  /// Errors: Error when no crop held a positive voxel.
  double value() const {
    check<Error>(used_ > 0, crops_, " of ", crops_,
                 " validation crops contain no event: no threshold can be chosen");
    return sum_ / double(used_);
  }

 private:
  int64_t crops_ = 0, used_ = 0;
  double sum_ = 0;
};

}  // namespace voxgrad::metrics
