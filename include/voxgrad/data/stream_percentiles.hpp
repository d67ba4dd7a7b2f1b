// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Percentiles of values that need not fit into memory, exact, in two passes and half a megabyte: values are counted by the
// upper, then by the lower half of their bits.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <map>
#include <vector>

#include "voxgrad/core/error.hpp"

namespace voxgrad::data {

/// Percentiles with linear interpolation between neighbours, as numpy.percentile. `each_part(add)` is called twice and must
/// call add(values, count) for the same values both times. Errors: UsageError for percents outside 0 to 100, ShapeError for
/// no values at all or one that is not finite.
template <class EachPart>
std::vector<float> stream_percentiles(const std::vector<double>& percents, EachPart&& each_part) {
  for (const double p : percents) check<UsageError>(p >= 0 && p <= 100, "percentile ", p, " (expected 0 to 100)");
  const auto key = [](float v) {  // unsigned numbers in the order of the values
    const uint32_t bits = std::bit_cast<uint32_t>(v == 0 ? 0.f : v);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
  };
  std::vector<int64_t> upper(1 << 16);
  int64_t count = 0;
  each_part([&](const float* values, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      check<ShapeError>(std::isfinite(values[i]), "the data hold NaN or infinity");
      ++upper[key(values[i]) >> 16];
    }
    count += n;
  });
  check<ShapeError>(count > 0, "there are no values to take percentiles of");
  std::vector<int64_t> ranks;  // the two neighbours of each percentile
  for (const double p : percents) {
    const double at = p / 100 * double(count - 1);
    ranks.push_back(int64_t(at));
    ranks.push_back(std::min(int64_t(at) + 1, count - 1));
  }
  std::map<uint32_t, std::vector<int64_t>> lower;  // only of upper halves that hold a wanted rank
  struct Place {
    uint32_t half;
    int64_t before;
  };
  std::vector<Place> places;
  for (const int64_t rank : ranks) {
    int64_t before = 0;
    uint32_t half = 0;
    while (before + upper[half] <= rank) before += upper[half++];
    places.push_back({half, before});
    lower[half].resize(1 << 16);
  }
  each_part([&](const float* values, int64_t n) {
    for (int64_t i = 0; i < n; ++i)
      if (const uint32_t k = key(values[i]); true)
        if (const auto found = lower.find(k >> 16); found != lower.end()) ++found->second[k & 0xffff];
  });
  const auto value_at = [&](size_t i) {
    const std::vector<int64_t>& counts = lower[places[i].half];
    int64_t left = ranks[i] - places[i].before;
    uint32_t low = 0;
    while (low < 0xffff && left >= counts[low]) left -= counts[low++];
    const uint32_t k = places[i].half << 16 | low;
    return std::bit_cast<float>(k >> 31 ? k & 0x7fffffffu : ~k);
  };
  std::vector<float> out;
  for (size_t i = 0; i < percents.size(); ++i) {
    const double at = percents[i] / 100 * double(count - 1), share = at - std::floor(at);
    const double a = double(value_at(2 * i)), b = double(value_at(2 * i + 1));
    out.push_back(float(a + (b - a) * share));
  }
  return out;
}

}  // namespace voxgrad::data
