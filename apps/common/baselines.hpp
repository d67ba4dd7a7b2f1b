// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Detectors without a network, for comparison: one intensity threshold, and the per-pixel intensity rule.
// Their parameter is the best of a list on validation movies.

#include <vector>

#include "voxgrad/data/intensity_rule.hpp"
#include "voxgrad/metrics/components.hpp"
#include "voxgrad/metrics/matching.hpp"
#include "voxgrad/metrics/regions.hpp"

namespace voxgrad::app {

/// A preprocessed movie with the true positions of its events.
struct JudgedMovie {
  data::Volume<float> movie;
  std::vector<metrics::Point> truth;
};

/// Scores of a mask's components (boxes of at least 2 x 3 x 3, weighted centroids) against the truth; Hungarian, 6 voxels.
inline metrics::DetectionScores judge_mask(const data::Volume<uint8_t>& mask, const JudgedMovie& m) {
  metrics::Components c = metrics::label_components(mask);
  metrics::remove_small(c, metrics::min_event_size);
  const auto points = metrics::centroids(metrics::measure_regions(c.labels, m.movie));
  return metrics::match_points(m.truth, points, metrics::Matcher::hungarian, metrics::match_distance).scores;
}

/// Voxels above one intensity.
struct IntensityThreshold {
  static constexpr const char* name = "plain intensity threshold";
  static std::vector<double> candidates() {
    std::vector<double> list;
    for (int i = 1; i <= 60; ++i) list.push_back(0.05 * i);
    return list;
  }
  static data::Volume<uint8_t> mask(const JudgedMovie& m, double level) {
    data::Volume<uint8_t> out(m.movie.extent);
    for (size_t i = 0; i < out.voxels.size(); ++i) out.voxels[i] = m.movie.voxels[i] > float(level);
    return out;
  }
};

/// Smoothed voxels k standard deviations above their pixel's quiet level (data/intensity_rule.hpp).
struct IntensityRule {
  static constexpr const char* name = "smoothed rule per pixel";
  static std::vector<double> candidates() { return {3, 3.5, 4, 4.5, 5, 5.5, 6, 7, 8, 10}; }
  static data::Volume<uint8_t> mask(const JudgedMovie& m, double k) {
    return data::intensity_rule(m.movie.extent,
                                [&](int64_t t, float* out) { std::copy_n(m.movie.frame(t), m.movie.frame_size(), out); }, k);
  }
};

template <class Detector>
metrics::DetectionScores judge(const std::vector<JudgedMovie>& movies, double parameter) {
  metrics::DetectionScores total;
  for (const JudgedMovie& m : movies) {
    const metrics::DetectionScores s = judge_mask(Detector::mask(m, parameter), m);
    total.tp += s.tp;
    total.fp += s.fp;
    total.fn += s.fn;
  }
  return total;
}

/// The candidate with the best F1 on the validation movies, the first of equal ones.
template <class Detector>
double tune(const std::vector<JudgedMovie>& validation) {
  double best = 0, best_f1 = -1;
  for (double candidate : Detector::candidates())
    if (const double f1 = judge<Detector>(validation, candidate).f1(); f1 > best_f1) {
      best_f1 = f1;
      best = candidate;
    }
  return best;
}

}  // namespace voxgrad::app
