// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Coordinates of a row of a volume.

#include <cstdint>

#include "voxgrad/core/host_device.hpp"

namespace voxgrad::cuda {

/// A row of [N, extents] as coordinates.
struct VoxelPlace {
  int64_t n;
  int at[3];
  VOXGRAD_HD VoxelPlace(uint32_t row, int64_t D, int64_t H, int64_t W) {
    const uint32_t w = uint32_t(W), h = uint32_t(H), d = uint32_t(D), plane = row / w, volume = plane / h, sample = volume / d;
    at[2] = int(row - plane * w);
    at[1] = int(plane - volume * h);
    at[0] = int(volume - sample * d);
    n = sample;
  }
};

}  // namespace voxgrad::cuda
