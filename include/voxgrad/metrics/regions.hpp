// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Properties of labelled events: size, position, intensity, shape, all from one pass over the frames.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "voxgrad/data/volume.hpp"
#include "voxgrad/metrics/components.hpp"
#include "voxgrad/metrics/hull_volume.hpp"

namespace voxgrad::metrics {

/// A position (t, y, x) in voxels, 0-based.
using Point = std::array<double, 3>;

inline double distance(const Point& a, const Point& b) {
  const double t = a[0] - b[0], y = a[1] - b[1], x = a[2] - b[2];
  return std::sqrt(t * t + y * y + x * x);
}

/// Marks a property that is not defined; written as an empty cell.
inline constexpr double undefined = std::numeric_limits<double>::quiet_NaN();

/// One event. Features under the definitions and names of the published analysis (reference-pipeline.md 8.4).
struct Region {
  uint32_t label = 0;
  int64_t area = 0;  ///< voxels, over time and space
  Box box;
  Point centroid{};           ///< plain mean position
  Point weighted_centroid{};  ///< weighted by intensity; the plain one where the weights sum to zero or less
  double intensity_mean = undefined, intensity_max = undefined, intensity_min = undefined;
  double score = undefined;                     ///< largest network output inside, where scores were given
  double major = undefined, minor = undefined;  ///< axes from the inertia tensor, voxels
  double aspect = undefined;                    ///< minor / major; undefined for a single voxel
  double spatial_aspect = undefined;            ///< shorter / longer side of the spatial box
  double solidity = undefined;                  ///< voxels / voxels of the convex hull, by set_solidity(); undefined when flat
  /// Sum of intensity inside per frame of the box, divided by the box's area in (y, x).
  std::vector<double> profile;
  double integrated_profile = undefined, max_profile = undefined, std_profile = undefined;
  double nn = undefined,
         spatial_nn = undefined;  ///< distance to the nearest other event in (t,y,x), in (y,x)
  int64_t frequency = 0;          ///< other events within 6 pixels in (y, x)

  int64_t duration() const { return box.size(0); }  ///< frames
};

/// Eigenvalues of a symmetric 3x3 matrix (xx, yy, zz, xy, xz, yz), largest first, by Jacobi rotations.
inline std::array<double, 3> symmetric_eigenvalues(std::array<std::array<double, 3>, 3> m) {
  for (int sweep = 0; sweep < 30; ++sweep)
    for (size_t p = 0; p < 2; ++p)
      for (size_t q = p + 1; q < 3; ++q) {
        if (m[p][q] == 0) continue;
        const double theta = (m[q][q] - m[p][p]) / (2 * m[p][q]);
        const double t = (theta < 0 ? -1 : 1) / (std::abs(theta) + std::sqrt(theta * theta + 1));
        const double c = 1 / std::sqrt(t * t + 1), s = t * c;
        for (size_t k = 0; k < 3; ++k) {  // columns, then rows
          const double a = m[k][p], b = m[k][q];
          m[k][p] = c * a - s * b;
          m[k][q] = s * a + c * b;
        }
        for (size_t k = 0; k < 3; ++k) {
          const double a = m[p][k], b = m[q][k];
          m[p][k] = c * a - s * b;
          m[q][k] = s * a + c * b;
        }
      }
  std::array<double, 3> e{m[0][0], m[1][1], m[2][2]};
  std::sort(e.rbegin(), e.rend());
  return e;
}

/// Sums over the voxels of one label, enough for every feature of Region; sums of two parts add up.
struct RegionSums {
  int64_t area = 0;
  Box box;
  std::array<int64_t, 3> first{};   // sums of t, y, x: exact in integers, so the order does not matter
  std::array<int64_t, 6> second{};  // sums of tt, yy, xx, ty, tx, yx
  std::array<double, 3> weighted{};
  double weight = 0, max = -std::numeric_limits<double>::infinity(),
         min = std::numeric_limits<double>::infinity();
  double score = -std::numeric_limits<double>::infinity();
  std::vector<double> per_frame;  // sums of intensity from frame box.begin[0] on

