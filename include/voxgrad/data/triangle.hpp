// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The triangle threshold (Zack, Rogers, Latt 1977), with the 256-bin histogram of floating-point images that
// scikit-image uses, so that thresholds agree with published ones. Bin edges are computed in double and rounded to
// float, as NumPy 1 did; NumPy 2 computes them in float, which can move an edge by one unit in the last place.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "voxgrad/core/error.hpp"

namespace voxgrad::data {

/// A histogram of 256 equal bins between two values. Bin i holds edge[i] <= v < edge[i+1], the last one its
/// end. Each bin also keeps count and sum of its values above its centre: that makes the mean of all values
/// above any bin centre exact without another pass over the data.
class TriangleHistogram {
 public:
  static constexpr int bins = 256;

  /// Range of the data; low < high.
  TriangleHistogram(float low, float high) {
    check<ShapeError>(low < high, "triangle threshold: all values are ", low,
                      ", there is nothing to separate.");
    const double step = (double(high) - double(low)) / bins;
    for (int i = 0; i <= bins; ++i) edge_[size_t(i)] = float(double(low) + i * step);
    edge_[bins] = high;
    for (int i = 0; i < bins; ++i) centre_[size_t(i)] = (edge_[size_t(i)] + edge_[size_t(i) + 1]) / 2;
    inverse_step_ = 1 / step;
  }

  void add(const float* values, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      const float v = values[i];
      int b = std::clamp(int((double(v) - double(edge_[0])) * inverse_step_), 0, bins - 1);
      if (v < edge_[size_t(b)])
        --b;
      else if (b < bins - 1 && v >= edge_[size_t(b) + 1])
        ++b;
      Bin& bin = bin_[size_t(b)];
      const bool above = v > centre_[size_t(b)];
      ++bin.count[above];
      bin.sum[above] += double(v);
    }
  }

  /// Centre of the bin farthest from the line between the peak and the longer tail.
  float threshold() const { return centre_[size_t(threshold_bin())]; }

  /// Number and mean of the values strictly above threshold().
  struct Foreground {
    int64_t count = 0;
    double mean = 0;
  };
  Foreground foreground() const {
    const int t = threshold_bin();
    int64_t count = bin_[size_t(t)].count[1];
    double sum = bin_[size_t(t)].sum[1];
    for (int b = t + 1; b < bins; ++b) {
      count += bin_[size_t(b)].count[0] + bin_[size_t(b)].count[1];
      sum += bin_[size_t(b)].sum[0] + bin_[size_t(b)].sum[1];
    }
    return {count, count > 0 ? sum / double(count) : 0};
  }

 private:
  struct Bin {
    int64_t count[2] = {0, 0};  ///< at or below the centre, above it
    double sum[2] = {0, 0};
  };

  int threshold_bin() const {
    std::array<double, bins> h;
    for (int i = 0; i < bins; ++i) h[size_t(i)] = double(bin_[size_t(i)].count[0] + bin_[size_t(i)].count[1]);
    int peak = int(std::max_element(h.begin(), h.end()) - h.begin());
    int left = 0, right = bins - 1;
    while (left < bins - 1 && h[size_t(left)] == 0) ++left;
    while (right > 0 && h[size_t(right)] == 0) --right;
    const bool flip = peak - left < right - peak;
    if (flip) {
      std::reverse(h.begin(), h.end());
      left = bins - 1 - right;
      peak = bins - 1 - peak;
    }
    const int width = peak - left;
    const double top = h[size_t(peak)], norm = std::sqrt(top * top + double(width) * width);
    int best = 0;
    double best_distance = -1e300;
    for (int k = 0; k < width; ++k) {
      const double d = top / norm * k - width / norm * h[size_t(left + k)];
      if (d > best_distance) best_distance = d, best = k;
    }
    return flip ? bins - 1 - (left + best) : left + best;
  }

  std::array<float, bins + 1> edge_{};
  std::array<float, bins> centre_{};
  std::array<Bin, bins> bin_{};
  double inverse_step_ = 0;
};

/// Triangle threshold of n values; ShapeError when all are equal or n is 0.
inline float triangle_threshold(const float* values, int64_t n) {
  check<ShapeError>(n > 0, "triangle threshold: no values.");
  const auto [low, high] = std::minmax_element(values, values + n);
  TriangleHistogram histogram(*low, *high);
  histogram.add(values, n);
  return histogram.threshold();
}

}  // namespace voxgrad::data
