// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Gradients of the first convolution's weight and bias. A kernel is cut into parts of at most 3x3x3 taps; a block has one
// part, one input channel, 8 output channels and one tile of voxels. A thread walks along one row of the tile and keeps
// the 3 x 8 sums of the part's taps (z, y, *); the rows' sums are then added in order and written as the block's partial,
// which FinishFirstConvWeight merges.

#include "voxgrad/cuda/kernels/channel_lanes.hpp"
#include "voxgrad/cuda/kernels/first_conv.hpp"

namespace voxgrad::cuda {

/// Which block has which work: tile, group of outputs, input channel and part of the kernel, the last changing fastest.
struct FirstConvWeightBlocks {
  static constexpr int taps = 27, outputs = FirstConvTile::outputs;
  static constexpr int sums = (taps + 1) * outputs;  ///< of a block's partial: [tap, output], then the bias

  uint32_t parts[3], Ci, groups;

  VOXGRAD_HD explicit FirstConvWeightBlocks(const FirstConvShape& s) : Ci(uint32_t(s.Ci)), groups(uint32_t(s.Co + outputs - 1) / outputs) {
    for (int i = 0; i < 3; ++i) parts[i] = uint32_t(s.kernel[i] + 2) / 3;
  }
  VOXGRAD_HD uint32_t per_tile() const { return groups * Ci * parts[0] * parts[1] * parts[2]; }
  VOXGRAD_HD uint32_t within_tile(uint32_t group, uint32_t ci, uint32_t pz, uint32_t py, uint32_t px) const {
    return (((group * Ci + ci) * parts[0] + pz) * parts[1] + py) * parts[2] + px;
  }
};

template <class E>
struct FirstConvWeight {
  using Tile = FirstConvTile;
  static constexpr const char* name = "first_conv_weight";
  static constexpr int rows = Tile::z * Tile::y, threads = rows * 9, phases = 4;
  static constexpr int outputs = Tile::outputs, width = width_of<E>;
  struct Args {
    FirstConvShape shape;
    const E* x;         ///< [N, extent, Ci]
    Slice<const E> dy;  ///< [N extent, Co]
    float* partials;    ///< workspace()
  };
  static constexpr int halo_x = Tile::x + 2, halo_y = Tile::y + 2, halo_z = Tile::z + 2;
  static constexpr int pitch = Tile::x * outputs + outputs;  ///< of a row of dy: neighbouring rows start in other banks
  struct Staged {
    float x[halo_z * halo_y * halo_x];
    alignas(16) float dy[rows * pitch];
  };
  struct Found {
    float sum[rows][9][3][outputs];
    float bias[threads][outputs];
  };
  union Shared {
    Staged staged;
    Found found;
  };
  struct Thread {
    float sum[3][outputs], bias[outputs];
  };

  static int64_t workspace(const FirstConvShape& s) { return count(s) * FirstConvWeightBlocks::sums * int64_t(sizeof(float)); }
  static int64_t blocks(const Args& a) {
    check_first_conv(name, a.shape);
    return count(a.shape);
  }

  template <int phase>
  VOXGRAD_HD static void run(const Args& a, At at, Shared& shared, Thread& t) {
    if constexpr (phase == 0) {
      stage(a, at, shared.staged, t);
    } else if constexpr (phase == 1) {
      walk(shared.staged, at.thread, t);
    } else if constexpr (phase == 2) {
      const int row = at.thread / 9, zy = at.thread % 9;
      for (int kx = 0; kx < 3; ++kx)
        for (int j = 0; j < outputs; ++j) shared.found.sum[row][zy][kx][j] = t.sum[kx][j];
      for (int j = 0; j < outputs; ++j) shared.found.bias[at.thread][j] = t.bias[j];
    } else {
      add_up(shared.found, at, a.partials + at.block * FirstConvWeightBlocks::sums);
    }
  }

 private:
  static int64_t count(const FirstConvShape& s) { return Tile::count(s) * FirstConvWeightBlocks(s).per_tile(); }