  void add(int64_t t, int64_t y, int64_t x, double intensity) {
    if (area == 0 || t >= box.end[0]) per_frame.resize(area == 0 ? 1 : size_t(t + 1 - box.begin[0]), 0.0);
    box.add(t, y, x);
    ++area;
    const std::array<int64_t, 3> p{t, y, x};
    for (size_t a = 0; a < 3; ++a) {
      first[a] += p[a];
      second[a] += p[a] * p[a];
      weighted[a] += intensity * double(p[a]);
    }
    second[3] += t * y, second[4] += t * x, second[5] += y * x;
    weight += intensity;
    max = std::max(max, intensity);
    min = std::min(min, intensity);
    per_frame[size_t(t - box.begin[0])] += intensity;
  }

  void add(const RegionSums& o) {
    if (o.area == 0) return;
    const int64_t begin = std::min(box.begin[0], o.box.begin[0]);
    if (area > 0) per_frame.insert(per_frame.begin(), size_t(box.begin[0] - begin), 0.0);
    box.add(o.box);
    per_frame.resize(size_t(box.size(0)), 0.0);
    for (size_t i = 0; i < o.per_frame.size(); ++i)
      per_frame[size_t(o.box.begin[0] - begin) + i] += o.per_frame[i];
    area += o.area;
    for (size_t a = 0; a < 3; ++a) first[a] += o.first[a], weighted[a] += o.weighted[a];
    for (size_t a = 0; a < 6; ++a) second[a] += o.second[a];
    weight += o.weight;
    max = std::max(max, o.max);
    min = std::min(min, o.min);
    score = std::max(score, o.score);
  }
};

/// Axis lengths and aspect from the inertia tensor: its diagonal holds the sum of the other two axes' central
/// second moments over the volume, its off-diagonal the negated covariances.
inline void set_axes(Region& r, const RegionSums& s) {
  const double n = double(s.area);
  const auto covariance = [&](size_t k, size_t a, size_t b) {
    return double(s.second[k]) / n - double(s.first[a]) / n * (double(s.first[b]) / n);
  };
  const double tt = covariance(0, 0, 0), yy = covariance(1, 1, 1), xx = covariance(2, 2, 2);
  const double ty = covariance(3, 0, 1), tx = covariance(4, 0, 2), yx = covariance(5, 1, 2);
  const auto e = symmetric_eigenvalues({{{yy + xx, -ty, -tx}, {-ty, tt + xx, -yx}, {-tx, -yx, tt + yy}}});
  // A flat component's minor axis is zero up to rounding, which must not become the root of a negative
  // number.
  const auto axis = [&](double v) { return v > 1e-9 * std::max(1.0, e[0]) ? std::sqrt(10 * v) : 0.0; };
  r.major = axis(e[0] + e[1] - e[2]);
  r.minor = axis(-e[0] + e[1] + e[2]);
  r.aspect = r.major > 0 ? r.minor / r.major : undefined;
}

inline void set_profile(Region& r, const RegionSums& s) {
  const double plane = double(s.box.size(1) * s.box.size(2)), frames = double(s.per_frame.size());
  r.profile = s.per_frame;
  r.integrated_profile = 0;
  for (double& v : r.profile) r.integrated_profile += v /= plane;
  r.max_profile = *std::max_element(r.profile.begin(), r.profile.end());
  double variance = 0;
  for (double v : r.profile)
    variance += (v - r.integrated_profile / frames) * (v - r.integrated_profile / frames);
  r.std_profile = std::sqrt(variance / frames);
}

/// The features of a region from its sums. s.area > 0.
inline Region make_region(uint32_t label, const RegionSums& s) {
  Region r;
  r.label = label;
  r.area = s.area;
  r.box = s.box;
  for (size_t a = 0; a < 3; ++a) {
    r.centroid[a] = double(s.first[a]) / double(s.area);
    r.weighted_centroid[a] = s.weight > 0 ? s.weighted[a] / s.weight : r.centroid[a];
  }
  r.intensity_mean = s.weight / double(s.area);
  r.intensity_max = s.max;
  r.intensity_min = s.min;
  if (std::isfinite(s.score)) r.score = s.score;
  const int64_t height = s.box.size(1), width = s.box.size(2);
  r.spatial_aspect = double(std::min(height, width)) / double(std::max(height, width));
  set_axes(r, s);
  set_profile(r, s);
  return r;
}

/// Collects the sums frame by frame, under the provisional labels of a ComponentLabeler or final ones.
class RegionCollector {
 public:
  /// labels, intensity and, if there are any, scores are [H,W] of frame t. Frames come in increasing order.
  template <class L, class I>
  void add_frame(int64_t t, int64_t height, int64_t width, const L* labels, const I* intensity,
                 const float* scores = nullptr) {
    for (int64_t y = 0; y < height; ++y)
      for (int64_t x = 0; x < width; ++x) {
        const int64_t i = y * width + x;
        if (labels[i] == 0) continue;
        if (size_t(labels[i]) >= sums_.size()) sums_.resize(size_t(labels[i]) + 1);
        RegionSums& s = sums_[size_t(labels[i])];
        s.add(t, y, x, double(intensity[i]));
        if (scores) s.score = std::max(s.score, double(scores[i]));
      }
  }

