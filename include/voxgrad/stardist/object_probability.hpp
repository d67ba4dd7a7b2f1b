// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Training targets: how deep a voxel lies in its object, from nearly 0 at the surface to 1 at the deepest voxel.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "voxgrad/stardist/distance_pass.hpp"
#include "voxgrad/stardist/labels.hpp"
#include "voxgrad/stardist/rays.hpp"
#include "voxgrad/stardist/work_queue.hpp"

namespace voxgrad::stardist {

/// Squared distance of each voxel of an object to the nearest voxel that is no part of it, other objects included; 0
/// in background. All objects at once, axis by axis: the lines of one axis fall into runs of equal labels, and
/// beyond the first foreign voxel nothing can be nearer. The end of the volume is no border of an object, unless
/// `closed`. Infinite where an object fills the volume.
template <class T>
std::vector<float> squared_depths(const LabelView<T>& labels, const Vec3d& anisotropy, bool closed) {
  const auto [nz, ny, nx] = labels.extent;
  std::vector<float> squared(size_t(labels.size()));
  // Calls f(first voxel, number of voxels, begins, ends) for the runs of the line of n voxels that starts at `first`.
  const auto for_each_run = [&, closed = closed](int64_t first, int64_t stride, int64_t n, auto&& f) {
    const T* line = labels.voxels + first;
    for (int64_t i = 0, next; i < n; i = next) {
      const T own = line[i * stride];
      for (next = i + 1; next < n && line[next * stride] == own;) ++next;
      if (own > T(0)) f(first + i * stride, next - i, i > 0 || closed, next < n || closed);
    }
  };
  for_each_item(nz, [&, ny = ny, nx = nx](int64_t z) {
    DistancePass along_x(nx, anisotropy[2]), along_y(ny, anisotropy[1]);
    for (int64_t y = 0; y < ny; ++y)
      for_each_run((z * ny + y) * nx, 1, nx, [&](int64_t at, int64_t n, bool begins, bool ends) {
        std::fill_n(squared.data() + at, n, std::numeric_limits<float>::infinity());
        along_x.run(squared.data() + at, 1, n, begins, ends);
      });
    for (int64_t x = 0; x < nx; ++x)
      for_each_run(z * ny * nx + x, nx, ny, [&](int64_t at, int64_t n, bool begins, bool ends) {
        along_y.run(squared.data() + at, nx, n, begins, ends);
      });
  });
  for_each_item(ny, [&, nz = nz, ny = ny, nx = nx](int64_t y) {
    DistancePass along_z(nz, anisotropy[0]);
    for (int64_t x = 0; x < nx; ++x)
      for_each_run(y * nx + x, ny * nx, nz, [&](int64_t at, int64_t n, bool begins, bool ends) {
        along_z.run(squared.data() + at, ny * nx, n, begins, ends);
      });
  });
  return squared;
}

/// Largest value of every object.
template <class T>
std::unordered_map<T, float> largest_per_object(const LabelView<T>& labels, const std::vector<float>& values) {
  std::unordered_map<T, float> largest;
  std::mutex merging;
  const int64_t plane = labels.extent[1] * labels.extent[2];
  for_each_item(labels.extent[0], [&](int64_t z) {
    std::unordered_map<T, float> here;
    float* of_last = nullptr;
    for (int64_t i = z * plane, last = -1; i < (z + 1) * plane; ++i) {
      if (!(labels.voxels[i] > T(0))) continue;
      if (last < 0 || labels.voxels[i] != labels.voxels[last]) of_last = &here[labels.voxels[i]];
      *of_last = std::max(*of_last, values[size_t(i)]);
      last = i;
    }
    const std::lock_guard lock(merging);
    for (const auto& [label, value] : here) {
      float& most = largest[label];
      most = std::max(most, value);
    }
  });
  return largest;
}

/// Depth of each grid voxel in its object divided by the object's largest depth at full resolution, in
/// out[i * stride] for grid voxel i; 0 in background and where nothing is annotated. anisotropy: size of a voxel along
/// z, y, x. An object is measured as it is cut by the volume, whose end is no border of it; one that fills the whole volume
/// counts as surrounded by background. Equal to the Python package's edt_prob within float32 rounding.
/// Takes 4 bytes per voxel of scratch memory. Errors: ShapeError, UsageError (grid, anisotropy).
template <class T>
void object_probability(const LabelView<T>& labels, const std::optional<Vec3d>& anisotropy, const Grid& grid, float* out,
                        int64_t stride) {
  const Extent3 extent = grid_extent(labels.extent, grid);
  const Vec3d size = anisotropy.value_or(Vec3d{1, 1, 1});
  check_positive("object probability: anisotropy is", size);
  const T first = labels.voxels[0];
  const bool constant = std::all_of(labels.voxels, labels.voxels + labels.size(), [&](T l) { return l == first; });
  const std::vector<float> squared = squared_depths(labels, size, constant);
  const std::unordered_map<T, float> largest = largest_per_object(labels, squared);
  for_each_item(extent[0], [&](int64_t z) {
    T last = 0;
    double most = 1;
    for (int64_t y = 0; y < extent[1]; ++y)
      for (int64_t x = 0; x < extent[2]; ++x) {
        const int64_t i = (z * grid[0] * labels.extent[1] + y * grid[1]) * labels.extent[2] + x * grid[2];
        const T label = labels.voxels[i];
        if (label > T(0) && label != last) most = std::sqrt(double(largest.at(label))) + 1e-10, last = label;
        out[((z * extent[1] + y) * extent[2] + x) * stride] =
            label > T(0) ? float(std::sqrt(double(squared[size_t(i)])) / most) : 0.f;
      }
  });
}

/// The same as a volume of its own.
template <class T>
data::Volume<float> object_probability(const data::Volume<T>& labels, const std::optional<Vec3d>& anisotropy = {},
                                       const Grid& grid = {1, 1, 1}) {
  const LabelView<T> view(labels);
  data::Volume<float> out(grid_extent(view.extent, grid));
  object_probability(view, anisotropy, grid, out.voxels.data(), 1);
  return out;
}

}  // namespace voxgrad::stardist
