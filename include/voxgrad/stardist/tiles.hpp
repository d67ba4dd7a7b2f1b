// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// How an image is cut into tiles that fit the memory, so that the result is that of the whole image: tiles start on the
// network's pooling grid and overlap by its receptive field. Geometry only, one axis at a time.

#include <cmath>
#include <cstdint>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/data/tiles.hpp"

namespace voxgrad::stardist {

using data::Range;

/// One tile along one axis, in voxels of the image.
struct AxisTile {
  Range read;   ///< what the network sees
  Range write;  ///< what is kept of its result; the write ranges of all tiles cover the axis once
  Range crop() const { return {write.begin - read.begin, write.end - read.begin}; }  ///< the same within the tile
};

/// Tiles of `size` blocks that overlap by `overlap` blocks on each side, over `blocks` blocks.
inline int64_t tiles_needed(int64_t blocks, int64_t size, int64_t overlap) {
  return size >= blocks ? 1 : (blocks - size + size - 2 * overlap - 1) / (size - 2 * overlap) + 1;
}

/// About `n_tiles` tiles of one size for an axis of n voxels. block: what tiles are aligned to (the network's div_by);
/// overlap: blocks on each side (receptive field / block, rounded up). The number of tiles is the nearest possible to
/// n_tiles; of two as near, the one with smaller tiles. The last tile is shifted back to end with the axis.
/// Errors: UsageError for n that is no multiple of block, or numbers below 1 (overlap: below 0).
inline std::vector<AxisTile> axis_tiles(int64_t n, int64_t n_tiles, int64_t block, int64_t overlap) {
  check<UsageError>(n >= 1 && block >= 1 && n % block == 0, "tiles: an axis of ", n, " voxels is no multiple of ", block,
                    ". Pad it first.");
  check<UsageError>(n_tiles >= 1 && overlap >= 0, "tiles: ", n_tiles, " tiles with an overlap of ", overlap,
                    " blocks (expected at least 1 tile and an overlap of 0)");
  const int64_t blocks = n / block, smallest = 2 * overlap + 1;
  int64_t size = smallest;
  while (tiles_needed(blocks, size, overlap) > n_tiles) ++size;
  if (size > smallest &&
      tiles_needed(blocks, size - 1, overlap) - n_tiles <= n_tiles - tiles_needed(blocks, size, overlap))
    --size;
  std::vector<AxisTile> tiles;
  if (size >= blocks) return {{{0, n}, {0, n}}};
  for (int64_t start = 0, done = 0; done < blocks;) {
    const bool last = start + size >= blocks;
    if (last) start = blocks - size;
    const int64_t until = last ? blocks : start + size - overlap;
    tiles.push_back({{start * block, (start + size) * block}, {done * block, until * block}});
    done = until, start += size - 2 * overlap;
  }
  return tiles;
}

/// Number of tiles along an axis that keeps a tile about as large as a training batch: n / (patch * batch^(1/3)).
inline int64_t guess_n_tiles(int64_t n, int64_t patch, int64_t batch) {
  check<UsageError>(n >= 1 && patch >= 1 && batch >= 1, "tiles: axis ", n, ", patch ", patch, ", batch ", batch,
                    " (expected 1 or more)");
  return int64_t(std::ceil(double(n) / (double(patch) * std::cbrt(double(batch)))));
}

}  // namespace voxgrad::stardist
