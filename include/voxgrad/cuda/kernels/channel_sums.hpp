// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Sums over the threads of a block that have the same channels, in an order that depends on the shape alone. Three phases:
// every thread put()s, every thread fold()s, then total() may be asked.

#include "voxgrad/cuda/kernels/channel_tile.hpp"

namespace voxgrad::cuda {

template <int widest>
struct ChannelSums {
  float value[tile_threads * widest];  ///< [lane, channel]

  template <int V>
  VOXGRAD_HD void put(const ChannelTile& tile, const float (&v)[V]) {
    if (!tile.active) return;
    float* const to = value + tile.lane * tile.channels + (tile.channel - tile.first);
    for (int i = 0; i < V; ++i) to[i] = v[i];
  }
  /// Of every channel, thread g of a group adds lanes g, g + groups, ... into lane g, which nobody else reads.
  VOXGRAD_HD void fold(const ChannelTile& tile, int thread) {
    const uint32_t groups = folded(tile);
    for (uint32_t i = uint32_t(thread); i < groups * tile.channels; i += tile_threads) {
      const uint32_t g = i / tile.channels, c = i - g * tile.channels;
      float sum = value[i];
      for (uint32_t l = g + groups; l < tile.step; l += groups) sum += value[l * tile.channels + c];
      value[i] = sum;
    }
  }
  VOXGRAD_HD float total(const ChannelTile& tile, uint32_t c) const {
    const uint32_t groups = folded(tile);
    float sum = value[c];
    for (uint32_t g = 1; g < groups; ++g) sum += value[g * tile.channels + c];
    return sum;
  }

 private:
  VOXGRAD_HD static uint32_t folded(const ChannelTile& tile) {
    const uint32_t busy = uint32_t(tile_threads) / tile.channels;
    const uint32_t groups = busy < 1 ? 1 : busy > 32 ? 32 : busy;
    return groups < tile.step ? groups : tile.step;
  }
};

}  // namespace voxgrad::cuda
