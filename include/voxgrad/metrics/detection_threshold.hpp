// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The detection threshold: the highest of 100 thresholds with the best F1 over a movie
// (reference-pipeline.md 7.2).
//
// Labelling a movie 100 times is avoided: as the threshold falls, components only grow and merge. Voxels join
// a union-find structure from the highest threshold down, each root keeping the sums of its component, and
// before the next threshold the components that exist are the answer for this one. One pass instead of 100.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/data/volume.hpp"
#include "voxgrad/metrics/components.hpp"
#include "voxgrad/metrics/matching.hpp"

namespace voxgrad::metrics {

/// 0.01, 0.02, ... 1.00.
inline std::vector<float> detection_thresholds() {
  std::vector<float> t;
  for (int i = 1; i <= 100; ++i) t.push_back(float(double(i) / 100.0));
  return t;
}

/// A component of the voxels above some threshold.
struct FloodComponent {
  int64_t first = 0;  ///< index of its first voxel in raster order
  int64_t area = 0;
  Box box;
  std::array<int64_t, 3> sum{};  ///< of t, y, x

  Point centroid() const {
    return {double(sum[0]) / double(area), double(sum[1]) / double(area), double(sum[2]) / double(area)};
  }
  void add(const FloodComponent& o) {
    first = std::min(first, o.first);
    area += o.area;
    box.add(o.box);
    for (size_t a = 0; a < 3; ++a) sum[a] += o.sum[a];
  }
};

/// The components (26 neighbours) of score > threshold for a falling series of thresholds.
/// Memory: 4 bytes per voxel, 4 per voxel above the lowest threshold, and the components.
class DescendingFlood {
 public:
  /// thresholds ascending. Errors: ShapeError above 2^31 - 2 voxels. `scores` must outlive the flood.
  DescendingFlood(const Volume<float>& scores, std::vector<float> thresholds)
      : extent_(scores.extent), thresholds_(std::move(thresholds)) {
    check<ShapeError>(scores.size() < std::numeric_limits<int32_t>::max(),
                      "detection threshold: the movie has ", scores.size(), " voxels, more than 2^31 - 2");
    sort_by_level(scores.voxels);
    link_.assign(size_t(scores.size()), absent);
    step_ = thresholds_.size();
  }

  /// Floods down to the next lower threshold; false when there is none left.
  bool next() {
    if (step_ == 0) return false;
    --step_;
    for (size_t k = begin_[step_]; k < begin_[step_ + 1]; ++k) insert(order_[k]);
    return true;
  }
  float threshold() const { return thresholds_[step_]; }  ///< after next()
  bool any() const { return any_; }                       ///< whether any voxel is above threshold()

  /// Components at threshold() whose box is at least `minimum`, in raster order of their first voxels.
  std::vector<FloodComponent> components(const Extent3& minimum) const {
    std::vector<FloodComponent> found;
    for (const FloodComponent& c : pool_)
      if (c.area > 0 && c.box.at_least(minimum)) found.push_back(c);
    std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    return found;
  }

 private:
  // link_: the parent's voxel index; or for a root -2 - (its place in pool_); or absent.
  static constexpr int32_t absent = -1;

  // Counting sort: voxels that are above threshold k but not above k + 1, in raster order, per k.
  void sort_by_level(const std::vector<float>& scores) {
    begin_.assign(thresholds_.size() + 1, 0);
    const auto level = [&](float s) {  // number of thresholds below s; none for NaN
      return size_t(std::lower_bound(thresholds_.begin(), thresholds_.end(), s) - thresholds_.begin());
    };
    std::vector<size_t> place(thresholds_.size() + 1, 0);
    const float lowest = thresholds_.empty() ? 0 : thresholds_.front();
    for (const float s : scores)
      if (s > lowest) ++place[level(s)];
    for (size_t k = 0; k < thresholds_.size(); ++k) begin_[k + 1] = begin_[k] + place[k + 1];
    order_.resize(begin_.back());
    std::copy(begin_.begin(), begin_.end(), place.begin());
    for (size_t i = 0; i < scores.size(); ++i)
      if (scores[i] > lowest) order_[place[level(scores[i]) - 1]++] = int32_t(i);
  }

  int32_t root(int32_t i) {
    while (link_[size_t(i)] >= 0) {
      const int32_t up = link_[size_t(i)];
      if (link_[size_t(up)] < 0) return up;
      i = link_[size_t(i)] = link_[size_t(up)];  // halve the path
    }
    return i;
  }

