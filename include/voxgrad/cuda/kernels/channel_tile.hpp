// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// How the blocks of a kernel share a matrix [rows, C]: each has a run of rows, and a thread keeps to V channels and walks
// down every step-th row of the run. What belongs to a channel is loaded once per thread, neighbours read neighbours, and
// no division is made inside the loop. More than threads * V channels are shared by several blocks.

#include <algorithm>
#include <cstdint>

#include "voxgrad/core/error.hpp"
#include "voxgrad/cuda/phases.hpp"

namespace voxgrad::cuda {

inline constexpr int tile_threads = 256;

/// The number of runs for elements of `width` per 16 bytes, at most `most`; `passes`: rows of a thread that a run should have.
/// A function of the shape alone, so that the order of sums does not depend on the card.
inline int64_t row_parts(int64_t rows, int64_t C, int width, int passes, int64_t most) {
  check<DeviceError>(rows >= 0 && rows < int64_t(1) << 31 && C > 0 && C < int64_t(1) << 24, "a GPU kernel was given a matrix of ", rows,
                     " rows and ", C, " channels (expected less than 2^31 and from 1 to 2^24)");
  if (rows == 0) return 0;
  const int64_t block = int64_t(tile_threads) * width * passes;
  const int64_t wanted = std::clamp((rows * C + block - 1) / block, int64_t(1), std::min(rows, most));
  const int64_t run = (rows + wanted - 1) / wanted;
  return (rows + run - 1) / run;
}

/// Runs of a kernel that sums over rows: few, since they are merged afterwards.
inline int64_t sum_parts(int64_t rows, int64_t C, int width) { return row_parts(rows, C, width, 4, 1024); }

/// Runs of a kernel that treats every element alone: short ones until the card is full.
inline int64_t stream_parts(int64_t rows, int64_t C, int width) {
  const bool small = rows * C < int64_t(tile_threads) * width * 2048;
  return row_parts(rows, C, width, small ? 1 : 4, int64_t(1) << 24);
}

/// Blocks for that many runs at V channels per thread.
inline int64_t tile_blocks(int64_t parts, int64_t C, int V) {
  return parts * ((C / V + tile_threads - 1) / tile_threads);
}

/// The share of one thread, with V channels.
struct ChannelTile {
  uint32_t start, last;  ///< the run
  uint32_t row;          ///< this thread's first
  uint32_t step;        ///< threads of the block that have the same channels, and rows between two of this thread's
  uint32_t lane;        ///< which of them this is
  uint32_t channels;    ///< of the block
  uint32_t first;       ///< the block's first channel
  uint32_t channel;     ///< this thread's first of V
  uint32_t part;        ///< the run's number
  bool active;          ///< false: this thread has no channels

  /// Row u of a batch that starts at `first_row`; the batch's first again where the run ends before, so that batches are always
  /// loaded whole.
  VOXGRAD_HD uint32_t batch_row(uint32_t first_row, int u) const {
    const uint32_t r = first_row + uint32_t(u) * step;
    return r < last ? r : first_row;
  }

  ChannelTile() = default;
  VOXGRAD_HD ChannelTile(At at, int64_t rows, int64_t C, int V) {
    const uint32_t packs = uint32_t(C) / uint32_t(V), chunks = (packs + tile_threads - 1) / tile_threads;
    const uint32_t parts = chunks == 1 ? uint32_t(at.blocks) : uint32_t(at.blocks) / chunks;
    const uint32_t chunk = chunks == 1 ? 0 : uint32_t(at.block) / parts;
    part = uint32_t(at.block) - chunk * parts;
    const uint32_t before = chunk * tile_threads, left = packs - before;
    const uint32_t own = left < uint32_t(tile_threads) ? left : uint32_t(tile_threads);
    step = uint32_t(tile_threads) / own;
    lane = uint32_t(at.thread) / own;
    active = lane < step;
    channels = own * uint32_t(V);
    first = before * uint32_t(V);
    channel = first + (uint32_t(at.thread) - lane * own) * uint32_t(V);
    const uint32_t run = (uint32_t(rows) + parts - 1) / parts;
    start = part * run;
    last = start + run < uint32_t(rows) ? start + run : uint32_t(rows);
    row = active ? start + lane : last;
  }
};

}  // namespace voxgrad::cuda
