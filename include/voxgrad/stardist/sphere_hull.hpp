// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Convex hull of points on the unit sphere, which is their Delaunay triangulation there.

#include <array>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "voxgrad/core/error.hpp"

namespace voxgrad::stardist {

using Vec3d = std::array<double, 3>;      ///< in order z, y, x
using Triangle = std::array<int32_t, 3>;  ///< indices of three vertices

/// Determinant of the matrix with rows a, b, c.
inline double determinant(const Vec3d& a, const Vec3d& b, const Vec3d& c) {
  return a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0]);
}

/// Six times the volume of the tetrahedron a, b, c, p; negative when p lies beyond a triangle of a hull made here.
/// Coordinates of unit vectors are exact in double and so are most of their differences in long double.
inline long double side_of(const Vec3d& a, const Vec3d& b, const Vec3d& c, const Vec3d& p) {
  std::array<std::array<long double, 3>, 3> r;
  for (size_t i = 0; i < 3; ++i)
    r[0][i] = (long double)b[i] - a[i], r[1][i] = (long double)c[i] - a[i], r[2][i] = (long double)p[i] - a[i];
  return r[0][0] * (r[1][1] * r[2][2] - r[1][2] * r[2][1]) - r[0][1] * (r[1][0] * r[2][2] - r[1][2] * r[2][0]) +
         r[0][2] * (r[1][0] * r[2][1] - r[1][1] * r[2][0]);
}

/// The 2n - 4 triangles of the hull of n >= 4 points on a sphere around 0, of which `first` are four that span a
/// tetrahedron. Each is turned so that its determinant is negative and starts with its smallest index; rows are sorted.
/// Points are added one by one: the triangles that see a point give way to a fan around it. O(n^2).
/// Errors: Error when points coincide or four lie on one circle, so that a hull would not be all triangles.
inline std::vector<Triangle> sphere_hull(const std::vector<Vec3d>& points, std::array<int32_t, 4> first) {
  const auto at = [&](int32_t i) -> const Vec3d& { return points[size_t(i)]; };
  if (side_of(at(first[0]), at(first[1]), at(first[2]), at(first[3])) > 0) std::swap(first[1], first[2]);
  const auto [a, b, c, d] = first;  // d lies beyond a, b, c: turned round, that is a side of the tetrahedron
  std::vector<Triangle> hull{{a, c, b}, {a, b, d}, {b, c, d}, {c, a, d}};
  for (int32_t p = 0; p < int32_t(points.size()); ++p) {
    if (p == a || p == b || p == c || p == d) continue;
    std::set<std::pair<int32_t, int32_t>> edges;  // of the triangles that p sees, in their direction
    size_t kept = 0;
    for (const Triangle& t : hull) {
      if (side_of(at(t[0]), at(t[1]), at(t[2]), at(p)) >= 0) {
        hull[kept++] = t;
        continue;
      }
      for (size_t k = 0; k < 3; ++k) edges.emplace(t[k], t[(k + 1) % 3]);
    }
    check<Error>(!edges.empty(), "hull: point ", p, " lies in a triangle of the others");
    hull.resize(kept);
    for (const auto& [from, to] : edges)
      if (edges.count({to, from}) == 0) hull.push_back({from, to, p});
  }
  check<Error>(hull.size() == 2 * points.size() - 4, "hull: ", points.size(), " points gave ", hull.size(),
               " triangles, expected ", 2 * points.size() - 4, ": some coincide or lie on one circle");
  for (Triangle& t : hull)
    while (t[0] > t[1] || t[0] > t[2]) t = {t[1], t[2], t[0]};
  std::set<Triangle> sorted(hull.begin(), hull.end());
  return {sorted.begin(), sorted.end()};
}

}  // namespace voxgrad::stardist
