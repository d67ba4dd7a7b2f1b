// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The objects that survive suppression, and drawing them plane by plane into volumes that need not fit into memory.

#include <array>
#include <functional>
#include <optional>
#include <vector>

#include "stardist_predictor.hpp"
#include "voxgrad/stardist/nms.hpp"
#include "voxgrad/stardist/render.hpp"

namespace voxgrad::app {

/// Survivors, best score first: object k is label k + 1.
struct StarDistObjects {
  stardist::Candidates list;
  std::vector<float> class_prob = {};  ///< [N, classes + 1], background first; empty without classes

  int64_t size() const { return list.size(); }
  /// 0 without classes.
  int64_t class_channels() const { return class_prob.empty() ? 0 : int64_t(class_prob.size()) / size(); }
  /// The most probable one of object i, 0 for background.
  int64_t class_of(int64_t i) const;
  /// How many score above a threshold: they come first, and are what suppression at that threshold leaves.
  int64_t above(double prob_thresh) const;
};

/// Suppresses candidates that overlap a better one by more than `nms_thresh` of the smaller volume.
StarDistObjects suppress_candidates(const StarDistFound& found, const stardist::Rays& rays, double nms_thresh,
                                    const stardist::Progress& progress = {});

/// The objects that get at least one voxel, in the same order. Better ones decide over that alone, so that leaving the others out
/// changes no label volume at any threshold.
StarDistObjects visible_objects(const StarDistObjects& objects, const stardist::Rays& rays, const data::Extent3& extent, uint64_t memory);

/// Where the network's voxels lie in a volume: axis k of the network is axis order[k] of the volume, with scale[k] samples per voxel.
struct Placement {
  std::array<size_t, 3> order{0, 1, 2};
  std::array<double, 3> scale{1, 1, 1};
  bool trivial() const { return order == Placement{}.order && scale == Placement{}.scale; }
};

/// Objects and rays of the network, as they are in the volume. Distances stay: the rays take the scale.
void place_objects(StarDistObjects& objects, const Placement& placement);
stardist::Rays placed_rays(const stardist::Rays& rays, const Placement& placement);

/// Draws the first `count` objects; write(z, labels [H,W]) is called for z = 0, 1, ... Planes are drawn in slabs within `memory`
/// bytes (0: all at once); the result does not depend on it. `overlap_label` is for voxels of several objects; without, the best keeps them.
void draw_objects(const StarDistObjects& objects, const stardist::Rays& rays, int64_t count, const data::Extent3& extent, uint64_t memory,
                  const std::function<void(int64_t z, const int32_t* labels)>& write, const std::optional<int32_t>& overlap_label = {});

}  // namespace voxgrad::app
