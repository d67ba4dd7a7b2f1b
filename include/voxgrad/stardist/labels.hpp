// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Label volumes as the functions of this folder take them, and the coarser grid of their results.

#include <array>
#include <cstdint>
#include <type_traits>

#include "voxgrad/core/error.hpp"
#include "voxgrad/data/volume.hpp"

namespace voxgrad::stardist {

using data::Extent3;
using Grid = std::array<int64_t, 3>;  ///< sub-sampling along z, y, x

/// Voxels [Z,Y,X] of integer labels, owned by someone else: 0 is background, below 0 is not annotated.
/// Ids may have gaps and may exceed 65535.
template <class T>
struct LabelView {
  static_assert(std::is_integral_v<T> && !std::is_same_v<T, bool> && sizeof(T) <= 4, "labels are integers of at most 32 bits");
  const T* voxels = nullptr;
  Extent3 extent{0, 0, 0};

  LabelView(const T* v, const Extent3& e) : voxels(v), extent(e) {
    check<ShapeError>(e[0] > 0 && e[1] > 0 && e[2] > 0, "labels: the volume is ", e[0], "x", e[1], "x", e[2],
                      " voxels (all extents must be above 0)");
  }
  LabelView(const data::Volume<T>& volume) : LabelView(volume.voxels.data(), volume.extent) {}

  int64_t size() const { return data::voxel_count(extent); }
};
template <class T>
LabelView(const data::Volume<T>&) -> LabelView<T>;

/// Number of samples at 0, g, 2g, ... per axis. Errors: UsageError for a grid below 1.
inline Extent3 grid_extent(const Extent3& extent, const Grid& grid) {
  check<UsageError>(grid[0] >= 1 && grid[1] >= 1 && grid[2] >= 1, "grid is ", grid[0], ", ", grid[1], ", ", grid[2],
                    " (expected three whole numbers from 1 on, in order z, y, x)");
  return {(extent[0] - 1) / grid[0] + 1, (extent[1] - 1) / grid[1] + 1, (extent[2] - 1) / grid[2] + 1};
}

}  // namespace voxgrad::stardist
