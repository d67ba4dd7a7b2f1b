// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Samples lists for positive-unlabelled training: which movies, all their events, and unlabelled crops on
// foreground, at ratios that are nested so that a larger one contains the smaller. Follows the published
// procedure; the numbers come from our own generator, and movies are taken in sorted order, so a list can be
// drawn again anywhere.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/core/random.hpp"
#include "voxgrad/data/dataset.hpp"
#include "voxgrad/data/triangle.hpp"

namespace voxgrad::data {

/// Ratios that can be drawn: 0 and the powers of two up to 256.
inline constexpr std::array<int64_t, 10> sample_ratios{0, 1, 2, 4, 8, 16, 32, 64, 128, 256};

/// Corners may lie in low <= i < high of an axis of n voxels: one crop away from both ends, as published;
/// axes too short for that use every start at which a crop fits, or 0.
inline std::pair<int64_t, int64_t> corner_range(int64_t n, int64_t crop) {
  if (n >= 3 * crop) return {crop, n - crop};
  return {0, std::max<int64_t>(1, n - crop)};
}

/// Pixels (y, x) where the mean picture is above its triangle threshold and a crop may start. picture: H*W.
inline std::vector<std::array<int64_t, 2>> foreground_corners(const std::vector<float>& picture, int64_t h,
                                                              int64_t w, int64_t crop) {
  const float threshold = triangle_threshold(picture.data(), h * w);
  const auto [y0, y1] = corner_range(h, crop);
  const auto [x0, x1] = corner_range(w, crop);
  std::vector<std::array<int64_t, 2>> out;
  for (int64_t y = y0; y < y1; ++y)
    for (int64_t x = x0; x < x1; ++x)
      if (picture[size_t(y * w + x)] > threshold) out.push_back({y, x});
  return out;
}

/// A random part of `count` items, in random order.
template <class T>
std::vector<T> random_part(std::vector<T> items, size_t count, Random& random) {
  for (size_t i = 0; i < count; ++i) std::swap(items[i], items[i + size_t(random.below(items.size() - i))]);
  items.resize(count);
  return items;
}

/// Unlabelled corners of one movie for every ratio up to `highest`: result[r] has r * events entries.
/// Pools of 8, 64 and 256 per event are drawn one after the other, each starting with the one before; the
/// ratios between are random halves (8 -> 4 -> 2 -> 1, 64 -> 32 -> 16, 256 -> 128). A pixel is drawn once per
/// draw as long as there are enough of them. UsageError when no corner is allowed.
inline std::map<int64_t, std::vector<Extent3>> draw_corners(const std::vector<std::array<int64_t, 2>>& pixels,
                                                            int64_t frames, int64_t crop, int64_t events,
                                                            int64_t highest, Random& random) {
  std::map<int64_t, std::vector<Extent3>> out{{0, {}}};
  if (highest == 0 || events == 0) {
    for (int64_t r : sample_ratios)
      if (r <= highest) out[r] = {};
    return out;
  }
  check<UsageError>(!pixels.empty(), "no foreground pixel is far enough from the border for a crop of ", crop,
                    ".");
  const auto [t0, t1] = corner_range(frames, crop);
  std::vector<Extent3> pool;
  for (const int64_t top : {int64_t(8), int64_t(64), int64_t(256)}) {
    const auto more = size_t(top * events) - pool.size();
    std::vector<std::array<int64_t, 2>> chosen;
    if (more <= pixels.size())
      chosen = random_part(pixels, more, random);
    else
      for (size_t i = 0; i < more; ++i) chosen.push_back(pixels[size_t(random.below(pixels.size()))]);
    for (const auto& [y, x] : chosen) pool.push_back({t0 + int64_t(random.below(uint64_t(t1 - t0))), y, x});
    std::vector<Extent3> part = pool;
    const int64_t bottom = top == 8 ? 1 : top == 64 ? 16 : 128;
    for (int64_t r = top; r >= bottom; r /= 2) {
      if (r < top) part = random_part(std::move(part), size_t(r * events), random);
      if (r <= highest) out[r] = part;
    }
    if (top >= highest) break;
  }
  return out;
}

/// What sampling needs to know about a training movie, and the corners drawn for it.
struct SampledMovie {
  std::string name;
  int64_t events = 0;
  std::map<int64_t, std::vector<Extent3>> corners;
};

/// Positions of floor(fraction * n) movies out of n, sorted. Repetition r is its own draw.
inline std::vector<size_t> draw_subset(size_t n, double fraction, int64_t repetition, uint64_t seed) {
  std::vector<size_t> all(n);
  for (size_t i = 0; i < n; ++i) all[i] = i;
  Random random(seed, 200 + uint64_t(repetition), uint64_t(std::lround(fraction * 1e6)) << 20);
  std::vector<size_t> part =
      random_part(std::move(all), size_t(std::floor(fraction * double(n) + 1e-9)), random);
  std::sort(part.begin(), part.end());
  return part;
}

/// All events of the chosen movies, then their unlabelled crops at the ratio.
inline std::vector<Sample> list_samples(const std::vector<SampledMovie>& movies,
                                        const std::vector<size_t>& chosen, int64_t ratio) {
  std::vector<Sample> out;
  for (size_t m : chosen)
    for (int64_t row = 0; row < movies[m].events; ++row) out.push_back({movies[m].name, row, {}});
  for (size_t m : chosen)
    for (const Extent3& corner : movies[m].corners.at(ratio)) out.push_back({movies[m].name, -1, corner});
  return out;
}

/// The list of ratio "c": as many unlabelled crops as bring the total to that of all positives, drawn without
/// replacement from the smallest ratio that has enough, or all of the largest ratio drawn.
inline std::vector<Sample> list_samples_to_total(const std::vector<SampledMovie>& movies,
                                                 const std::vector<size_t>& chosen, int64_t total,
                                                 Random random) {
  std::vector<Sample> list = list_samples(movies, chosen, 0);
  const auto positives = int64_t(list.size());
  int64_t ratio = 0;
  for (const auto& [r, corners] : movies.at(0).corners) {
    ratio = r;
    if (positives * (1 + r) > total) break;
  }
  std::vector<Sample> pool = list_samples(movies, chosen, ratio);
  pool.erase(pool.begin(), pool.begin() + positives);
  const auto wanted = std::min<size_t>(pool.size(), size_t(std::max<int64_t>(0, total - positives)));
  pool = random_part(std::move(pool), wanted, random);
  list.insert(list.end(), pool.begin(), pool.end());
  return list;
}

}  // namespace voxgrad::data
