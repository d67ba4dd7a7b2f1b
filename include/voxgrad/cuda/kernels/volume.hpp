// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A movie or volume in the card's memory, as it is stored, and what the network sees of it.

#include <cstdint>

#include "voxgrad/core/host_device.hpp"

namespace voxgrad::cuda {

enum class VoxelType : uint8_t { f32, u8, u16 };

/// Voxels [T,H,W]; the network's input is (voxel - offset) * scale, each operation rounded to float.
struct ResidentVolume {
  const void* voxels;
  const void* target;       ///< [T,H,W] of classes or fractions; null: none
  const float *weight, *propensity;  ///< [T,H,W]; null: 1
  int64_t extent[3];
  float offset, scale;
  VoxelType type, target_type;  ///< of targets: f32 or u8

  VOXGRAD_HD static float read(const void* from, VoxelType type, int64_t i) {
    if (type == VoxelType::u8) return float(static_cast<const uint8_t*>(from)[i]);
    if (type == VoxelType::u16) return float(static_cast<const uint16_t*>(from)[i]);
    return static_cast<const float*>(from)[i];
  }
  VOXGRAD_HD float input(int64_t i) const { return (read(voxels, type, i) - offset) * scale; }
  VOXGRAD_HD int64_t index(int64_t t, int64_t y, int64_t x) const { return (t * extent[1] + y) * extent[2] + x; }
};

/// The sample at position i of an axis of n continued by mirrors that repeat the edge (data::mirror_index).
VOXGRAD_HD constexpr int64_t mirrored(int64_t i, int64_t n) {
  const int64_t period = 2 * n;
  int64_t r = i % period;
  if (r < 0) r += period;
  return r < n ? r : period - 1 - r;
}

}  // namespace voxgrad::cuda
