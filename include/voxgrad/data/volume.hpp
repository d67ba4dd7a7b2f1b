// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A dense [T,H,W] (or [Z,Y,X]) array of voxels with its physical spacing: what readers give and metrics take.

#include <array>
#include <cstdint>
#include <vector>

#include "voxgrad/core/error.hpp"

namespace voxgrad::data {

/// Extents in order (t, y, x), or (z, y, x) for still volumes.
using Extent3 = std::array<int64_t, 3>;

/// Number of voxels of an extent.
inline int64_t voxel_count(const Extent3& e) { return e[0] * e[1] * e[2]; }

/// Physical size of one voxel; 0 means unknown.
struct Spacing {
  double seconds = 0;      ///< time between two frames
  double z_um = 0;         ///< depth step, still volumes only
  double y_um = 0, x_um = 0;
};

/// Row-major voxels, x fastest.
template <class T>
struct Volume {
  Extent3 extent{0, 0, 0};
  std::vector<T> voxels;
  Spacing spacing;

  Volume() = default;
  explicit Volume(const Extent3& e, T value = T{}) : extent(e), voxels(size_t(voxel_count(e)), value) {}

  int64_t size() const { return voxel_count(extent); }
  int64_t frame_size() const { return extent[1] * extent[2]; }
  T* frame(int64_t t) { return voxels.data() + t * frame_size(); }
  const T* frame(int64_t t) const { return voxels.data() + t * frame_size(); }
  T& at(int64_t t, int64_t y, int64_t x) { return voxels[size_t((t * extent[1] + y) * extent[2] + x)]; }
  const T& at(int64_t t, int64_t y, int64_t x) const { return voxels[size_t((t * extent[1] + y) * extent[2] + x)]; }
};

/// The sample shown at position i of an axis of n samples continued by mirrors that repeat the edge sample:
/// for n = 5, positions -3 to 7 show 2 1 0 0 1 2 3 4 4 3 2. Any i, n >= 1.
inline int64_t mirror_index(int64_t i, int64_t n) {
  const int64_t period = 2 * n;
  int64_t r = i % period;
  if (r < 0) r += period;
  return r < n ? r : period - 1 - r;
}

}  // namespace voxgrad::data
