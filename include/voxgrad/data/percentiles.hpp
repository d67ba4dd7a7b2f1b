// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Scales intensities by their percentiles.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "voxgrad/core/error.hpp"

namespace voxgrad::data {

/// Value below which `percent` percent of the values lie, linear between neighbours (NumPy's default). Reorders values.
/// Errors: ShapeError for no values or one that is not a number, UsageError for percent outside of 0 to 100.
template <class T>
double percentile(std::vector<T>& values, double percent) {
  check<ShapeError>(!values.empty(), "percentile: there are no values");
  check<UsageError>(percent >= 0 && percent <= 100, "percentile: ", percent, " (expected 0 to 100)");
  if constexpr (std::is_floating_point_v<T>)
    for (const T v : values) check<ShapeError>(!std::isnan(v), "percentile: a value is not a number");
  const double at = percent / 100 * double(values.size() - 1);
  const size_t below = std::min(size_t(at), values.size() - 1);
  const double part = at - double(below);
  const auto lower = values.begin() + std::ptrdiff_t(below);
  std::nth_element(values.begin(), lower, values.end());
  const double a = double(*lower);
  if (below + 1 == values.size()) return a;
  const double b = double(*std::min_element(lower + 1, values.end()));
  return part < 0.5 ? a + (b - a) * part : b - (b - a) * (1 - part);
}

/// x -> (x - low) / (high - low + 1e-20) in float32, not clipped: how StarDist's images are normalised.
struct PercentileScale {
  static constexpr double low_percent = 1, high_percent = 99.8;
  float low = 0, high = 1;  ///< intensities at these percentiles

  bool usable() const { return low < high; }  ///< else the width is 1e-20: zeros for a constant image, nonsense for a sparse one
  template <class T>
  void apply(const T* in, float* out, int64_t n) const {
    const float width = high - low + 1e-20f;
    for (int64_t i = 0; i < n; ++i) out[i] = (float(in[i]) - low) / width;
  }
};

/// The scale that takes `low_percent` to 0 and `high_percent` to 1; one channel.
/// Errors: as percentile, and UsageError unless low < high.
template <class T>
PercentileScale percentile_scale(std::vector<T> values, double low_percent = PercentileScale::low_percent, double high_percent = PercentileScale::high_percent) {
  check<UsageError>(low_percent < high_percent, "normalize: percentiles ", low_percent, " and ", high_percent,
                    " (the first must be below the second)");
  return {float(percentile(values, low_percent)), float(percentile(values, high_percent))};
}

/// Values scaled so. Errors: as percentile_scale.
template <class T>
std::vector<float> normalize_percentiles(const std::vector<T>& values, double low_percent = PercentileScale::low_percent,
                                         double high_percent = PercentileScale::high_percent) {
  std::vector<float> out(values.size());
  percentile_scale(values, low_percent, high_percent).apply(values.data(), out.data(), int64_t(values.size()));
  return out;
}

}  // namespace voxgrad::data
