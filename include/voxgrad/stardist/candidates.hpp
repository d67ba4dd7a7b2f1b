// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Object candidates: the grid points of a network's maps whose score is high enough.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/stardist/polyhedron.hpp"

namespace voxgrad::stardist {

/// Lists of candidates in the order of the map, centres in voxels of the image.
struct Candidates {
  std::vector<float> scores;  ///< [N]
  std::vector<float> points;  ///< [N, 3]
  std::vector<float> dist;    ///< [N, R] voxels

  int64_t size() const { return int64_t(scores.size()); }
  Polyhedra polyhedra(const Rays& rays) const { return {&rays, dist, points}; }
};

struct CandidateRule {
  float prob_thresh = 0.5f;                                         ///< scores strictly above are candidates
  std::array<std::array<int64_t, 2>, 3> border{{{2, 2}, {2, 2}, {2, 2}}};  ///< grid points left out at start and end of z, y, x
  std::array<int64_t, 3> grid{1, 1, 1};                             ///< voxels per grid point
  float least_dist = 1e-3f;                                         ///< distances are clipped from below
};

/// The same border on all six sides; 0 keeps everything.
inline std::array<std::array<int64_t, 2>, 3> border(int64_t b) { return {{{b, b}, {b, b}, {b, b}}}; }

/// Errors: UsageError for a threshold outside [0, 1], negative borders, a grid below 1.
inline void check_rule(const CandidateRule& rule) {
  check<UsageError>(rule.prob_thresh >= 0 && rule.prob_thresh <= 1, "candidates: prob_thresh is ", rule.prob_thresh,
                    " (expected 0 to 1)");
  check<UsageError>(rule.least_dist > 0, "candidates: least_dist is ", rule.least_dist, " (expected above 0)");
  for (size_t k = 0; k < 3; ++k)
    check<UsageError>(rule.border[k][0] >= 0 && rule.border[k][1] >= 0 && rule.grid[k] >= 1,
                      "candidates: a border is negative or a grid below 1");
}

/// Appends the distances [R] of the candidate at (z, y, x), clipped from below. Errors: Error for one that is not finite.
inline void append_distances(std::vector<float>& to, std::span<const float> dist, float least, int64_t z, int64_t y, int64_t x) {
  for (const float d : dist) {
    check<Error>(std::isfinite(d), "a distance of the candidate at z ", z, ", y ", y, ", x ", x, " is ", d,
                 " (expected a finite number). Are the weights damaged, or does the input hold NaN?");
    to.push_back(d < least ? least : d);
  }
}

/// Candidates of dense maps: prob [D, H, W] scores, dist [D, H, W, R], both on the grid.
/// Errors: as check_rule(); ShapeError for maps that do not fit; Error for a score within the border that is
/// not a number, or a distance of a candidate that is not finite.
inline Candidates find_candidates(std::span<const float> prob, std::span<const float> dist,
                                  const std::array<int64_t, 3>& shape, int64_t rays, const CandidateRule& rule) {
  check_rule(rule);
  const int64_t n = shape[0] * shape[1] * shape[2];
  check<ShapeError>(int64_t(prob.size()) == n && int64_t(dist.size()) == n * rays, "candidates: maps of ", prob.size(),
                    " scores and ", dist.size(), " distances (expected ", n, " and ", n * rays, " for ", shape[0], " x ",
                    shape[1], " x ", shape[2], " points and ", rays, " rays)");
  const auto& b = rule.border;
  const auto for_each_point = [&](auto&& f) {  // f(index, z, y, x) of the candidates
    for (int64_t z = b[0][0]; z < shape[0] - b[0][1]; ++z)
      for (int64_t y = b[1][0]; y < shape[1] - b[1][1]; ++y)
        for (int64_t x = b[2][0]; x < shape[2] - b[2][1]; ++x) {
          const int64_t i = (z * shape[1] + y) * shape[2] + x;
          check<Error>(!std::isnan(prob[size_t(i)]), "candidates: the score at z ", z, ", y ", y, ", x ", x, " is not a number");
          if (prob[size_t(i)] > rule.prob_thresh) f(i, z, y, x);
        }
  };
  size_t count = 0;
  for_each_point([&](int64_t, int64_t, int64_t, int64_t) { ++count; });
  Candidates out;
  out.scores.reserve(count);
  out.points.reserve(3 * count);
  out.dist.reserve(count * size_t(rays));
  for_each_point([&](int64_t i, int64_t z, int64_t y, int64_t x) {
    out.scores.push_back(prob[size_t(i)]);
    for (const int64_t c : {z * rule.grid[0], y * rule.grid[1], x * rule.grid[2]}) out.points.push_back(float(c));
    append_distances(out.dist, dist.subspan(size_t(i * rays), size_t(rays)), rule.least_dist, z * rule.grid[0], y * rule.grid[1], x * rule.grid[2]);
  });
  return out;
}

/// Positions in descending order of score; equal scores keep their order: the lower index comes first.
/// Errors: Error for a score that is not a number; UsageError for more than 2^31 - 1 candidates.
inline std::vector<int32_t> descending(std::span<const float> scores) {
  check<UsageError>(scores.size() < (size_t(1) << 31), "suppression: ", scores.size(), " candidates are too many");
  for (size_t i = 0; i < scores.size(); ++i)
    check<Error>(!std::isnan(scores[i]), "suppression: the score of candidate ", i, " is not a number");
  std::vector<int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return scores[size_t(a)] > scores[size_t(b)]; });
  return order;
}

}  // namespace voxgrad::stardist
