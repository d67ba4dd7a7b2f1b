// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What the suppression's fast code computes, written down plainly.

#include <optional>
#include <span>
#include <vector>

#include "voxgrad/stardist/half_spaces.hpp"
#include "voxgrad/stardist/polyhedron.hpp"

namespace voxgrad::stardist {

/// Volume of the intersection of two sets of half-spaces; none unless `from` is strictly inside both.
inline std::optional<double> intersection_volume(std::span<const HalfSpace> a, std::span<const HalfSpace> b,
                                                 const Vec3d& from) {
  std::vector<Vec3d> dual;
  ConvexHull hull;
  if (!dual_points(a, from, dual) || !dual_points(b, from, dual)) return std::nullopt;
  return dual_volume(dual, hull);
}

/// Whether a point is in one of the tetrahedra, faces included: four float32 determinants >= 0 each. What
/// for_each_inside() must find.
inline bool inside_tetrahedra(const Rays& rays, const std::vector<Vec3f>& corners, const Vec3f& centre, const Vec3f& x) {
  for (const auto& [ia, ib, ic] : rays.faces) {
    const Vec3f &a = corners[size_t(ia)], &b = corners[size_t(ib)], &c = corners[size_t(ic)];
    if (tetrahedron_det(a, b, c, x) >= 0 && tetrahedron_det(centre, b, a, x) >= 0 &&
        tetrahedron_det(centre, c, b, x) >= 0 && tetrahedron_det(centre, a, c, x) >= 0)
      return true;
  }
  return false;
}

}  // namespace voxgrad::stardist
