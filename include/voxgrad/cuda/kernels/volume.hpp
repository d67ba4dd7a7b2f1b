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
  int32_t extent[3];
  float offset, scale;
  VoxelType type, target_type;  ///< of targets: f32 or u8

  VOXGRAD_HD static float read(const void* from, VoxelType type, int64_t i) {
    if (type == VoxelType::u8) return float(static_cast<const uint8_t*>(from)[i]);
    if (type == VoxelType::u16) return float(static_cast<const uint16_t*>(from)[i]);
    return static_cast<const float*>(from)[i];
  }
  VOXGRAD_HD float input(int64_t i) const { return (read(voxels, type, i) - offset) * scale; }
  VOXGRAD_HD int64_t index(int32_t t, int32_t y, int32_t x) const { return (int64_t(t) * extent[1] + y) * extent[2] + x; }
};

/// The sample at position i of an axis of n continued by mirrors that repeat the edge (data::mirror_index).
VOXGRAD_HD constexpr int32_t mirrored(int32_t i, int32_t n) {
  if (i >= 0 && i < n) return i;
  const int32_t period = 2 * n, r = i % period, place = r < 0 ? r + period : r;
  return place < n ? place : period - 1 - place;
}

}  // namespace voxgrad::cuda
