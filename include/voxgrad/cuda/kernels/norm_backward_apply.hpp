// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// dz = scale g + z_factor z + offset with g = da act'(scale z + shift): the gradient of a batch norm with activation, once
// the sums over rows are known (FinishNormBackward).

#include "voxgrad/cuda/kernels/activation.hpp"
#include "voxgrad/cuda/kernels/channel_tile.hpp"
#include "voxgrad/cuda/kernels/gradient_source.hpp"

namespace voxgrad::cuda {

template <class E>
struct NormBackwardApply {
  static constexpr const char* name = "norm_backward_apply";
  static constexpr int threads = tile_threads, phases = 1, width = width_of<E>;
  struct Args {
    int64_t rows, C;
    Slice<const E> z;
    const float *scale, *shift;
    float slope;
    GradientSource<E> from;
    const float *z_factor, *offset;  ///< null: zero, as with running statistics
    Slice<E> dz;                     ///< may be z, from.first or from.second
  };
  using Shared = Nothing;
  using Thread = Nothing;

  VOXGRAD_HD static bool wide(const Args& a) {
    return a.C % width == 0 && fits(width, a.z) && fits(width, a.dz) && a.from.fit(width, a.C) &&
           fit(width, a.scale, a.shift, a.z_factor, a.offset);
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
    float scale[V], shift[V], factor[V], offset[V];
    load<V>(a.scale + tile.channel, scale);
    load<V>(a.shift + tile.channel, shift);
    for (int i = 0; i < V; ++i) factor[i] = offset[i] = 0;
    if (a.z_factor) load<V>(a.z_factor + tile.channel, factor);
    if (a.offset) load<V>(a.offset + tile.channel, offset);
    for (uint32_t row = tile.row; row < tile.last; row += tile.step) {
      float z[V], g[V];
      load<V>(a.z.at(row, tile.channel), z);
      a.from.load(row, tile.channel, a.C, g);
      for (int i = 0; i < V; ++i) {
        const float k = scale[i] * z[i] + shift[i] > 0 ? scale[i] : scale[i] * a.slope;
        g[i] = k * g[i] + (factor[i] * z[i] + offset[i]);
      }
      store<V>(a.dz.at(row, tile.channel), g);
    }
  }
};

}  // namespace voxgrad::cuda
