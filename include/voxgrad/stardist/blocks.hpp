// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// How a volume larger than memory is cut into blocks that are segmented one by one, and which block keeps an object that
// several see. Geometry only, one axis at a time; an object belongs to a block that owns it on all axes.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/data/tiles.hpp"

namespace voxgrad::stardist {

using data::Range;

/// One block along one axis.
struct Block {
  Range read;                                   ///< voxels that are segmented
  int64_t context_begin = 0, context_end = 0;   ///< of these, only there for the network to see
  Range write() const { return {read.begin + context_begin, read.end - context_end}; }
  int64_t inner() const { return read.size() - context_begin - context_end; }  ///< size of write()
};

/// What the caller asks for, in voxels. Rounded up to multiples of `grid` (what the network divides its input by).
struct BlockOptions {
  int64_t block_size = 0;
  int64_t min_overlap = 0;  ///< of the written parts of neighbours: more than the largest object
  int64_t context = 0;      ///< on each side, the network's receptive field
  int64_t grid = 1;
};

/// Neighbours share at least `overlap`, no voxel is written by more than two blocks, and the blocks cover [0, n).
inline bool valid_blocks(const std::vector<Block>& blocks, int64_t n, int64_t overlap) {
  bool ok = !blocks.empty() && blocks.front().write().begin == 0 && blocks.back().write().end == n;
  for (size_t i = 0; ok && i + 1 < blocks.size(); ++i) {
    ok = blocks[i].write().end - blocks[i + 1].write().begin >= overlap;
    if (i + 2 < blocks.size()) ok = ok && blocks[i].write().end <= blocks[i + 2].write().begin;
  }
  return ok;
}

/// Blocks as the Python package lays them out, in units of the grid: the largest stride, what is too much at the end
/// taken from the strides in turn, more context where next but one would meet. May be invalid.
inline std::vector<Block> package_blocks(int64_t n, int64_t size, int64_t overlap, int64_t context) {
  const int64_t stride = size - (overlap + 2 * context);
  const int64_t count = 1 + std::max<int64_t>(0, (n - size + stride - 1) / stride);
  std::vector<int64_t> strides(static_cast<size_t>(count - 1), stride);
  int64_t excess = size + (count - 1) * stride - n;
  for (size_t i = 0; excess > 0 && !strides.empty(); --excess, i = (i + 1) % strides.size()) --strides[i];
  std::vector<Block> blocks;
  for (int64_t i = 0, start = 0; i < count; ++i) {
    blocks.push_back({{start, start + size}, i == 0 ? 0 : context, i + 1 == count ? 0 : context});
    if (i + 1 < count) start += strides[size_t(i)];
  }
  for (size_t i = 0; i + 2 < blocks.size(); ++i)
    if (const int64_t meet = blocks[i].write().end - blocks[i + 2].write().begin; meet > 0)
      blocks[i].context_end += meet / 2, blocks[i + 2].context_begin += meet - meet / 2;
  return blocks;
}

/// Blocks that share exactly `overlap`, one behind the other; the last is shifted back to end at n and has more context for
/// it. Valid whenever some layout of such blocks is.
inline std::vector<Block> packed_blocks(int64_t n, int64_t size, int64_t overlap, int64_t context) {
  std::vector<Block> blocks{{{0, size}, 0, context}};
  int64_t begin = size - context - overlap;  // of what the next block writes
  for (const int64_t last = n - size; begin < last + context; begin += size - 2 * context - overlap)
    blocks.push_back({{begin - context, begin - context + size}, context, context});
  blocks.push_back({{n - size, n}, begin - (n - size), 0});
  return blocks;
}

/// The package's layout where it keeps its promises, else packed blocks; in units of the grid. Empty if there is none.
inline std::vector<Block> lay_out(int64_t n, int64_t size, int64_t overlap, int64_t context) {
  if (size >= n) return {{{0, n}, 0, 0}};
  if (size <= overlap + 2 * context) return {};
  for (const auto layout : {package_blocks, packed_blocks})
    if (std::vector<Block> blocks = layout(n, size, overlap, context); valid_blocks(blocks, n, overlap)) return blocks;
  return {};
}

/// Blocks that cover an axis of n voxels: all of one size, but for the last if n is no multiple of the grid. They start on
/// the grid. The package's layout where it keeps its promises, else one that does; an axis that fits a block is one block.
/// Errors: UsageError that says which number to change.
inline std::vector<Block> plan_blocks(int64_t n, const BlockOptions& o) {
  check<UsageError>(n >= 1 && o.grid >= 1 && o.block_size >= 1 && o.min_overlap >= 0 && o.context >= 0, "blocks: axis ", n,
                    ", block size ", o.block_size, ", overlap ", o.min_overlap, ", context ", o.context, ", grid ", o.grid,
                    " (expected 1 or more; overlap and context 0 or more)");
  const auto units = [&](int64_t voxels) { return (voxels + o.grid - 1) / o.grid; };
  const int64_t all = units(n), size = units(o.block_size), overlap = units(o.min_overlap), context = units(o.context);
  std::vector<Block> blocks = lay_out(all, size, overlap, context);
  if (blocks.empty()) {
    int64_t enough = size + 1;
    while (lay_out(all, enough, overlap, context).empty()) ++enough;  // at the latest when the axis fits
    throw UsageError(text("blocks: an axis of ", n, " voxels cannot be covered by blocks of ", size * o.grid,
                          " with an overlap of ", overlap * o.grid, " and a context of ", context * o.grid,
                          " on each side. Use a block size of ", enough * o.grid, ", or a smaller overlap or context."));
  }
  for (Block& b : blocks) {
    for (int64_t* v : {&b.read.begin, &b.read.end, &b.context_begin, &b.context_end}) *v *= o.grid;
    b.read.end = std::min(b.read.end, n);
  }
  return blocks;
}

enum class Owner { this_block, predecessor, successor };

/// Which block keeps an object that block i sees at `seen`, counted from the start of what the block writes. Exactly one
/// block says this_block when objects are smaller than the overlap.
/// Errors: Error for an object that is larger: no block sees all of it.
inline Owner owner_of(const std::vector<Block>& blocks, size_t i, const Range& seen) {
  const Block& b = blocks[i];
  const bool first = i == 0, last = i + 1 == blocks.size();
  const int64_t shared = first ? 0 : blocks[i - 1].write().end - b.write().begin;
  check<UsageError>(seen.begin >= 0 && seen.begin < seen.end && seen.end <= b.inner(), "blocks: an object at ", seen.begin,
                    " to ", seen.end, " in a block that writes ", b.inner(), " voxels");
  const bool at_begin = seen.begin == 0 && !first, at_end = seen.end == b.inner() && !last;
  const bool cut = (at_begin && seen.end >= shared) || (at_end && first && seen.begin == 0);
  check<Error>(!cut, "blocks: an object of ", seen.size(), " voxels or more is cut by a block at ", b.read.begin, " to ", b.read.end,
               ", where neighbours share ", shared, ". Use a larger min_overlap and block size.");
  if (seen.end < shared) return Owner::predecessor;
  return at_end ? Owner::successor : Owner::this_block;
}

}  // namespace voxgrad::stardist
