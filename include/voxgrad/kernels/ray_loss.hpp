// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Contract of StarDist's distance error: sums over voxels of a masked mean over rays. dist, target [voxels, rays],
// mask [voxels] in 0..1.

#include <cstdint>

#include "voxgrad/core/dtype.hpp"
#include "voxgrad/core/kernels.hpp"

namespace voxgrad::kernels {

/// What a voxel's error is, from distances p and targets d >= 0, <.> the mean over rays:
/// mae <|d - p|>; mse <(d - p)^2>; iou 1 - <sign(p) min(d, p)^2> / (<max(d, p)^2> + 1e-7);
/// overlap <min(d, q)^2> / (<max(d, q)^2> + 1e-7) with q = max(0, p), a measure without gradient.
enum class RayError { mae, mse, iou, overlap };

struct RayLossProblem {
  DType dtype;
  int64_t voxels, rays;
  RayError kind;
};
struct RayLossSums {
  double error, size, mask;  ///< over voxels: mask * error, (1 - mask) * <|p|>, mask
};

struct RayLossTable {
  RayLossSums (*sums)(const RayLossProblem&, const void* dist, const void* target, const void* mask);
  /// ddist = per_error * d(sums.error) + per_size * d(sums.size).
  void (*backward)(const RayLossProblem&, const void* dist, const void* target, const void* mask, double per_error,
                   double per_size, void* ddist);
};

inline constinit Kernels<RayLossTable> ray_loss{"ray_loss"};

}  // namespace voxgrad::kernels
