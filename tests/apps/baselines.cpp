// SPDX-License-Identifier: BSD-3-Clause
// Detectors without a network: on a movie where the right answer is known.

#include "common/baselines.hpp"

#include "catch.hpp"
#include "voxgrad/core/random.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

/// 40 x 24 x 24, quiet level 0 with noise of 0.05, blocks of brightness 0.82 at the given places.
JudgedMovie movie_with(const std::vector<data::Extent3>& places) {
  JudgedMovie m{data::Volume<float>(data::Extent3{40, 24, 24}), {}};
  Random random(3);
  for (float& v : m.movie.voxels) v = float(0.05 * (random.uniform() - 0.5));
  for (const data::Extent3& p : places) {
    for (int64_t t = p[0]; t < p[0] + 4; ++t)
      for (int64_t y = p[1]; y < p[1] + 5; ++y)
        for (int64_t x = p[2]; x < p[2] + 5; ++x) m.movie.frame(t)[y * 24 + x] += 0.82f;
    m.truth.push_back({double(p[0]) + 1.5, double(p[1]) + 2, double(p[2]) + 2});
  }
  return m;
}

}  // namespace

TEST_CASE("baselines: an intensity threshold finds blocks, misses above them, drowns below the noise") {
  const std::vector<JudgedMovie> movies = {movie_with({{5, 3, 3}, {20, 14, 12}}), movie_with({{30, 8, 8}})};
  const metrics::DetectionScores right = judge<IntensityThreshold>(movies, 0.5);
  CHECK(right.tp == 3);
  CHECK(right.fp == 0);
  CHECK(right.fn == 0);
  const metrics::DetectionScores high = judge<IntensityThreshold>(movies, 0.9);
  CHECK(high.tp == 0);
  CHECK(high.fn == 3);
  CHECK(judge<IntensityThreshold>(movies, 0.0).f1() < 0.9);
  const double level = tune<IntensityThreshold>(movies);
  CHECK(judge<IntensityThreshold>(movies, level).f1() == Approx(1).epsilon(1e-5));
  CHECK(level == Approx(0.05));  // the first of the equally good ones
}

TEST_CASE("baselines: the rule per pixel finds blocks that rise from a quiet level") {
  const std::vector<JudgedMovie> movies = {movie_with({{5, 3, 3}, {20, 14, 12}})};
  const double k = tune<IntensityRule>(movies);
  CHECK(judge<IntensityRule>(movies, k).tp == 2);
  CHECK(judge<IntensityRule>(movies, k).fn == 0);
}

TEST_CASE("baselines: a component that is too small, or too far from the truth, is no hit") {
  JudgedMovie m = movie_with({});
  m.truth = {{10, 10, 10}};
  m.movie.frame(10)[10 * 24 + 10] = 5;  // one voxel
  CHECK(judge<IntensityThreshold>({m}, 0.5).fn == 1);
  CHECK(judge<IntensityThreshold>({m}, 0.5).fp == 0);
  m = movie_with({{5, 3, 3}});
  m.truth[0][2] += 6.5;
  CHECK(judge<IntensityThreshold>({m}, 0.5).fp == 1);
  m.truth[0][2] -= 1;
  CHECK(judge<IntensityThreshold>({m}, 0.5).tp == 1);
}
