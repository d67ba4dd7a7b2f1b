// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The voxel centres inside a star-convex polyhedron: those in any of the tetrahedra between its centre and a triangle.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "voxgrad/stardist/polyhedron.hpp"

namespace voxgrad::stardist {

/// The side of the plane through a, b, c on which points of one image row lie: tetrahedron_det with the same
/// operations in the same order, those that do not depend on x done once.
struct RowSide {
  float ax, b0, b1, c0, c1, p1c2, c2p0, last;

  RowSide(const Vec3f& a, const Vec3f& b, const Vec3f& c, float z, float y) : ax(a[2]) {
    const float b2 = b[2] - a[2], c2 = c[2] - a[2], p0 = z - a[0], p1 = y - a[1];
    b0 = b[0] - a[0], b1 = b[1] - a[1], c0 = c[0] - a[0], c1 = c[1] - a[1];
    p1c2 = p1 * c2, c2p0 = c2 * p0;
    last = b2 * (c0 * p1 - c1 * p0);
  }
  template <class T>  // float, or several of them
  T operator()(T x) const {
    const T p2 = x - ax;
    return b0 * (c1 * p2 - p1c2) - b1 * (c0 * p2 - c2p0) + last;
  }
};

/// Bounds of the points that can pass the test of one tetrahedron, within `clip`. Rounding lets points pass that are
/// outside by about 1e-6 of their distance over the sine of an angle between faces; needles are not bounded at all.
inline Box tetrahedron_box(const Vec3f& a, const Vec3f& b, const Vec3f& c, const Vec3f& centre, const Box& clip) {
  float lengths[3];
  const Vec3f* tips[3] = {&a, &b, &c};
  for (size_t i = 0; i < 3; ++i) {
    const float dz = (*tips[i])[0] - centre[0], dy = (*tips[i])[1] - centre[1], dx = (*tips[i])[2] - centre[2];
    lengths[i] = std::sqrt(dz * dz + dy * dy + dx * dx);
  }
  const auto [least, most] = std::minmax({lengths[0], lengths[1], lengths[2]});
  if (!(least > 0.1f * most)) return clip;
  const float margin = 0.05f + 0.002f * most;
  Box box;
  for (size_t k = 0; k < 3; ++k) {
    const float lo = std::min(std::min(a[k], b[k]), std::min(c[k], centre[k])) - margin;
    const float hi = std::max(std::max(a[k], b[k]), std::max(c[k], centre[k])) + margin;
    box.lo[k] = std::max(clip.lo[k], int32_t(std::ceil(lo)));
    box.hi[k] = std::min(clip.hi[k], int32_t(std::floor(hi)));
  }
  return box;
}

/// Calls f(z, y, x, depth) for voxels of `clip` inside a tetrahedron; once or a few times each. depth: distance to
/// the plane of the outer triangle, voxels.
template <class F>
void for_each_inside(const Rays& rays, const std::vector<Vec3f>& corners, const Vec3f& centre, const Box& clip, F&& f) {
  using Four = float __attribute__((vector_size(16)));
  using FourInt = int32_t __attribute__((vector_size(16)));
  if (clip.voxels() == 0) return;
  for (const auto& [ia, ib, ic] : rays.faces) {
    const Vec3f &a = corners[size_t(ia)], &b = corners[size_t(ib)], &c = corners[size_t(ic)];
    const Box box = tetrahedron_box(a, b, c, centre, clip);
    if (box.voxels() == 0) continue;
    const Vec3d u{double(b[0] - a[0]), double(b[1] - a[1]), double(b[2] - a[2])};
    const Vec3d v{double(c[0] - a[0]), double(c[1] - a[1]), double(c[2] - a[2])};
    const Vec3d n{u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]};
    const float per_distance = float(1 / (std::sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]) + 1e-30));
    for (int32_t z = box.lo[0]; z <= box.hi[0]; ++z)
      for (int32_t y = box.lo[1]; y <= box.hi[1]; ++y) {
        const float fz = float(z), fy = float(y);
        const RowSide outer(a, b, c, fz, fy), ab(centre, b, a, fz, fy), bc(centre, c, b, fz, fy), ca(centre, a, c, fz, fy);
        for (int32_t x = box.lo[2]; x <= box.hi[2]; x += 4) {
          const Four fx = float(x) + Four{0, 1, 2, 3}, depth = outer(fx);
          const FourInt in = (ab(fx) >= 0) & (bc(fx) >= 0) & (ca(fx) >= 0) & (depth >= 0);
          if ((in[0] | in[1] | in[2] | in[3]) == 0) continue;
          for (int32_t k = 0; k < 4 && x + k <= box.hi[2]; ++k)
            if (in[k] != 0) f(z, y, x + k, depth[k] * per_distance);
        }
      }
  }
}

/// One byte per voxel of a box, 1 inside the polyhedron. Row-major.
struct Mask {
  Box box;
  std::vector<uint8_t> inside;

  size_t at(int32_t z, int32_t y, int32_t x) const {
    return size_t((int64_t(z - box.lo[0]) * box.extent(1) + (y - box.lo[1])) * box.extent(2) + (x - box.lo[2]));
  }
  int64_t count() const { return std::count(inside.begin(), inside.end(), uint8_t(1)); }
};

inline Mask polyhedron_mask(const Rays& rays, const std::vector<Vec3f>& corners, const Vec3f& centre, const Box& box) {
  Mask mask{box, std::vector<uint8_t>(size_t(box.voxels()), 0)};
  for_each_inside(rays, corners, centre, box,
                  [&](int32_t z, int32_t y, int32_t x, float) { mask.inside[mask.at(z, y, x)] = 1; });
  return mask;
}

/// Number of voxels of `mask` that are inside the polyhedron as well. seen: scratch.
inline int64_t count_shared(const Mask& mask, const Rays& rays, const std::vector<Vec3f>& corners, const Vec3f& centre,
                            std::vector<uint8_t>& seen) {
  seen = mask.inside;
  int64_t count = 0;
  for_each_inside(rays, corners, centre, mask.box, [&](int32_t z, int32_t y, int32_t x, float) {
    uint8_t& s = seen[mask.at(z, y, x)];
    count += s;
    s = 0;
  });
  return count;
}

/// Calls f(tile) for boxes of at most 256 voxels along each axis that cover `box`, in order, until it returns false.
template <class F>
void for_each_tile(const Box& box, F&& f) {
  constexpr int32_t side = 256;
  for (int32_t z = box.lo[0]; z <= box.hi[0]; z += side)
    for (int32_t y = box.lo[1]; y <= box.hi[1]; y += side)
      for (int32_t x = box.lo[2]; x <= box.hi[2]; x += side)
        if (!f(intersection(box, {{z, y, x}, {z + side - 1, y + side - 1, x + side - 1}}))) return;
}

}  // namespace voxgrad::stardist
