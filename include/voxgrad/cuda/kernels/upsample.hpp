// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Nearest-neighbour up-sampling by whole factors, y[o] = x[o / factor], and its gradient, the sum over the copies.

#include "voxgrad/cuda/kernels/channel_tile.hpp"
#include "voxgrad/cuda/kernels/slice.hpp"
#include "voxgrad/cuda/kernels/voxel_place.hpp"

namespace voxgrad::cuda {

/// x [N, in, C], y [N, in factor, C].
struct UpsampleShape {
  int64_t N, in[3], C, factor[3];

  VOXGRAD_HD int64_t rows_in() const { return N * in[0] * in[1] * in[2]; }
  VOXGRAD_HD int64_t rows_out() const { return rows_in() * factor[0] * factor[1] * factor[2]; }
};

template <class E>
struct Upsample {
  static constexpr const char* name = "upsample";
  static constexpr int threads = tile_threads, phases = 1, width = width_of<E>;
  struct Args {
    UpsampleShape shape;
    Slice<const E> x;
    Slice<E> y;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  VOXGRAD_HD static bool wide(const Args& a) { return a.shape.C % width == 0 && fits(width, a.x) && fits(width, a.y); }
  static int64_t blocks(const Args& a) {
    return tile_blocks(stream_parts(a.shape.rows_out(), a.shape.C, width), a.shape.C, wide(a) ? width : 1);
  }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    if (wide(a)) rows<width>(a, at);
    else rows<1>(a, at);
  }

 private:
  template <int V>
  VOXGRAD_HD static void rows(const Args& a, At at) {
    const UpsampleShape& u = a.shape;
    const ChannelTile tile(at, u.rows_out(), u.C, V);
    for (uint32_t o = tile.row; o < tile.last; o += tile.step) {
      const VoxelPlace p(o, u.in[0] * u.factor[0], u.in[1] * u.factor[1], u.in[2] * u.factor[2]);
      const uint32_t z = uint32_t(p.at[0]) / uint32_t(u.factor[0]), y = uint32_t(p.at[1]) / uint32_t(u.factor[1]),
                     x = uint32_t(p.at[2]) / uint32_t(u.factor[2]);
      const int64_t from = ((p.n * u.in[0] + z) * u.in[1] + y) * u.in[2] + x;
      *reinterpret_cast<Pack<E, V>*>(a.y.at(o, tile.channel)) = *reinterpret_cast<const Pack<E, V>*>(a.x.at(from, tile.channel));
    }
  }
};

template <class E>
struct UpsampleBackward {
  static constexpr const char* name = "upsample_backward";
  static constexpr int threads = tile_threads, phases = 1, width = width_of<E>;
  struct Args {
    UpsampleShape shape;
    Slice<const E> dy;
    Slice<E> dx;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  VOXGRAD_HD static bool wide(const Args& a) { return a.shape.C % width == 0 && fits(width, a.dy) && fits(width, a.dx); }
  static int64_t blocks(const Args& a) {
    return tile_blocks(stream_parts(a.shape.rows_in(), a.shape.C, width), a.shape.C, wide(a) ? width : 1);
  }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    if (wide(a)) rows<width>(a, at);
    else rows<1>(a, at);
  }

 private:
  template <int V>
  VOXGRAD_HD static void rows(const Args& a, At at) {
    const UpsampleShape& u = a.shape;
    const ChannelTile tile(at, u.rows_in(), u.C, V);
    const int fz = int(u.factor[0]), fy = int(u.factor[1]), fx = int(u.factor[2]);
    const int64_t line = u.in[2] * fx, plane = u.in[1] * fy * line;
    for (uint32_t r = tile.row; r < tile.last; r += tile.step) {
      const VoxelPlace p(r, u.in[0], u.in[1], u.in[2]);
      const int64_t first = (p.n * u.in[0] + p.at[0]) * fz * plane + p.at[1] * fy * line + int64_t(p.at[2]) * fx;
      float sum[V];
      for (int i = 0; i < V; ++i) sum[i] = 0;
      for (int kz = 0; kz < fz; ++kz)
        for (int ky = 0; ky < fy; ++ky) {
          const E* from = a.dy.at(first + kz * plane + ky * line, tile.channel);
          for (int kx = 0; kx < fx; ++kx, from += a.dy.stride) {
            float v[V];
            load<V>(from, v);
            for (int i = 0; i < V; ++i) sum[i] += v[i];
          }
        }
      store<V>(a.dx.at(r, tile.channel), sum);
    }
  }
};

}  // namespace voxgrad::cuda
