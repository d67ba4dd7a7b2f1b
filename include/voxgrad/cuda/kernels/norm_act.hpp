// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// a = act(scale z + shift), act(v) = v > 0 ? v : slope v: the end of a batch norm, written straight into its place.

#include "voxgrad/cuda/kernels/activation.hpp"
#include "voxgrad/cuda/kernels/channel_tile.hpp"
#include "voxgrad/cuda/kernels/slice.hpp"

namespace voxgrad::cuda {

template <class E>
struct NormAct {
  static constexpr const char* name = "norm_act";
  static constexpr int threads = tile_threads, phases = 1, width = width_of<E>;
  struct Args {
    int64_t rows, C;
    Slice<const E> z;
    const float *scale, *shift;
    float slope;  ///< 1: no activation
    Slice<E> a;   ///< may be z
  };
  using Shared = Nothing;
  using Thread = Nothing;

  VOXGRAD_HD static bool wide(const Args& a) {
    return a.C % width == 0 && fits(width, a.z) && fits(width, a.a) && fit(width, a.scale, a.shift);
  }
  static int64_t blocks(const Args& a) { return tile_blocks(stream_parts(a.rows, a.C, width), a.C, wide(a) ? width : 1); }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    if (wide(a)) rows<width>(a, at);
    else rows<1>(a, at);
  }

 private:
  template <int V>
  VOXGRAD_HD static void rows(const Args& a, At at) {
    const ChannelTile tile(at, a.rows, a.C, V);
    if (tile.row >= tile.last) return;
    float scale[V], shift[V];
    load<V>(a.scale + tile.channel, scale);
    load<V>(a.shift + tile.channel, shift);
    constexpr int U = 4;
    for (uint32_t r = tile.row; r < tile.last; r += U * tile.step) {
      float v[U][V];
      for (int u = 0; u < U; ++u) load<V>(a.z.at(tile.batch_row(r, u), tile.channel), v[u]);
      for (int u = 0; u < U; ++u) {
        const uint32_t row = r + uint32_t(u) * tile.step;
        if (row >= tile.last) break;
        for (int i = 0; i < V; ++i) v[u][i] = leaky(scale[i] * v[u][i] + shift[i], a.slope);
        store<V>(a.a.at(row, tile.channel), v[u]);
      }
    }
  }
};

}  // namespace voxgrad::cuda
