// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Voxel-wise agreement of a predicted mask, or of scores, with a true mask.

#include <cstdint>
#include <limits>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/metrics/pr_threshold.hpp"

namespace voxgrad::metrics {

/// Counts of voxels and the scores that follow. Scores without a denominator are NaN, except Dice and IoU of
/// empty against empty, which are 1: both say the same.
struct SegmentationScores {
  int64_t tp = 0, fp = 0, fn = 0, tn = 0;

  double dice() const { return tp + fp + fn == 0 ? 1.0 : 2.0 * double(tp) / double(2 * tp + fp + fn); }
  double iou() const { return tp + fp + fn == 0 ? 1.0 : double(tp) / double(tp + fp + fn); }
  double precision() const { return ratio(tp, tp + fp); }
  double recall() const { return ratio(tp, tp + fn); }
  double accuracy() const { return ratio(tp + tn, tp + tn + fp + fn); }

  void add(const SegmentationScores& o) { tp += o.tp, fp += o.fp, fn += o.fn, tn += o.tn; }


  static double ratio(int64_t a, int64_t b) {
    return b == 0 ? std::numeric_limits<double>::quiet_NaN() : double(a) / double(b);
  }
};

/// Compares n voxels; anything non-zero is positive.
template <class P, class T>
SegmentationScores compare_masks(const P* predicted, const T* truth, int64_t n) {
  SegmentationScores s;
  for (int64_t i = 0; i < n; ++i) {
    const bool p = predicted[i] != P{}, t = truth[i] != T{};
    ++(p ? (t ? s.tp : s.fp) : (t ? s.fn : s.tn));
  }
  return s;
}

/// Average precision: sum over falling thresholds of precision times the gain in recall, no interpolation.
/// NaN without positives.
inline double average_precision(const std::vector<CurvePoint>& curve) {
  const int64_t positives = curve.empty() ? 0 : curve.front().tp;
  if (positives == 0) return std::numeric_limits<double>::quiet_NaN();
  double sum = 0;
  int64_t before = 0;
  for (size_t k = curve.size(); k-- > 0;) {
    sum += double(curve[k].tp - before) / double(positives) *
           (double(curve[k].tp) / double(curve[k].tp + curve[k].fp));
    before = curve[k].tp;
  }
  return sum;
}

/// Area under the receiver operating characteristic, ties counting half. NaN without both classes.
inline double roc_auc(const std::vector<CurvePoint>& curve) {
  const int64_t positives = curve.empty() ? 0 : curve.front().tp,
                negatives = curve.empty() ? 0 : curve.front().fp;
  if (positives == 0 || negatives == 0) return std::numeric_limits<double>::quiet_NaN();
  double area = 0;  // trapezoids over false positives
  CurvePoint before;
  for (size_t k = curve.size(); k-- > 0;) {
    area += double(curve[k].fp - before.fp) * (double(curve[k].tp) + double(before.tp)) / 2;
    before = curve[k];
  }
  return area / (double(positives) * double(negatives));
}

}  // namespace voxgrad::metrics