  VOXGRAD_HD static void stage(const Args& a, At at, Staged& staged, Thread& t) {
    const FirstConvShape& s = a.shape;
    const FirstConvWeightBlocks b(s);
    const uint32_t tile_number = uint32_t(at.block) / b.per_tile();
    uint32_t rest = uint32_t(at.block) - tile_number * b.per_tile();
    int tap[3];  // the part's first
    for (int i = 2; i >= 0; --i) {
      tap[i] = int(rest % b.parts[i]) * 3;
      rest /= b.parts[i];
    }
    const uint32_t ci = rest % b.Ci;
    const Tile tile(s, tile_number, rest / b.Ci);
    for (int i = at.thread; i < halo_z * halo_y * halo_x; i += threads) {
      const int x = tile.at[2] + i % halo_x + tap[2] - int(s.kernel[2] / 2), y = tile.at[1] + i / halo_x % halo_y + tap[1] - int(s.kernel[1] / 2),
                z = tile.at[0] + i / halo_x / halo_y + tap[0] - int(s.kernel[0] / 2);
      const bool inside = z >= 0 && z < s.extent[0] && y >= 0 && y < s.extent[1] && x >= 0 && x < s.extent[2];
      staged.x[i] = inside ? float(a.x[(((tile.n * s.extent[0] + z) * s.extent[1] + y) * s.extent[2] + x) * s.Ci + ci]) : 0;
    }
    for (int j = 0; j < outputs; ++j) t.bias[j] = 0;
    const bool whole = tile.output + outputs <= s.Co && fits(width, a.dy);
    for (int i = at.thread; i < rows * Tile::x; i += threads) {
      const int x = i % Tile::x, row = i / Tile::x;
      float v[outputs];
      read(a, tile, row / Tile::y, row % Tile::y, x, whole, v);
      for (int j = 0; j < outputs; ++j) t.bias[j] += v[j];
      store<outputs>(staged.dy + row * pitch + x * outputs, v);
    }
  }
  /// The gradient of a voxel of the tile; zero outside of the volume and of the channels.
  VOXGRAD_HD static void read(const Args& a, const Tile& tile, int dz, int dy, int dx, bool whole, float (&v)[outputs]) {
    const FirstConvShape& s = a.shape;
    const int64_t z = tile.at[0] + dz, y = tile.at[1] + dy, x = tile.at[2] + dx;
    const bool inside = z < s.extent[0] && y < s.extent[1] && x < s.extent[2];
    for (float& e : v) e = 0;
    if (!inside) return;
    const E* from = a.dy.at(((tile.n * s.extent[0] + z) * s.extent[1] + y) * s.extent[2] + x, tile.output);
    if (whole) {
      load<outputs>(from, v);
    } else {
      for (int j = 0; j < outputs; ++j)
        if (tile.output + j < s.Co) v[j] = float(from[j]);
    }
  }
  VOXGRAD_HD static void walk(const Staged& staged, int thread, Thread& t) {
    const int row = thread / 9, ky = thread % 3, kz = thread / 3 % 3;
    const float* x = staged.x + ((row / Tile::y + kz) * halo_y + row % Tile::y + ky) * halo_x;
    const float* dy = staged.dy + row * pitch;
    float sum[3][outputs];
    for (auto& s : sum)
      for (float& v : s) v = 0;
    float in[3] = {x[0], x[1], 0};
    for (int i = 0; i < Tile::x; ++i, dy += outputs) {
      in[2] = x[i + 2];
      float g[outputs];
      load<outputs>(dy, g);
      for (int kx = 0; kx < 3; ++kx)
        for (int j = 0; j < outputs; ++j) sum[kx][j] += in[kx] * g[j];
      in[0] = in[1];
      in[1] = in[2];
    }
    for (int kx = 0; kx < 3; ++kx)
      for (int j = 0; j < outputs; ++j) t.sum[kx][j] = sum[kx][j];
  }
  VOXGRAD_HD static void add_up(const Found& found, At at, float* partial) {
    constexpr int weights = FirstConvWeightBlocks::taps * outputs;
    const int i = at.thread;
    if (i < weights) {
      const int j = i % outputs, tap = i / outputs;
      float sum = 0;
      for (int row = 0; row < rows; ++row) sum += found.sum[row][tap / 3][tap % 3][j];
      partial[i] = sum;
    } else if (i < weights + outputs) {
      float sum = 0;
      for (int thread = 0; thread < threads; ++thread) sum += found.bias[thread][i - weights];
      partial[i] = sum;
    }
  }
};

/// dw [Co, taps, Ci] and db [Co]: the tiles' partials, merged in double and in fixed order.
struct FinishFirstConvWeight {
  static constexpr const char* name = "finish_first_conv_weight";
  static constexpr int threads = ChannelLanes::threads, phases = 2;
  struct Args {
    FirstConvShape shape;
    const float* partials;
    float *dw, *db;  ///< each null where not wanted
  };
  struct Shared {
    ChannelLanes::Sums sums;
  };
  using Thread = Nothing;

  /// 8 neighbouring outputs of a tap and an input channel, or of the bias, are the lanes' channels.
  static int64_t blocks(const Args& a) {
    const FirstConvShape& s = a.shape;
    return int64_t(FirstConvWeightBlocks(s).groups) * (s.taps() * s.Ci + 1);
  }

  template <int phase>
  VOXGRAD_HD static void run(const Args& a, At at, Shared& shared, Thread&) {
    const FirstConvShape& s = a.shape;
    const FirstConvWeightBlocks b(s);
    const int64_t inputs = s.taps() * s.Ci, group = at.block / (inputs + 1), input = at.block - group * (inputs + 1);
    const ChannelLanes lane(At{group, b.groups, at.thread});
    const bool bias = input == inputs;
    const int64_t ci = input % s.Ci, tap = bias ? 0 : input / s.Ci;
    if constexpr (phase == 0) {
      const int64_t kx = tap % s.kernel[2], ky = tap / s.kernel[2] % s.kernel[1], kz = tap / s.kernel[2] / s.kernel[1];
      const uint32_t block = b.within_tile(uint32_t(group), bias ? 0 : uint32_t(ci), uint32_t(kz / 3), uint32_t(ky / 3), uint32_t(kx / 3));
      const int64_t place = bias ? FirstConvWeightBlocks::taps : ((kz % 3) * 3 + ky % 3) * 3 + kx % 3;
      const float* from = a.partials + block * FirstConvWeightBlocks::sums + place * FirstConvWeightBlocks::outputs + at.thread % ChannelLanes::channels;
      lane.put(shared.sums, lane.gather(from, FirstConvTile::count(s), int64_t(b.per_tile()) * FirstConvWeightBlocks::sums));
    } else if (lane.lane == 0 && lane.channel < s.Co) {
      const auto sum = float(lane.total(shared.sums));
      if (bias && a.db) a.db[lane.channel] = sum;
      if (!bias && a.dw) a.dw[lane.channel * inputs + input] = sum;
    }
  }
};

}  // namespace voxgrad::cuda
