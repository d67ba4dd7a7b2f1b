// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The objects that survive suppression, and drawing them plane by plane into volumes that need not fit into memory.

#include <functional>
#include <vector>

#include "stardist_predictor.hpp"
#include "voxgrad/stardist/nms.hpp"
#include "voxgrad/stardist/render.hpp"

namespace voxgrad::app {

/// Survivors, best score first: object k is label k + 1.
struct StarDistObjects {
  stardist::Candidates list;
  std::vector<int32_t> classes;  ///< empty without classes

  int64_t size() const { return list.size(); }
  /// How many score above a threshold: they come first, and are what suppression at that threshold leaves.
  int64_t above(double prob_thresh) const;
};

/// Suppresses candidates that overlap a better one by more than `nms_thresh` of the smaller volume.
StarDistObjects suppress_candidates(const StarDistFound& found, const stardist::Rays& rays, double nms_thresh,
                                    const stardist::Progress& progress = {});

/// The objects that get at least one voxel, in the same order. Better ones decide over that alone, so that leaving the others out
/// changes no label volume at any threshold.
StarDistObjects visible_objects(const StarDistObjects& objects, const stardist::Rays& rays, const data::Extent3& extent, uint64_t memory);

/// Draws the first `count` objects; write(z, labels [H,W]) is called for z = 0, 1, ... Planes are drawn in slabs within `memory`
/// bytes (0: all at once); the result does not depend on it.
void draw_objects(const StarDistObjects& objects, const stardist::Rays& rays, int64_t count, const data::Extent3& extent, uint64_t memory,
                  const std::function<void(int64_t z, const int32_t* labels)>& write);

}  // namespace voxgrad::app
