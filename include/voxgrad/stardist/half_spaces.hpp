// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Kernel and convex hull of a polyhedron as half-spaces, and volumes of their intersections.

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>
#include <vector>

#include "voxgrad/stardist/convex_hull.hpp"
#include "voxgrad/stardist/rays.hpp"

namespace voxgrad::stardist {

/// The points x with n . x + offset <= 0, voxel coordinates.
struct HalfSpace {
  Vec3d n;
  double offset;
};

inline bool inside(std::span<const HalfSpace> all, const Vec3d& x, double tolerance = 0) {
  for (const HalfSpace& h : all)
    if (h.n[0] * x[0] + h.n[1] * x[1] + h.n[2] * x[2] + h.offset > tolerance) return false;
  return true;
}

/// The half-space behind each triangle; their intersection sees the whole surface. Normals (not of length 1) and
/// offsets are computed in float32, as in the Python package. Appends.
inline void kernel_half_spaces(const Rays& rays, const std::vector<Vec3f>& corners, std::vector<HalfSpace>& out) {
  for (const auto& [ia, ib, ic] : rays.faces) {
    const Vec3f &a = corners[size_t(ia)], &b = corners[size_t(ib)], &c = corners[size_t(ic)];
    const float pz = b[0] - a[0], py = b[1] - a[1], px = b[2] - a[2];
    const float qz = c[0] - a[0], qy = c[1] - a[1], qx = c[2] - a[2];
    const float nz = -(py * qx - px * qy), ny = -(px * qz - pz * qx), nx = -(pz * qy - py * qz);
    out.push_back({{double(nz), double(ny), double(nx)}, double(-(a[0] * nz + a[1] * ny + a[2] * nx))});
  }
}

/// Half-spaces of the convex hull, normals of length 1. Appends; false (nothing appended) when the corners have no
/// volume. Every corner lies inside or on all of them.
inline bool hull_half_spaces(const std::vector<Vec3f>& corners, const Vec3f& centre, ConvexHull& hull,
                             std::vector<HalfSpace>& out) {
  std::vector<Vec3d> points;
  points.reserve(corners.size());
  for (const Vec3f& c : corners)
    points.push_back({double(c[0]) - double(centre[0]), double(c[1]) - double(centre[1]), double(c[2]) - double(centre[2])});
  if (!hull.build(points)) return false;
  hull.for_each([&](const ConvexHull::Facet& f) {
    const Vec3d &a = points[size_t(f.v[0])], &b = points[size_t(f.v[1])], &c = points[size_t(f.v[2])];
    double most = std::max({dot(f.n, a), dot(f.n, b), dot(f.n, c)});
    const Vec3d u = difference(b, a), v = difference(c, a), n = cross(u, v);
    if (dot(n, n) < 1e-8 * (dot(u, u) + dot(v, v)) * (dot(u, u) + dot(v, v)))  // a sliver's normal is inexact
      for (const Vec3d& p : points) most = std::max(most, dot(f.n, p));
    out.push_back({f.n, -most - f.n[0] * double(centre[0]) - f.n[1] * double(centre[1]) - f.n[2] * double(centre[2])});
  });
  return true;
}

/// The planes seen from a point: plane k at distance d along its unit normal u becomes the point u / d. The hull of
/// these is dual to the intersection of the half-spaces. False unless the point is strictly inside all. Appends.
inline bool dual_points(std::span<const HalfSpace> all, const Vec3d& from, std::vector<Vec3d>& out) {
  for (const HalfSpace& h : all) {
    const double d = -(h.offset + h.n[0] * from[0] + h.n[1] * from[1] + h.n[2] * from[2]);
    if (!(d > 0)) return false;
    const double inverse = 1 / d;
    const Vec3d p{h.n[0] * inverse, h.n[1] * inverse, h.n[2] * inverse};
    if (!(std::isfinite(p[0]) && std::isfinite(p[1]) && std::isfinite(p[2]))) return false;
    out.push_back(p);
  }
  return true;
}

/// Volume of the intersection whose dual points these are; none when it is unbounded or no hull was found.
/// Facets of the dual hull are its corners, and edges of the dual hull its edges. Each directed edge a -> b between
/// facets f and g adds the tetrahedron from the origin over the foot of face a and the two corners.
inline std::optional<double> dual_volume(const std::vector<Vec3d>& dual, ConvexHull& hull) {
  if (!hull.build(dual)) return std::nullopt;
  bool bounded = true;
  double six = 0;
  const auto corner = [](const ConvexHull::Facet& f) {
    return Vec3d{f.n[0] / -f.offset, f.n[1] / -f.offset, f.n[2] / -f.offset};
  };
  hull.for_each([&](const ConvexHull::Facet& f) {
    bounded = bounded && f.offset < 0;
    const Vec3d here = corner(f);
    for (size_t e = 0; e < 3; ++e) {
      const Vec3d& p = dual[size_t(f.v[e])];
      const double square = dot(p, p);
      const Vec3d foot{p[0] / square, p[1] / square, p[2] / square};
      six += determinant(foot, corner(hull.facet(f.next[e])), here);
    }
  });
  if (!bounded || !std::isfinite(six)) return std::nullopt;
  return std::abs(six) / 6;
}

}  // namespace voxgrad::stardist
