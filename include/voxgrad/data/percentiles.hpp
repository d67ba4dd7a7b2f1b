// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Scales intensities by their percentiles.

#include <algorithm>
#include <cmath>
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

/// Takes `low_percent` to 0 and `high_percent` to 1: (v - low) / (high - low + 1e-20) in float32, not clipped; one channel.
/// Errors: as percentile, and UsageError unless low < high.
template <class T>
std::vector<float> normalize_percentiles(const std::vector<T>& values, double low_percent = 1, double high_percent = 99.8) {
  check<UsageError>(low_percent < high_percent, "normalize: percentiles ", low_percent, " and ", high_percent,
                    " (the first must be below the second)");
  std::vector<T> sorted = values;
  const float low = float(percentile(sorted, low_percent)), high = float(percentile(sorted, high_percent));
  const float range = high - low + 1e-20f;
  std::vector<float> out(values.size());
  for (size_t i = 0; i < values.size(); ++i) out[i] = (float(values[i]) - low) / range;
  return out;
}

}  // namespace voxgrad::data
