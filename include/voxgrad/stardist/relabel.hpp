// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What is left of label objects when they are described by rays from their centroids: how well rays fit the data.

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "voxgrad/stardist/distances.hpp"
#include "voxgrad/stardist/render.hpp"

namespace voxgrad::stardist {

/// Each object drawn as the polyhedron seen from its centroid (truncated to a voxel), under its own label. Objects are
/// drawn by increasing label. An object whose centroid lies outside of it is seen from there all the same, as in the
/// Python package. Labels up to 0 are background. Errors: as star_distances().
template <class T>
data::Volume<int32_t> relabel_image(const LabelView<T>& labels, const Rays& rays) {
  struct Moments {
    int64_t voxels = 0, z = 0, y = 0, x = 0;
  };
  const Extent3& e = labels.extent;
  std::map<T, Moments> objects;
  for (int64_t z = 0, i = 0; z < e[0]; ++z)
    for (int64_t y = 0; y < e[1]; ++y)
      for (int64_t x = 0; x < e[2]; ++x, ++i) {
        if (!(labels.voxels[i] > T(0))) continue;
        Moments& m = objects[labels.voxels[i]];
        ++m.voxels, m.z += z, m.y += y, m.x += x;
      }
  const RayWalk walk(labels, rays, {1, 1, 1});
  std::vector<float> dist, points, row(size_t(e[2] * rays.size()));
  std::vector<int32_t> ids;
  for (const auto& [id, m] : objects) {
    const int64_t z = m.z / m.voxels, y = m.y / m.voxels, x = m.x / m.voxels;
    std::fill(row.begin(), row.end(), 0.f);
    walk.row(z, y, row.data(), rays.size());
    for (int64_t r = 0; r < rays.size(); ++r) dist.push_back(std::max(1e-3f, row[size_t(x * rays.size() + r)]));
    points.insert(points.end(), {float(z), float(y), float(x)});
    check<UsageError>(std::in_range<int32_t>(id), "relabel_image: label ", id, " exceeds 32 bits with a sign");
    ids.push_back(int32_t(id));
  }
  RenderOptions options;
  options.labels = ids;
  return render({&rays, dist, points}, e, options).labels;
}

}  // namespace voxgrad::stardist
