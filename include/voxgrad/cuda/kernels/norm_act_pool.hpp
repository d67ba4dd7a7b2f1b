// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// NormAct together with the max-pooling that follows it: a thread has a window, so that the activated tensor is written once
// and never read. Windows are of 1 or 2 voxels per axis and do not overlap; voxels left over at the end of an odd extent are
// activated and not pooled.

#include "voxgrad/core/error.hpp"
#include "voxgrad/cuda/kernels/activation.hpp"
#include "voxgrad/cuda/kernels/channel_tile.hpp"
#include "voxgrad/cuda/kernels/slice.hpp"
#include "voxgrad/cuda/kernels/unrolled.hpp"

namespace voxgrad::cuda {

template <class E>
struct NormActPool {
  static constexpr const char* name = "norm_act_pool";
  static constexpr int threads = tile_threads, phases = 1, width = width_of<E>;
  struct Args {
    int64_t N, D, H, W, C;
    int64_t window[3];
    Slice<const E> z;
    const float *scale, *shift;
    float slope;      ///< 1: no activation
    Slice<E> a;       ///< may be z
    E* pooled;        ///< [N, D / window, H / window, W / window, C]
    uint8_t* argmax;  ///< of the same shape, null: not wanted. Position in the window of the first maximum, in scan order
  };
  using Shared = Nothing;
  using Thread = Nothing;

  VOXGRAD_HD static bool wide(const Args& a) {
    return a.C % width == 0 && fits(width, a.z) && fits(width, a.a) && fits(width, a.pooled, a.C) && fit(width, a.scale, a.shift) &&
           reinterpret_cast<uintptr_t>(a.argmax) % uintptr_t(width) == 0;
  }
  static int64_t blocks(const Args& a) {
    for (const int64_t k : a.window)
      check<DeviceError>(k == 1 || k == 2, name, ": a window of ", a.window[0], "x", a.window[1], "x", a.window[2], " (expected 1 or 2 voxels per axis)");
    return tile_blocks(stream_parts(windows(a), a.C, width), a.C, wide(a) ? width : 1);
  }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    if (wide(a)) rows<width>(a, at);
    else rows<1>(a, at);
  }

 private:
  VOXGRAD_HD static int64_t across(const Args& a, int axis) {
    return ((axis == 0 ? a.D : axis == 1 ? a.H : a.W) + a.window[axis] - 1) / a.window[axis];
  }
  static int64_t windows(const Args& a) { return a.N * across(a, 0) * across(a, 1) * across(a, 2); }

  template <int V>
  VOXGRAD_HD static void rows(const Args& a, At at) {
    const uint32_t nz = uint32_t(across(a, 0)), ny = uint32_t(across(a, 1)), nx = uint32_t(across(a, 2));
    const ChannelTile tile(at, a.N * nz * ny * nx, a.C, V);
    if (tile.row >= tile.last) return;
    float scale[V], shift[V];
    load<V>(a.scale + tile.channel, scale);
    load<V>(a.shift + tile.channel, shift);
    for (uint32_t w = tile.row; w < tile.last; w += tile.step) {
      const uint32_t x = w % nx, nzy = w / nx, y = nzy % ny, nz_ = nzy / ny, z = nz_ % nz, n = nz_ / nz;
      window<V>(a, n, z, y, x, tile.channel, scale, shift);
    }
  }
  template <int V>
  VOXGRAD_HD static void window(const Args& a, uint32_t n, uint32_t oz, uint32_t oy, uint32_t ox, uint32_t channel, const float (&scale)[V],
                                const float (&shift)[V]) {
    const int kD = int(a.window[0]), kH = int(a.window[1]), kW = int(a.window[2]);
    const int64_t z0 = int64_t(oz) * kD, y0 = int64_t(oy) * kH, x0 = int64_t(ox) * kW;
    const int64_t first = ((n * a.D + z0) * a.H + y0) * a.W + x0;
    const auto there = [&](int p) {  // voxel p of 2x2x2
      const int z = p >> 2, y = p >> 1 & 1, x = p & 1;
      return z < kD && y < kH && x < kW && z0 + z < a.D && y0 + y < a.H && x0 + x < a.W;
    };
    const auto row = [&](int p) { return first + ((p >> 2) * a.H + (p >> 1 & 1)) * a.W + (p & 1); };
    Pack<E, V> values[8];
    unrolled<8>([&](int p) { values[p] = *reinterpret_cast<const Pack<E, V>*>(a.z.at(there(p) ? row(p) : first, channel)); });
    float best[V];
    uint8_t winner[V];
    for (int i = 0; i < V; ++i) best[i] = 0, winner[i] = 0;
    unrolled<8>([&](int p) {
      if (!there(p)) return;
      const auto position = uint8_t(((p >> 2) * kH + (p >> 1 & 1)) * kW + (p & 1));
      Pack<E, V> out;
      for (int i = 0; i < V; ++i) {
        out.v[i] = E(leaky(scale[i] * float(values[p].v[i]) + shift[i], a.slope));
        const float v = float(out.v[i]);  // what a pooling that reads the stored tensor would see
        if (p == 0 || v > best[i] || v != v) best[i] = v, winner[i] = position;
      }
      *reinterpret_cast<Pack<E, V>*>(a.a.at(row(p), channel)) = out;
    });
    if (z0 + kD > a.D || y0 + kH > a.H || x0 + kW > a.W) return;
    const int64_t to = (((n * (a.D / kD) + oz) * (a.H / kH) + oy) * (a.W / kW) + ox) * a.C + channel;
    store<V>(a.pooled + to, best);
    if (a.argmax == nullptr) return;
    Pack<uint8_t, V> winners;
    for (int i = 0; i < V; ++i) winners.v[i] = winner[i];
    *reinterpret_cast<Pack<uint8_t, V>*>(a.argmax + to) = winners;
  }
};

}  // namespace voxgrad::cuda