  void insert(int32_t i) {
    any_ = true;
    const int64_t x = i % extent_[2], y = i / extent_[2] % extent_[1], t = i / (extent_[2] * extent_[1]);
    FloodComponent one;
    one.first = i;
    one.area = 1;
    one.box.add(t, y, x);
    one.sum = {t, y, x};
    int32_t self = -1;  // root of the component that voxel i belongs to
    for (int64_t tt = std::max<int64_t>(t - 1, 0); tt <= std::min(t + 1, extent_[0] - 1); ++tt)
      for (int64_t yy = std::max<int64_t>(y - 1, 0); yy <= std::min(y + 1, extent_[1] - 1); ++yy) {
        const int64_t row = (tt * extent_[1] + yy) * extent_[2];
        for (int64_t xx = std::max<int64_t>(x - 1, 0); xx <= std::min(x + 1, extent_[2] - 1); ++xx) {
          if (link_[size_t(row + xx)] == absent) continue;
          const int32_t other = root(int32_t(row + xx));
          self = self < 0 ? other : self == other ? self : merge(self, other);
        }
      }
    if (self >= 0) {
      link_[size_t(i)] = self;
      pool_[place_of(self)].add(one);
    } else {
      link_[size_t(i)] = -2 - int32_t(new_place(one));
    }
  }

  size_t place_of(int32_t r) const { return size_t(-2 - link_[size_t(r)]); }

  // Joins two roots, the smaller component below the larger; the root that stays.
  int32_t merge(int32_t a, int32_t b) {
    if (pool_[place_of(a)].area < pool_[place_of(b)].area) std::swap(a, b);
    const size_t gone = place_of(b);
    pool_[place_of(a)].add(pool_[gone]);
    pool_[gone].area = 0;
    free_.push_back(gone);
    link_[size_t(b)] = a;
    return a;
  }

  size_t new_place(const FloodComponent& c) {
    if (free_.empty()) {
      pool_.push_back(c);
      return pool_.size() - 1;
    }
    const size_t place = free_.back();
    free_.pop_back();
    pool_[place] = c;
    return place;
  }

  Extent3 extent_;
  std::vector<float> thresholds_;
  std::vector<int32_t> link_, order_;
  std::vector<size_t> begin_;  // order_[begin_[k], begin_[k + 1]) belongs to threshold k
  std::vector<FloodComponent> pool_;
  std::vector<size_t> free_;
  size_t step_ = 0;
  bool any_ = false;
};

/// Scores of one movie at one threshold.
struct ThresholdScore {
  float threshold = 0;
  int64_t predicted = 0;  ///< components after the size filter
  double f1 = 0;
  DetectionScores scores;
};

/// How a movie is scored; the defaults are the published ones.
struct DetectionRule {
  Matcher matcher = Matcher::nearest;
  double limit = match_distance;
  Extent3 min_size = min_event_size;  ///< for predictions only; truth is not filtered
};

/// F1 of every threshold over one movie, thresholds ascending. Plain centroids on both sides.
inline std::vector<ThresholdScore> score_thresholds(const Volume<float>& scores,
                                                    const std::vector<Point>& truth,
                                                    const DetectionRule& rule = {},
                                                    std::vector<float> thresholds = detection_thresholds()) {
  DescendingFlood flood(scores, std::move(thresholds));
  std::vector<ThresholdScore> table;
  while (flood.next()) {
    ThresholdScore s;
    s.threshold = flood.threshold();
    s.scores.fn = int64_t(truth.size());
    if (flood.any()) {
      std::vector<Point> predicted;
      for (const FloodComponent& c : flood.components(rule.min_size)) predicted.push_back(c.centroid());
      s.predicted = int64_t(predicted.size());
      s.scores = match_points(truth, predicted, rule.matcher, rule.limit).scores;
      s.f1 = s.scores.f1();
    }
    table.push_back(s);
  }
  std::reverse(table.begin(), table.end());
  return table;
}

/// Centroids of the truth's components, no size filter, in label order.
template <class L>
std::vector<Point> truth_centroids(const Volume<L>& truth) {
  ComponentLabeler<L> labeler(truth.extent[1], truth.extent[2]);
  RegionCollector collector;
  std::vector<uint32_t> labels(size_t(truth.frame_size()));
  const std::vector<uint8_t> ones(labels.size(), 1);
  for (int64_t t = 0; t < truth.extent[0]; ++t) {
    labeler.add_frame(truth.frame(t), labels.data());
    collector.add_frame(t, truth.extent[1], truth.extent[2], labels.data(), ones.data());
  }
  return centroids(collector.finish(labeler.finish()), false);
}

/// The movie's threshold: the last whose F1 equals or beats all before. 1.00 if no threshold scores.
inline float best_detection_threshold(const std::vector<ThresholdScore>& table) {
  check<Error>(!table.empty(), "detection threshold: no thresholds were scored");
  const ThresholdScore* best = &table.front();
  for (const ThresholdScore& s : table)
    if (s.f1 >= best->f1) best = &s;
  return best->threshold;
}

}  // namespace voxgrad::metrics
