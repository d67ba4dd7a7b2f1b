// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Merging partial sums per channel: a block has 8 channels, 32 threads each, which take every 32nd partial.

#include "voxgrad/cuda/phases.hpp"

namespace voxgrad::cuda {

struct ChannelLanes {
  static constexpr int channels = 8, lanes = 32, threads = channels * lanes;
  struct Sums {
    double value[threads];
  };

  int64_t channel;
  int lane;

  /// Neighbouring threads have neighbouring channels, which lie side by side in memory.
  VOXGRAD_HD explicit ChannelLanes(At at) : channel(at.block * channels + at.thread % channels), lane(at.thread / channels) {}
  static int64_t blocks(int64_t C) { return (C + channels - 1) / channels; }

  VOXGRAD_HD void put(Sums& sums, double v) const { sums.value[lane * channels + int(channel % channels)] = v; }
  /// After a barrier: the sum over the channel's threads, in order.
  VOXGRAD_HD double total(const Sums& sums) const {
    double sum = 0;
    for (int l = 0; l < lanes; ++l) sum += sums.value[l * channels + int(channel % channels)];
    return sum;
  }
  /// This thread's part of the sum of parts values, `stride` apart.
  VOXGRAD_HD double gather(const float* from, int64_t parts, int64_t stride) const {
    double sum = 0;
    for (int64_t p = lane; p < parts; p += lanes) sum += double(from[p * stride]);
    return sum;
  }
};

}  // namespace voxgrad::cuda
