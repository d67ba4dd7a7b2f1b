// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Size, box and spheres of a star-convex polyhedron, in float32 with the order of operations of the Python package:
// suppression compares these numbers with thresholds, so its decisions depend on their last bit. (Processors whose
// compiler fuses multiply and add by default, as on ARM, may differ in that bit.)

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/stardist/rays.hpp"

namespace voxgrad::stardist {

/// N polyhedra that share their rays. The memory belongs to the caller.
struct Polyhedra {
  const Rays* rays = nullptr;
  std::span<const float> dist;    ///< [N, R] voxels
  std::span<const float> points;  ///< [N, 3] centres z, y, x in voxels

  int64_t size() const { return int64_t(points.size()) / 3; }
  const float* distances(int64_t i) const { return dist.data() + i * rays->size(); }
  Vec3f centre(int64_t i) const { return {points[size_t(3 * i)], points[size_t(3 * i + 1)], points[size_t(3 * i + 2)]}; }
};

inline constexpr float farthest_voxel = 4e5f;  ///< no centre and no distance reaches this; boxes fit 32 bits, their voxels 64

/// Errors: UsageError for fewer than four rays; ShapeError for lists that do not fit; Error for a centre that is no
/// position and a distance that is not above 0 or not finite, both named by their index.
inline void check_polyhedra(const Polyhedra& p, const char* who) {
  check<UsageError>(p.rays != nullptr && p.rays->size() >= 4 && !p.rays->faces.empty(), who, ": ",
                    p.rays ? p.rays->size() : 0, " rays (a polyhedron has at least 4)");
  const int64_t n = p.size(), rays = p.rays->size();
  for (const Triangle& t : p.rays->faces)
    for (const int32_t v : t)
      check<UsageError>(v >= 0 && v < rays, who, ": a face names ray ", v, " (there are ", rays, ", counted from 0)");
  check<ShapeError>(int64_t(p.points.size()) == 3 * n, who, ": ", p.points.size(), " coordinates (expected 3 per centre)");
  check<ShapeError>(int64_t(p.dist.size()) == n * rays, who, ": ", p.dist.size(), " distances for ", n, " centres and ",
                    rays, " rays (expected ", n * rays, ")");
  for (int64_t i = 0; i < 3 * n; ++i)
    check<Error>(std::abs(p.points[size_t(i)]) < farthest_voxel, who, ": centre ", i / 3, " is at ", p.points[size_t(i)],
                 " (expected a number of voxels)");
  for (int64_t i = 0; i < n; ++i) {
    const float* d = p.distances(i);
    bool good = true;
    for (int64_t r = 0; r < rays; ++r) good &= d[r] > 0 && d[r] < farthest_voxel;
    for (int64_t r = 0; !good && r < rays; ++r)
      check<Error>(d[r] > 0 && d[r] < farthest_voxel, who, ": polyhedron ", i, ", ray ", r, ": distance ", d[r],
                   " (expected above 0 and below ", farthest_voxel, "). Clip predicted distances from below, 0.001 is usual.");
  }
}

/// Inclusive bounds in whole voxels; hi may be below lo (nothing, or everything at negative coordinates).
struct Box {
  std::array<int32_t, 3> lo, hi;
  int64_t extent(size_t axis) const { return std::max<int64_t>(0, int64_t(hi[axis]) - lo[axis] + 1); }
  int64_t voxels() const { return extent(0) * extent(1) * extent(2); }
};

inline Box intersection(const Box& a, const Box& b) {
  Box out;
  for (size_t k = 0; k < 3; ++k) out.lo[k] = std::max(a.lo[k], b.lo[k]), out.hi[k] = std::min(a.hi[k], b.hi[k]);
  return out;
}

/// Vertices centre + d * ray. [R]
inline void corners(const Rays& rays, const float* dist, const Vec3f& centre, std::vector<Vec3f>& out) {
  out.resize(rays.vertices.size());
  for (size_t r = 0; r < out.size(); ++r)
    for (size_t k = 0; k < 3; ++k) out[r][k] = centre[k] + dist[r] * rays.vertices[r][k];
}

/// Vertices of all polyhedra, [N, R, 3] voxels.
inline std::vector<float> dist_to_coord(const Polyhedra& p) {
  check_polyhedra(p, "dist_to_coord");
  std::vector<float> out;
  std::vector<Vec3f> one;
  for (int64_t i = 0; i < p.size(); ++i) {
    corners(*p.rays, p.distances(i), p.centre(i), one);
    for (const Vec3f& v : one) out.insert(out.end(), v.begin(), v.end());
  }
  return out;
}

/// Vertices rounded half to even. The upper bounds start from -1, as in the package.
inline Box bounding_box(const Rays& rays, const float* dist, const Vec3f& centre) {
  Box box;
  for (size_t k = 0; k < 3; ++k) {
    float lo = std::numeric_limits<float>::max(), hi = -1;
    for (size_t r = 0; r < rays.vertices.size(); ++r) {
      const float v = centre[k] + dist[r] * rays.vertices[r][k];
      lo = v < lo ? v : lo;
      hi = v > hi ? v : hi;
    }
    box.lo[k] = int32_t(std::lrint(lo));  // rounding keeps order: the rounded minimum is the minimum of the rounded
    box.hi[k] = int32_t(std::lrint(hi));
  }
  return box;
}

/// Six times the signed volume of the tetrahedron a, b, c, p: the rows of the determinant are b - a, c - a, p - a.
inline float tetrahedron_det(const Vec3f& a, const Vec3f& b, const Vec3f& c, const Vec3f& p) {
  const float b0 = b[0] - a[0], b1 = b[1] - a[1], b2 = b[2] - a[2];
  const float c0 = c[0] - a[0], c1 = c[1] - a[1], c2 = c[2] - a[2];
  const float p0 = p[0] - a[0], p1 = p[1] - a[1], p2 = p[2] - a[2];
  return b0 * (c1 * p2 - p1 * c2) - b1 * (c0 * p2 - c2 * p0) + b2 * (c0 * p1 - c1 * p0);
}

/// Corners without the centre, in the stretched space that `scale` spans. [R]
inline void scaled_corners(const Rays& rays, const float* dist, const Vec3f& scale, std::vector<Vec3f>& out) {
  out.resize(rays.vertices.size());
  for (size_t r = 0; r < out.size(); ++r)
    for (size_t k = 0; k < 3; ++k) out[r][k] = scale[k] * dist[r] * rays.vertices[r][k];
}

/// Volume, voxel^3. relative: corners without the centre (scale 1).
inline float polyhedron_volume(const Rays& rays, const std::vector<Vec3f>& relative) {
  float sum = 0;
  for (const auto& [a, b, c] : rays.faces)
    sum += tetrahedron_det(relative[size_t(a)], relative[size_t(b)], relative[size_t(c)], {0, 0, 0}) / 6.f;
  return sum;
}

/// Centre of mass of the polyhedron; 0 when it has no volume. relative: corners without the centre.
inline Vec3f polyhedron_centroid(const Rays& rays, const std::vector<Vec3f>& relative) {
  double sum = 0;
  Vec3d moment{0, 0, 0};
  for (const auto& [a, b, c] : rays.faces) {
    const Vec3f &p = relative[size_t(a)], &q = relative[size_t(b)], &r = relative[size_t(c)];
    const double part = double(tetrahedron_det(p, q, r, {0, 0, 0})) / 6;
    sum += part;
    for (size_t k = 0; k < 3; ++k) moment[k] += 0.25 * (double(p[k]) + double(q[k]) + double(r[k])) * part;
  }
  if (!(sum > 1e-10)) return {0, 0, 0};
  return {float(moment[0] / sum), float(moment[1] / sum), float(moment[2] / sum)};
}

/// Largest distance: the polyhedron lies in this sphere if rays have length 1.
inline float outer_radius(const Rays& rays, const float* dist) {
  return *std::max_element(dist, dist + rays.size());
}

/// Largest distance of a corner from the centre. relative: corners without the centre, stretched or not.
inline float outer_radius(const std::vector<Vec3f>& relative) {
  float most = 0;
  for (const Vec3f& v : relative) {
    const float square = v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
    most = square > most ? square : most;
  }
  return std::sqrt(most);
}

/// Smallest distance of a triangle's plane from the centre: this sphere lies in the polyhedron.
inline float inner_radius(const Rays& rays, const std::vector<Vec3f>& relative) {
  float least = std::numeric_limits<float>::infinity();
  for (const auto& [ia, ib, ic] : rays.faces) {
    const Vec3f &a = relative[size_t(ia)], &b = relative[size_t(ib)], &c = relative[size_t(ic)];
    const float pz = b[0] - a[0], py = b[1] - a[1], px = b[2] - a[2];
    const float qz = c[0] - a[0], qy = c[1] - a[1], qx = c[2] - a[2];
    float nz = px * qy - py * qx, ny = pz * qx - px * qz, nx = py * qz - pz * qy;
    const float unit = float(1.0 / (double(std::sqrt(nz * nz + ny * ny + nx * nx)) + 1e-10));
    nz *= unit, ny *= unit, nx *= unit;
    const float r = a[0] * nz + a[1] * ny + a[2] * nx;
    least = std::fmin(least, r);
  }
  return least;
}

}  // namespace voxgrad::stardist
