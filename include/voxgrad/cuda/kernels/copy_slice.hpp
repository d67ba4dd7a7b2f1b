// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// to = from, and to += from, of matrices that may lie inside wider ones.

#include "voxgrad/cuda/kernels/channel_tile.hpp"
#include "voxgrad/cuda/kernels/slice.hpp"

namespace voxgrad::cuda {

template <class E, bool add>
struct MoveSlice {
  static constexpr const char* name = add ? "add_into" : "copy_slice";
  static constexpr int threads = tile_threads, phases = 1, width = width_of<E>;
  struct Args {
    int64_t rows, C;
    Slice<const E> from;
    Slice<E> to;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  VOXGRAD_HD static bool wide(const Args& a) { return a.C % width == 0 && fits(width, a.from) && fits(width, a.to); }
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
    constexpr int U = 4;
    for (uint32_t r = tile.row; r < tile.last; r += U * tile.step) {
      Pack<E, V> from[U], to[U];
      for (int u = 0; u < U; ++u) {
        const uint32_t row = tile.batch_row(r, u);
        from[u] = *reinterpret_cast<const Pack<E, V>*>(a.from.at(row, tile.channel));
        if constexpr (add) to[u] = *reinterpret_cast<const Pack<E, V>*>(a.to.at(row, tile.channel));
      }
      for (int u = 0; u < U; ++u) {
        const uint32_t row = r + uint32_t(u) * tile.step;
        if (row >= tile.last) break;
        if constexpr (add)
          for (int i = 0; i < V; ++i) from[u].v[i] = E(float(to[u].v[i]) + float(from[u].v[i]));
        *reinterpret_cast<Pack<E, V>*>(a.to.at(row, tile.channel)) = from[u];
      }
    }
  }
};

template <class E>
using CopySlice = MoveSlice<E, false>;
template <class E>
using AddInto = MoveSlice<E, true>;

}  // namespace voxgrad::cuda
