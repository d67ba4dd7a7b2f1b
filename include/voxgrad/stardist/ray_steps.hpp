// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The voxels that a ray meets, step by step, as displacements from its start: the same for every start, but for rounding.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "voxgrad/stardist/labels.hpp"
#include "voxgrad/stardist/rays.hpp"

namespace voxgrad::stardist {

/// One step of a ray. The voxel is round(start + position) in float32, halves to even: start + offset, unless the
/// position is so close to a half that the sum may round either way, depending on the start.
struct RayStep {
  Vec3f position;                ///< of the ray, added up in float32
  std::array<int32_t, 3> offset; ///< position, rounded
  bool depends_on_start;

  /// Exact voxel coordinate for a start on axis a.
  int64_t voxel(size_t a, int64_t start) const { return int64_t(std::nearbyint(float(start) + position[a])); }
};

/// The steps of all rays until no start within the volume is still inside.
struct RaySteps {
  std::vector<RayStep> steps;
  std::vector<float> distance;  ///< of each step: length of its offset
  std::vector<int64_t> first;   ///< [rays + 1]: the steps of ray r are first[r] .. first[r + 1]

  /// Errors: UsageError for a ray that hardly moves.
  RaySteps(const Rays& rays, const Extent3& extent) {
    // float(start) is exact up to here, and so is the float32 arithmetic that the targets are defined by.
    check<ShapeError>(*std::max_element(extent.begin(), extent.end()) < (int64_t(1) << 23), "labels: an axis has ",
                      *std::max_element(extent.begin(), extent.end()), " voxels (at most ", (1 << 23) - 1, ")");
    for (int64_t r = 0; r < rays.size(); ++r) {
      const Vec3f& d = rays.vertices[size_t(r)];
      const double length = std::hypot(double(d[0]), double(d[1]), double(d[2]));
      check<UsageError>(length >= shortest, "rays: ray ", r, " has length ", length, " (expected at least ", shortest, ")");
      first.push_back(int64_t(steps.size()));
      for (Vec3f p{0, 0, 0}; !leaves(p, extent);) {
        for (size_t a = 0; a < 3; ++a) p[a] += d[a];
        add(p, extent);
      }
    }
    first.push_back(int64_t(steps.size()));
  }

  static constexpr double shortest = 1.0 / 16;

 private:
  static bool leaves(const Vec3f& p, const Extent3& extent) {
    bool out = false;
    for (size_t a = 0; a < 3; ++a) out |= std::abs(p[a]) >= float(extent[a] + 1);
    return out;
  }

  void add(const Vec3f& p, const Extent3& extent) {
    RayStep step{p, {}, false};
    float squared = 0;
    for (size_t a = 0; a < 3; ++a) {
      const float rounded = std::nearbyint(p[a]);
      step.offset[a] = int32_t(rounded);
      squared += rounded * rounded;
      // start + p is off by at most 2^-24 of itself; twice that is on the safe side.
      const float margin = (float(extent[a]) + std::abs(p[a]) + 1) * 0x1p-23f;
      step.depends_on_start |= 0.5f - std::abs(p[a] - rounded) <= margin;
    }
    steps.push_back(step);
    distance.push_back(std::sqrt(squared));
  }
};

}  // namespace voxgrad::stardist
