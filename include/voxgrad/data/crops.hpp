// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// How training crops are cut from movies, padded at the movie's border, flipped and cut again to patches.

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/core/random.hpp"
#include "voxgrad/data/volume.hpp"

namespace voxgrad::data {

/// Voxels start <= i < stop on each axis (t, y, x).
struct Box3 {
  Extent3 start{0, 0, 0}, stop{0, 0, 0};
  Extent3 size() const { return {stop[0] - start[0], stop[1] - start[1], stop[2] - start[2]}; }
  bool empty() const { return stop[0] <= start[0] || stop[1] <= start[1] || stop[2] <= start[2]; }
};

/// One row of an events table: the pairs of each axis are interleaved in the file, as here.
struct Event {
  int64_t id = 0, t_min = 0, t_max = 0, y_min = 0, y_max = 0, x_min = 0, x_max = 0;

  /// Middle of the box, truncated to whole voxels.
  Extent3 centre() const { return {(t_min + t_max) / 2, (y_min + y_max) / 2, (x_min + x_max) / 2}; }
};

/// The crop of an event: from max(0, c - size/2) to min(extent, c + size/2), so smaller at the movie's
/// border.
inline Box3 event_box(const Extent3& centre, const Extent3& extent, int64_t size) {
  Box3 b;
  for (size_t a = 0; a < 3; ++a) {
    b.start[a] = std::max<int64_t>(0, centre[a] - size / 2);
    b.stop[a] = std::min(extent[a], centre[a] + size / 2);
  }
  return b;
}

/// The crop that starts at a corner (unlabelled crops), cut off by the movie's end.
inline Box3 corner_box(const Extent3& corner, const Extent3& extent, int64_t size) {
  Box3 b{corner, {}};
  for (size_t a = 0; a < 3; ++a) b.stop[a] = std::min(extent[a], corner[a] + size);
  return b;
}

/// Grows [t,h,w] to `to` by mirroring at the end of each axis only. in: `from` voxels, out: `to` voxels.
template <class T>
void pad_end_symmetric(const T* in, const Extent3& from, T* out, const Extent3& to) {
  for (int64_t t = 0; t < to[0]; ++t)
    for (int64_t y = 0; y < to[1]; ++y) {
      const T* row = in + (mirror_index(t, from[0]) * from[1] + mirror_index(y, from[1])) * from[2];
      T* target = out + (t * to[1] + y) * to[2];
      for (int64_t x = 0; x < to[2]; ++x) target[x] = row[x < from[2] ? x : mirror_index(x, from[2])];
    }
}

/// What a training patch does with its crop: a flip, then a cut.
struct PatchDraw {
  enum Flip { none, rows, columns };  ///< rows: along H; columns: along W; never in time, never both
  Flip flip = none;
  Extent3 corner{0, 0, 0};  ///< first voxel of the patch in the flipped crop
};

/// Corner of a centred patch: floor(size/2) - floor(patch/2).
inline PatchDraw centre_patch(const Extent3& crop, const Extent3& patch) {
  PatchDraw d;
  for (size_t a = 0; a < 3; ++a) d.corner[a] = crop[a] / 2 - patch[a] / 2;
  return d;
}

struct AugmentOptions {
  bool flip = true;         ///< along H, along W or not at all, one third each
  bool random_crop = true;  ///< uniform corner; otherwise the centre
};

/// Draws flip and corner; always takes four numbers from `random`, so that positions stay predictable.
inline PatchDraw draw_patch(Random& random, const Extent3& crop, const Extent3& patch,
                            const AugmentOptions& options) {
  PatchDraw d = centre_patch(crop, patch);
  const auto flip = PatchDraw::Flip(random.below(3));
  if (options.flip) d.flip = flip;
  for (size_t a = 0; a < 3; ++a) {
    const int64_t corner = int64_t(random.below(uint64_t(crop[a] - patch[a] + 1)));
    if (options.random_crop) d.corner[a] = corner;
  }
  return d;
}

/// Cuts the drawn patch out of a crop, converting to float. out: patch voxels.
template <class T>
void cut_patch(const T* crop, const Extent3& size, const PatchDraw& draw, const Extent3& patch, float* out) {
  for (int64_t t = 0; t < patch[0]; ++t)
    for (int64_t y = 0; y < patch[1]; ++y) {
      const int64_t cy = y + draw.corner[1], row = draw.flip == PatchDraw::rows ? size[1] - 1 - cy : cy;
      const T* line = crop + ((t + draw.corner[0]) * size[1] + row) * size[2];
      for (int64_t x = 0; x < patch[2]; ++x) {
        const int64_t cx = x + draw.corner[2];
        *out++ = float(line[draw.flip == PatchDraw::columns ? size[2] - 1 - cx : cx]);
      }
    }
}

}  // namespace voxgrad::data
