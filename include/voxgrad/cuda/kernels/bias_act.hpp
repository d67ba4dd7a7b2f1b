// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// y = act(scale z + bias + second): the end of a convolution without batch norm, the place of an up-sampled half in a joined
// tensor, the sum at the end of a residual block. Whatever is absent is left out.

#include "voxgrad/cuda/kernels/activation.hpp"
#include "voxgrad/cuda/kernels/channel_tile.hpp"
#include "voxgrad/cuda/kernels/slice.hpp"

namespace voxgrad::cuda {

/// scale z + bias + second as V floats, with what belongs to the channels kept by the thread.
template <class E, int V>
struct Preactivation {
  float scale[V], bias[V];

  VOXGRAD_HD Preactivation(const float* scales, const float* biases, uint32_t channel) {
    for (int i = 0; i < V; ++i) scale[i] = 1, bias[i] = 0;
    if (scales) load<V>(scales + channel, scale);
    if (biases) load<V>(biases + channel, bias);
  }
  VOXGRAD_HD void read(const Slice<const E>& z, const Slice<const E>& second, uint32_t row, uint32_t channel, float (&v)[V]) const {
    load<V>(z.at(row, channel), v);
    for (int i = 0; i < V; ++i) v[i] = scale[i] * v[i] + bias[i];
    if (!second) return;
    float other[V];
    load<V>(second.at(row, channel), other);
    for (int i = 0; i < V; ++i) v[i] += other[i];
  }
};

template <class E>
struct BiasAct {
  static constexpr const char* name = "bias_act";
  static constexpr int threads = tile_threads, phases = 1, width = width_of<E>;
  struct Args {
    int64_t rows, C;
    Slice<const E> z;
    const float *scale, *bias;  ///< [C] or null
    Slice<const E> second;      ///< data may be null
    Activation activation;
    Slice<E> y;                 ///< may be z or second
  };
  using Shared = Nothing;
  using Thread = Nothing;

  VOXGRAD_HD static bool wide(const Args& a) {
    return a.C % width == 0 && is_cheap(a.activation) && fits(width, a.z) && fits(width, a.second) && fits(width, a.y) && fit(width, a.scale, a.bias);
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
    const Preactivation<E, V> before(a.scale, a.bias, tile.channel);
    constexpr int U = 2;
    for (uint32_t r = tile.row; r < tile.last; r += U * tile.step) {
      float v[U][V];
      for (int u = 0; u < U; ++u) before.read(a.z, a.second, tile.batch_row(r, u), tile.channel, v[u]);
      for (int u = 0; u < U; ++u) {
        const uint32_t row = r + uint32_t(u) * tile.step;
        if (row >= tile.last) break;
        activate(a.activation, v[u]);
        store<V>(a.y.at(row, tile.channel), v[u]);
      }
    }
  }
};

}  // namespace voxgrad::cuda
