// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// From sums per thread to partial sums per run of rows: `own` quantities per channel and, with `head`, those of a 1x1x1
// convolution to a few outputs (its weight gradient per channel and output, its bias gradient per output).

#include "voxgrad/cuda/kernels/channel_lanes.hpp"
#include "voxgrad/cuda/kernels/channel_sums.hpp"
#include "voxgrad/cuda/kernels/gradient_source.hpp"

namespace voxgrad::cuda {

/// Outputs of a head whose sums a kernel can take along.
inline constexpr int most_head_outputs = 4;

/// Floats of one run: [own, C], then [Co, C] and [Co].
VOXGRAD_HD constexpr int64_t partial_size(int own, int64_t C, int Co) { return (own + Co) * C + Co; }

/// Refuses a head that the kernel does not take along, or one that has too many outputs.
inline void check_head(const char* kernel, bool takes_head, const HeadGradient& head) {
  check<DeviceError>((head.dlogit != nullptr) == takes_head, kernel, takes_head ? ": needs" : ": does not take", " the gradient of a head");
  check<DeviceError>(!takes_head || (head.Co >= 1 && head.Co <= most_head_outputs), kernel, ": the head has ", head.Co,
                     " outputs (expected 1 to ", most_head_outputs, ")");
}

/// Phases 0 to phases - 1, to be run when the threads have their sums; quantity q takes three.
template <int own, bool head, int width>
struct PartialSums {
  static constexpr int quantities = own + (head ? most_head_outputs : 0), phases = 3 * quantities;
  struct Shared {
    ChannelSums<width> sums;
    float dlogit[head ? most_head_outputs : 1][tile_threads];
  };
  struct Thread {
    ChannelTile tile;
    float sum[quantities][width];
    float dlogit[head ? most_head_outputs : 1];  ///< of the rows whose first channel is this thread's
  };

  template <int phase, int V>
  VOXGRAD_HD static void run(Shared& s, const Thread& t, int thread, int64_t C, int Co, float* partials) {
    constexpr int q = phase / 3;
    if (q >= own + Co) return;
    float* const run = partials + t.tile.part * partial_size(own, C, Co);
    if constexpr (phase % 3 == 0) {
      float v[V];
      for (int i = 0; i < V; ++i) v[i] = t.sum[q][i];
      s.sums.put(t.tile, v);
      if constexpr (q >= own) {
        if (t.tile.active && t.tile.channel == 0) s.dlogit[q - own][t.tile.lane] = t.dlogit[q - own];
      }
    } else if constexpr (phase % 3 == 1) {
      s.sums.fold(t.tile, thread);
      if constexpr (q >= own) {
        if (t.tile.first == 0) fold_lanes(s.dlogit[q - own], t.tile.step, thread);
      }
    } else {
      for (uint32_t c = uint32_t(thread); c < t.tile.channels; c += tile_threads)
        run[q * C + t.tile.first + c] = s.sums.total(t.tile, c);
      if constexpr (q >= own) {
        if (t.tile.first == 0 && thread == 0) run[(own + Co) * C + (q - own)] = first_lanes(s.dlogit[q - own], t.tile.step);
      }
    }
  }

 private:
  static constexpr uint32_t folded = 32;
  VOXGRAD_HD static void fold_lanes(float (&v)[tile_threads], uint32_t lanes, int thread) {
    if (uint32_t(thread) >= folded) return;
    for (uint32_t l = uint32_t(thread) + folded; l < lanes; l += folded) v[thread] += v[l];
  }
  VOXGRAD_HD static float first_lanes(const float (&v)[tile_threads], uint32_t lanes) {
    float sum = 0;
    for (uint32_t l = 0; l < lanes && l < folded; ++l) sum += v[l];
    return sum;
  }
};

/// Merges partial sums in double and in fixed order. Two phases: gather(), then total(q) of this thread's channel.
template <int own>
struct MergedSums {
  static constexpr int most = own + most_head_outputs + 1;
  ChannelLanes::Sums sums[most];

  VOXGRAD_HD void gather(const ChannelLanes& lane, const float* partials, int64_t parts, int64_t C, int Co) {
    const int64_t size = partial_size(own, C, Co);
    if (lane.channel < C)
      for (int q = 0; q < own + Co; ++q) lane.put(sums[q], lane.gather(partials + q * C + lane.channel, parts, size));
    if (lane.channel < Co) lane.put(sums[most - 1], lane.gather(partials + (own + Co) * C + lane.channel, parts, size));
  }
  /// The head's gradients dw [C, Co] and db [Co]; lane own + co has output co.
  VOXGRAD_HD void write_head(const ChannelLanes& lane, int64_t C, int Co, float* dw, float* db) const {
    const int co = lane.lane - own;
    if (co >= 0 && co < Co && lane.channel < C && dw) dw[lane.channel * Co + co] = float(lane.total(sums[own + co]));
    if (lane.lane == ChannelLanes::lanes - 1 && lane.channel < Co && db) db[lane.channel] = float(lane.total(sums[most - 1]));
  }
  static int64_t blocks(int64_t C, int Co) { return ChannelLanes::blocks(C > Co ? C : Co); }
};

}  // namespace voxgrad::cuda