  /// Regions in order of the final label map[l]; labels mapped to 0 are dropped.
  std::vector<Region> finish(const std::vector<uint32_t>& map) {
    std::vector<RegionSums> merged(map.empty() ? 1 : size_t(*std::max_element(map.begin(), map.end())) + 1);
    for (size_t l = 1; l < sums_.size(); ++l)
      if (map[l] != 0) merged[map[l]].add(sums_[l]);
    return regions_of(merged);
  }
  /// Regions of labels that are final already.
  std::vector<Region> finish() const { return regions_of(sums_); }

 private:
  static std::vector<Region> regions_of(const std::vector<RegionSums>& sums) {
    std::vector<Region> regions;
    for (size_t l = 1; l < sums.size(); ++l)
      if (sums[l].area > 0) regions.push_back(make_region(uint32_t(l), sums[l]));
    return regions;
  }

  std::vector<RegionSums> sums_;
};

/// Regions of a labelled movie, measured on `intensity` of the same extent.
template <class I>
std::vector<Region> measure_regions(const Volume<uint32_t>& labels, const Volume<I>& intensity) {
  check<ShapeError>(labels.extent == intensity.extent, "regions: labels are ", labels.extent[0], "x",
                    labels.extent[1], "x", labels.extent[2], ", intensity is ", intensity.extent[0], "x",
                    intensity.extent[1], "x", intensity.extent[2]);
  RegionCollector collector;
  for (int64_t t = 0; t < labels.extent[0]; ++t)
    collector.add_frame(t, labels.extent[1], labels.extent[2], labels.frame(t), intensity.frame(t));
  return collector.finish();
}

/// Drops regions whose box is smaller than `minimum` on any axis; labels stay.
inline void drop_small(std::vector<Region>& regions, const Extent3& minimum) {
  regions.erase(std::remove_if(regions.begin(), regions.end(),
                               [&](const Region& r) { return !r.box.at_least(minimum); }),
                regions.end());
}

/// Fills nn, spatial_nn and frequency from the weighted centroids of the other regions of the same movie.
/// A lone event gets distance 0, as published, and frequency 0.
inline void set_neighbours(std::vector<Region>& regions, double radius = 6) {
  for (Region& r : regions) {
    r.nn = r.spatial_nn = regions.size() > 1 ? std::numeric_limits<double>::infinity() : 0;
    r.frequency = 0;
    for (const Region& o : regions) {
      if (&o == &r) continue;
      const double spatial = std::hypot(o.weighted_centroid[1] - r.weighted_centroid[1],
                                        o.weighted_centroid[2] - r.weighted_centroid[2]);
      r.nn = std::min(r.nn, distance(o.weighted_centroid, r.weighted_centroid));
      r.spatial_nn = std::min(r.spatial_nn, spatial);
      r.frequency += spatial < radius;
    }
  }
}

/// Solidity of each region from its rows of voxels, rows[i] being those of regions[i] in any order and in pieces.
inline void set_solidity(std::vector<Region>& regions, const std::vector<std::vector<VoxelRow>>& rows) {
  for (size_t i = 0; i < regions.size(); ++i)
    if (const int64_t hull = hull_volume(rows.at(i)); hull > 0)
      regions[i].solidity = double(regions[i].area) / double(hull);
}

/// Positions of regions: weighted centroids (evaluation) or plain ones (detection threshold).
inline std::vector<Point> centroids(const std::vector<Region>& regions, bool weighted = true) {
  std::vector<Point> points;
  for (const Region& r : regions) points.push_back(weighted ? r.weighted_centroid : r.centroid);
  return points;
}

}  // namespace voxgrad::metrics
