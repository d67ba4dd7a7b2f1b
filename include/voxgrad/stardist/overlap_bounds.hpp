// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Cheap bounds of the volume that two polyhedra share. Spheres and boxes are the Python package's, in its precision;
// the bound along rays is exact mathematics with a margin for rounding, so that it can only save work.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numbers>
#include <vector>

#include "voxgrad/stardist/half_spaces.hpp"
#include "voxgrad/stardist/polyhedron.hpp"

namespace voxgrad::stardist {

/// Volume shared by two spheres of radii r1, r2 in the space stretched by `scale`, in voxel^3. When one contains the
/// other, the package forgets to divide by the stretch, which makes the value too large; `corrected` divides.
inline float shared_spheres(float r1, const Vec3f& c1, float r2, const Vec3f& c2, const Vec3f& scale, bool corrected) {
  const float dz = scale[0] * (c1[0] - c2[0]), dy = scale[1] * (c1[1] - c2[1]), dx = scale[2] * (c1[2] - c2[2]);
  const float d = std::sqrt(dz * dz + dy * dy + dx * dx);
  const float least = std::fmin(r1, r2), most = std::fmax(r1, r2), stretch = scale[0] * scale[1] * scale[2];
  constexpr double pi = std::numbers::pi;
  if (d > r1 + r2) return 0;
  if (double(most) >= double(d + least) - 1e-10) {
    const float whole = float(pi * 4. / 3 * double(least) * double(least) * double(least));
    return corrected ? whole / stretch : whole;
  }
  const float t = (r1 + r2 - d) / 2 / d;
  const float h1 = (r2 - r1 + d) * t, h2 = (r1 - r2 + d) * t;
  const float v1 = float(pi / 3 * double(h1) * double(h1) * double(3 * r1 - h1));
  const float v2 = float(pi / 3 * double(h2) * double(h2) * double(3 * r2 - h2));
  return (v1 + v2) / stretch;
}

/// Volume shared by two boxes, voxel^3, edges measured from bound to bound: 0 for boxes one voxel thick.
inline float shared_boxes(const Box& a, const Box& b) {
  float volume = 1;
  for (size_t k = 3; k-- > 0;) {
    const int64_t width = int64_t(std::min(a.hi[k], b.hi[k])) - std::max(a.lo[k], b.lo[k]);
    volume *= width > 0 ? float(width) : 0.f;
  }
  return volume;
}

/// Lower bound of the volume of an intersection of half-spaces: how far it reaches from an inner point along fixed
/// directions spans a polyhedron that lies in it. Directions are those of a divided octahedron (18 or 66), made
/// shorter where objects are short.
template <size_t directions, int64_t level>
class InnerVolume {
 public:
  explicit InnerVolume(const Vec3f& scale) {
    const Rays rays = make_rays(Octo{level});
    for (size_t r = 0; r < directions; ++r)
      for (size_t k = 0; k < 3; ++k) {
        const float s = std::isfinite(scale[k]) && scale[k] > 0 ? std::min(scale[k], 100.f) : 1.f;
        unit_[k][r] = (r < rays.vertices.size() ? rays.vertices[r][k] : rays.vertices[0][k]) / s;
      }
    const auto at = [&](int32_t r) {
      return Vec3d{double(unit_[0][size_t(r)]), double(unit_[1][size_t(r)]), double(unit_[2][size_t(r)])};
    };
    for (const auto& [a, b, c] : rays.faces) parts_.push_back({{a, b, c}, std::abs(determinant(at(a), at(b), at(c))) / 6});
  }

  /// dual: of all planes, from dual_points(). At least one in ten thousand below the volume. nearest: the planes that
  /// end the directions; the intersection of their half-spaces alone is larger than that of all.
  double operator()(const std::vector<Vec3d>& dual, std::vector<Vec3d>* nearest = nullptr) const {
    alignas(16) float most[directions];
    alignas(16) int32_t which[directions];
    for (size_t r = 0; r < directions; r += 8) reach(dual, r, most + r, which + r);
    if (nearest) {
      std::sort(which, which + directions);
      nearest->clear();
      const int32_t* end = std::unique(which, which + directions);
      for (const int32_t* k = which; k != end; ++k) nearest->push_back(dual[size_t(*k)]);
    }
    double sum = 0;
    for (const float m : most)
      if (!(m > 0 && m < 1e30f)) return 0;  // unbounded along this direction, or no number
    for (const Part& part : parts_)
      sum += part.volume / (double(most[part.corners[0]]) * double(most[part.corners[1]]) * double(most[part.corners[2]]));
    return std::isfinite(sum) ? sum * (1 - 1e-4) : 0;
  }

 private:
  using Four = float __attribute__((vector_size(16)));
  using FourInt = int32_t __attribute__((vector_size(16)));

  // For eight directions, the plane that ends them: its dual point reaches farthest.
  void reach(const std::vector<Vec3d>& dual, size_t r, float* most, int32_t* which) const {
    Four u[2][3], far[2] = {};
    FourInt index[2] = {};
    for (size_t h = 0; h < 2; ++h)
      for (size_t k = 0; k < 3; ++k) std::memcpy(&u[h][k], &unit_[k][r + 4 * h], sizeof(Four));
    for (int32_t i = 0; i < int32_t(dual.size()); ++i) {
      const Vec3d& p = dual[size_t(i)];
      const float z = float(p[0]), y = float(p[1]), x = float(p[2]);
      for (size_t h = 0; h < 2; ++h) {
        const Four s = z * u[h][0] + y * u[h][1] + x * u[h][2];
        const FourInt farther = s > far[h];
        far[h] = Four((FourInt(s) & farther) | (FourInt(far[h]) & ~farther));
        index[h] = (FourInt{i, i, i, i} & farther) | (index[h] & ~farther);
      }
    }
    std::memcpy(most, far, sizeof far);
    std::memcpy(which, index, sizeof index);
  }

  struct Part {
    Triangle corners;
    double volume;
  };
  alignas(64) std::array<std::array<float, directions>, 3> unit_;
  std::vector<Part> parts_;
};

using CoarseInnerVolume = InnerVolume<24, 2>;  // 18 and 66 directions, filled up to pairs of vectors
using FineInnerVolume = InnerVolume<72, 3>;

}  // namespace voxgrad::stardist
