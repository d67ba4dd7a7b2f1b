// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Candidates to suppress and draw: stored ones and random ones.

#include <cmath>
#include <string>
#include <vector>

#include "golden.hpp"
#include "voxgrad/core/random.hpp"
#include "voxgrad/stardist/candidates.hpp"

namespace voxgrad::test {

inline std::vector<float> floats(const Npy& npy) { return {npy.values.begin(), npy.values.end()}; }
inline Npy suppression_golden(const std::string& name) {
  return read_npy(golden("stardist/suppression/" + name + ".npy"));
}

struct NmsCase {
  stardist::Rays rays;
  stardist::Candidates c;
  stardist::Polyhedra polyhedra() const { return c.polyhedra(rays); }
};

/// Rays with their triangles in the stored order, on which float32 sums depend.
inline NmsCase stored_case(const std::string& name) {
  const std::vector<double> faces = suppression_golden("faces").values;
  return {explicit_rays(floats(suppression_golden("vertices")), {faces.begin(), faces.end()}),
          {floats(suppression_golden(name + "_prob")), floats(suppression_golden(name + "_points")),
           floats(suppression_golden(name + "_dist"))}};
}

inline NmsCase shared_case(const io::H5File& file, const std::string& group) {
  return {explicit_rays(file.read<float>(group + "/ray_vertices"), file.read<int32_t>(group + "/ray_faces")),
          {file.read<float>(group + "/prob"), file.read<float>(group + "/points"), file.read<float>(group + "/dist")}};
}

/// n ellipsoids of mean half axes `size` with ripples of relative height `rough`, in a cube of side `side`.
/// A few scores are equal.
inline NmsCase random_case(uint64_t seed, const stardist::Rays& rays, int64_t n, stardist::Vec3d size, double rough,
                           double side) {
  Random random(seed);
  NmsCase out{rays, {}};
  for (int64_t i = 0; i < n; ++i) {
    out.c.scores.push_back(float(random.below(uint64_t(4 * n))) / float(4 * n));
    stardist::Vec3d half;
    for (size_t k = 0; k < 3; ++k) {
      out.c.points.push_back(float(random.below(uint64_t(side)) + 3));
      half[k] = size[k] * random.uniform(0.6, 1.3);
    }
    for (const stardist::Vec3f& v : rays.vertices) {
      double square = 0;
      for (size_t k = 0; k < 3; ++k) square += double(v[k]) / half[k] * (double(v[k]) / half[k]);
      out.c.dist.push_back(float(random.uniform(1 - rough, 1 + rough) / std::sqrt(square)));
    }
  }
  return out;
}

}  // namespace voxgrad::test
