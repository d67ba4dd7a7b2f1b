// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Count, mean and sum of squared distances from the mean of every channel, for each run of rows. Sums are taken of the
// distances from the run's first value, so that a mean far from zero costs no digits; FinishNorm merges the runs.

#include "voxgrad/cuda/kernels/channel_sums.hpp"
#include "voxgrad/cuda/kernels/slice.hpp"

namespace voxgrad::cuda {

template <class E>
struct ChannelMoments {
  static constexpr const char* name = "channel_moments";
  static constexpr int threads = tile_threads, phases = 6, width = width_of<E>;
  struct Args {
    int64_t rows, C;
    Slice<const E> z;
    float* partials;  ///< [parts, 4, C]: count, first, mean - first, squares
  };
  struct Shared {
    ChannelSums<width> sums;
    float sum[tile_threads * width];
  };
  struct Thread {
    ChannelTile tile;
    float squares[width];
  };

  static int64_t parts(int64_t rows, int64_t C) { return sum_parts(rows, C, width); }
  static int64_t workspace(int64_t rows, int64_t C) { return parts(rows, C) * 4 * C * int64_t(sizeof(float)); }
  VOXGRAD_HD static bool wide(const Args& a) { return a.C % width == 0 && fits(width, a.z); }
  static int64_t blocks(const Args& a) { return tile_blocks(parts(a.rows, a.C), a.C, wide(a) ? width : 1); }

  template <int phase>
  VOXGRAD_HD static void run(const Args& a, At at, Shared& s, Thread& t) {
    if (wide(a)) step<phase, width>(a, at, s, t);
    else step<phase, 1>(a, at, s, t);
  }

 private:
  template <int phase, int V>
  VOXGRAD_HD static void step(const Args& a, At at, Shared& s, Thread& t) {
    ChannelTile& tile = t.tile;
    if constexpr (phase == 0) {
      tile = ChannelTile(at, a.rows, a.C, V);
      float sum[V];
      gather<V>(a, t, sum);
      s.sums.put(tile, sum);
    } else if constexpr (phase == 1 || phase == 4) {
      s.sums.fold(tile, at.thread);
    } else if constexpr (phase == 2) {
      for (uint32_t c = uint32_t(at.thread); c < tile.channels; c += threads) s.sum[c] = s.sums.total(tile, c);
    } else if constexpr (phase == 3) {
      float squares[V];
      for (int i = 0; i < V; ++i) squares[i] = t.squares[i];
      s.sums.put(tile, squares);
    } else {
      float* const to = a.partials + int64_t(tile.part) * 4 * a.C + tile.first;
      const float count = float(tile.last - tile.start);
      for (uint32_t c = uint32_t(at.thread); c < tile.channels; c += threads) {
        const float mean = s.sum[c] / count, squares = s.sums.total(tile, c) - s.sum[c] * mean;
        to[c] = count;
        to[a.C + c] = float(*a.z.at(tile.start, tile.first + c));
        to[2 * a.C + c] = mean;
        to[3 * a.C + c] = squares < 0 ? 0 : squares;
      }
    }
  }
  template <int V>
  VOXGRAD_HD static void gather(const Args& a, Thread& t, float (&sum)[V]) {
    const ChannelTile& tile = t.tile;
    float squares[V];
    for (int i = 0; i < V; ++i) sum[i] = squares[i] = 0;
    if (tile.row < tile.last) {
      float from[V];
      load<V>(a.z.at(tile.start, tile.channel), from);
      constexpr int U = 4;
      for (uint32_t r = tile.row; r < tile.last; r += U * tile.step) {
        float z[U][V];
        for (int u = 0; u < U; ++u) load<V>(a.z.at(tile.batch_row(r, u), tile.channel), z[u]);
        for (int u = 0; u < U; ++u) {
          if (r + uint32_t(u) * tile.step >= tile.last) break;
          for (int i = 0; i < V; ++i) {
            const float d = z[u][i] - from[i];
            sum[i] += d;
            squares[i] += d * d;
          }
        }
      }
    }
    for (int i = 0; i < V; ++i) t.squares[i] = squares[i];
  }
};

}  // namespace voxgrad::cuda
