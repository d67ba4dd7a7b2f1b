// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Max-pooling without padding, for any window and stride; windows may overlap. The winner of each output is kept as a byte,
// its position in the window in scan order; the first maximum wins, a NaN wins over every number.

#include "voxgrad/cuda/kernels/channel_tile.hpp"
#include "voxgrad/cuda/kernels/slice.hpp"
#include "voxgrad/cuda/kernels/voxel_place.hpp"

namespace voxgrad::cuda {

/// x [N, in, C], y [N, out, C] with out = (in - kernel) / stride + 1.
struct PoolShape {
  int64_t N, in[3], C, kernel[3], stride[3];

  VOXGRAD_HD int64_t out(int axis) const { return in[axis] < kernel[axis] ? 0 : (in[axis] - kernel[axis]) / stride[axis] + 1; }
  VOXGRAD_HD int64_t rows_in() const { return N * in[0] * in[1] * in[2]; }
  VOXGRAD_HD int64_t rows_out() const { return N * out(0) * out(1) * out(2); }
};

inline void check_pool(const char* kernel, const PoolShape& p) {
  const int64_t volume = p.kernel[0] * p.kernel[1] * p.kernel[2];
  check<DeviceError>(volume >= 1 && volume <= 256, kernel, ": a window of ", p.kernel[0], "x", p.kernel[1], "x", p.kernel[2],
                     " (expected at most 256 voxels, whose positions fit a byte)");
}

template <class E>
struct MaxPool {
  static constexpr const char* name = "max_pool";
  static constexpr int threads = tile_threads, phases = 1, width = width_of<E>;
  struct Args {
    PoolShape shape;
    Slice<const E> x;
    Slice<E> y;
    uint8_t* argmax;  ///< [rows of y, C]; null: not wanted
  };
  using Shared = Nothing;
  using Thread = Nothing;

  VOXGRAD_HD static bool wide(const Args& a) {
    return a.shape.C % width == 0 && fits(width, a.x) && fits(width, a.y) && reinterpret_cast<uintptr_t>(a.argmax) % uintptr_t(width) == 0;
  }
  static int64_t blocks(const Args& a) {
    check_pool(name, a.shape);
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
    const PoolShape& p = a.shape;
    const int64_t out[3] = {p.out(0), p.out(1), p.out(2)};
    const ChannelTile tile(at, p.N * out[0] * out[1] * out[2], p.C, V);
    for (uint32_t o = tile.row; o < tile.last; o += tile.step) {
      const VoxelPlace place(o, out[0], out[1], out[2]);
      float best[V];
      Pack<uint8_t, V> winner;
      for (int i = 0; i < V; ++i) best[i] = 0, winner.v[i] = 0;
      int position = 0;
      for (int64_t kz = 0; kz < p.kernel[0]; ++kz)
        for (int64_t ky = 0; ky < p.kernel[1]; ++ky) {
          const int64_t z = place.at[0] * p.stride[0] + kz, y = place.at[1] * p.stride[1] + ky;
          int64_t row = ((place.n * p.in[0] + z) * p.in[1] + y) * p.in[2] + place.at[2] * p.stride[2];
          for (int64_t kx = 0; kx < p.kernel[2]; ++kx, ++position, ++row) {
            float v[V];
            load<V>(a.x.at(row, tile.channel), v);
            for (int i = 0; i < V; ++i)
              if (position == 0 || v[i] > best[i] || v[i] != v[i]) best[i] = v[i], winner.v[i] = uint8_t(position);
          }
        }
      store<V>(a.y.at(o, tile.channel), best);
      if (a.argmax) *reinterpret_cast<Pack<uint8_t, V>*>(a.argmax + int64_t(o) * p.C + tile.channel) = winner;
    }
  }
};

/// dx = the sum over the windows that a voxel has won.
template <class E>
struct MaxPoolBackward {
  static constexpr const char* name = "max_pool_backward";
  static constexpr int threads = tile_threads, phases = 1, width = width_of<E>;
  struct Args {
    PoolShape shape;
    Slice<const E> dy;
    const uint8_t* argmax;
    Slice<E> dx;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  VOXGRAD_HD static bool wide(const Args& a) {
    return a.shape.C % width == 0 && fits(width, a.dy) && fits(width, a.dx) && reinterpret_cast<uintptr_t>(a.argmax) % uintptr_t(width) == 0;
  }
  static int64_t blocks(const Args& a) {
    check_pool(name, a.shape);
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
    const PoolShape& p = a.shape;
    const int64_t out[3] = {p.out(0), p.out(1), p.out(2)};
    const ChannelTile tile(at, p.rows_in(), p.C, V);
    for (uint32_t r = tile.row; r < tile.last; r += tile.step) {
      const VoxelPlace place(r, p.in[0], p.in[1], p.in[2]);
      int first[3], last[3];  // outputs whose windows reach this voxel
      for (int axis = 0; axis < 3; ++axis) {
        const int k = int(p.kernel[axis]), step = int(p.stride[axis]), before = place.at[axis] - k + 1, most = int(out[axis]) - 1;
        first[axis] = before > 0 ? (before + step - 1) / step : 0;
        last[axis] = place.at[axis] / step < most ? place.at[axis] / step : most;
      }
      float g[V];
      for (int i = 0; i < V; ++i) g[i] = 0;
      for (int z = first[0]; z <= last[0]; ++z)
        for (int y = first[1]; y <= last[1]; ++y) {
          const int64_t row = ((place.n * out[0] + z) * out[1] + y) * out[2];
          const int position = ((place.at[0] - z * int(p.stride[0])) * int(p.kernel[1]) + place.at[1] - y * int(p.stride[1])) * int(p.kernel[2]) +
                               place.at[2];
          for (int x = first[2]; x <= last[2]; ++x) add<V>(a, row + x, tile.channel, position - x * int(p.stride[2]), g);
        }
      store<V>(a.dx.at(r, tile.channel), g);
    }
  }
  template <int V>
  VOXGRAD_HD static void add(const Args& a, int64_t row, uint32_t channel, int position, float (&g)[V]) {
    float v[V];
    load<V>(a.dy.at(row, channel), v);
    const auto winner = *reinterpret_cast<const Pack<uint8_t, V>*>(a.argmax + row * a.shape.C + channel);
    for (int i = 0; i < V; ++i) g[i] += winner.v[i] == position ? v[i] : 0;
  }
};

}  // namespace voxgrad::cuda
