// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The files that predict writes of StarDist's objects: label and class volumes, table, mesh.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "stardist_objects.hpp"
#include "voxgrad/metrics/regions.hpp"

namespace voxgrad::app {

struct StarDistLabelOptions {
  bool deflate = false, wide = false;
  bool depth = true;                     ///< the first axis is depth, not time
  std::optional<int32_t> overlap_label;  ///< of voxels that several objects cover
  uint64_t memory = 0;                   ///< of the planes drawn at once
};

/// Draws the first `count` objects plane by plane: uint16, uint32 above 65535 objects, float32 with an overlap label below 0 (ImageJ has no signed integers). Calls
/// also(z, labels [H,W]) for each plane; there voxels of several objects are 0. Errors: Error for an overlap label that is an object's.
void write_label_volume(const std::string& path, const StarDistObjects& objects, const stardist::Rays& rays, int64_t count, const data::Extent3& extent,
                        const data::Spacing& spacing, const StarDistLabelOptions& options, const std::function<void(int64_t, const uint32_t*)>& also = {});
/// The class of each voxel's object.
void write_class_volume(const std::string& path, const StarDistObjects& objects, const stardist::Rays& rays, int64_t count, const data::Extent3& extent,
                        const data::Spacing& spacing, const StarDistLabelOptions& options);

/// A row per object: probability, centre, volume of the polyhedron, voxels in the label volume (of `regions`), box, and with classes the
/// most probable one and the probability of each. `n_classes` of the model, so that the columns are there without any object.
std::string objects_csv(const StarDistObjects& objects, const stardist::Rays& rays, int64_t count, const std::vector<metrics::Region>& regions, int64_t n_classes);

/// The first `count` polyhedra as a mesh, object_1 being label 1, in micrometres where all spacings are known, else in voxels.
void write_mesh(const std::string& path, const StarDistObjects& objects, const stardist::Rays& rays, int64_t count, const data::Spacing& spacing);

}  // namespace voxgrad::app
