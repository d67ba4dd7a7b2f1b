// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// How training patches are varied: turned, and their intensity changed.

#include <cstdint>

#include "voxgrad/core/random.hpp"
#include "voxgrad/data/volume.hpp"

namespace voxgrad::stardist {

/// none; flips: along y, along x or not at all, one third each (the published study); notebook: any flips and exchange of y
/// and x, then intensity * U(0.6, 2) + U(-0.2, 0.2) (the package's 3-D example).
enum class Augmentation { none, flips, notebook };

/// What happens to a patch.
struct PatchChange {
  bool flip_y = false, flip_x = false, swap_yx = false;
  float factor = 1, offset = 0;
};

/// Patches that are not square in y and x keep their axes.
inline PatchChange draw_change(Random& random, Augmentation kind, const data::Extent3& patch) {
  PatchChange c;
  if (kind == Augmentation::flips) {
    const uint64_t which = random.below(3);
    c.flip_y = which == 1, c.flip_x = which == 2;
  } else if (kind == Augmentation::notebook) {
    c.swap_yx = random.below(2) == 1 && patch[1] == patch[2];
    c.flip_y = random.below(2) == 1;
    c.flip_x = random.below(2) == 1;
    c.factor = float(random.uniform(0.6, 2));
    c.offset = float(random.uniform(-0.2, 0.2));
  }
  return c;
}

/// Cuts `patch` voxels from `start` on and turns them. out: [z,y,x].
template <class T>
void cut_changed(const data::Volume<T>& from, const data::Extent3& start, const data::Extent3& patch, const PatchChange& change, T* out) {
  for (int64_t z = 0; z < patch[0]; ++z)
    for (int64_t y = 0; y < patch[1]; ++y)
      for (int64_t x = 0; x < patch[2]; ++x) {
        int64_t fy = change.swap_yx ? x : y, fx = change.swap_yx ? y : x;
        if (change.flip_y) fy = patch[1] - 1 - fy;
        if (change.flip_x) fx = patch[2] - 1 - fx;
        *out++ = from.at(start[0] + z, start[1] + fy, start[2] + fx);
      }
}

}  // namespace voxgrad::stardist
