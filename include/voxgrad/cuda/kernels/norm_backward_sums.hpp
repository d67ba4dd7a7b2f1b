// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The sums that the gradient of a batch norm with activation needs: with g = da act'(scale z + shift) and the normalised
// zhat = (z - mean) inv_std, sum g and sum g zhat per channel, for each run of rows. With `head`, where da comes through a
// 1x1x1 convolution to a few outputs, also what that one needs: sum dlogit a and sum dlogit. FinishNormBackward merges.

#include "voxgrad/cuda/kernels/activation.hpp"
#include "voxgrad/cuda/kernels/gradient_source.hpp"
#include "voxgrad/cuda/kernels/partial_sums.hpp"

namespace voxgrad::cuda {

template <class E, bool head = false>
struct NormBackwardSums {
  using Sums = PartialSums<2, head, width_of<E>>;
  static constexpr const char* name = head ? "norm_backward_sums_head" : "norm_backward_sums";
  static constexpr int threads = tile_threads, phases = Sums::phases, width = width_of<E>;
  struct Args {
    int64_t rows, C;
    Slice<const E> z;
    const float *scale, *shift, *mean, *inv_std;
    float slope;
    GradientSource<E> from;
    float* partials;  ///< workspace()
  };
  using Shared = typename Sums::Shared;
  using Thread = typename Sums::Thread;

  static int64_t parts(int64_t rows, int64_t C) { return sum_parts(rows, C, width); }
  static int64_t workspace(int64_t rows, int64_t C, int Co = 0) { return parts(rows, C) * partial_size(2, C, Co) * int64_t(sizeof(float)); }
  VOXGRAD_HD static bool wide(const Args& a) {
    return a.C % width == 0 && fits(width, a.z) && a.from.fit(width, a.C) && fit(width, a.scale, a.shift, a.mean, a.inv_std);
  }
  static int64_t blocks(const Args& a) {
    check_head(name, head, a.from.head);
    return tile_blocks(parts(a.rows, a.C), a.C, wide(a) ? width : 1);
  }

  template <int phase>
  VOXGRAD_HD static void run(const Args& a, At at, Shared& s, Thread& t) {
    if (wide(a)) step<phase, width>(a, at, s, t);
    else step<phase, 1>(a, at, s, t);
  }

 private:
  template <int phase, int V>
  VOXGRAD_HD static void step(const Args& a, At at, Shared& s, Thread& t) {
    if constexpr (phase == 0) {
      t.tile = ChannelTile(at, a.rows, a.C, V);
      gather<V>(a, t);
    }
    Sums::template run<phase, V>(s, t, at.thread, a.C, head ? a.from.head.Co : 0, a.partials);
  }
  template <int V>
  VOXGRAD_HD static void gather(const Args& a, Thread& t) {
    const ChannelTile& tile = t.tile;
    float sum[Sums::quantities][V];
    for (auto& s : sum)
      for (float& v : s) v = 0;
    for (float& v : t.dlogit) v = 0;
    if (tile.row < tile.last) {
      float scale[V], shift[V], mean[V];
      load<V>(a.scale + tile.channel, scale);
      load<V>(a.shift + tile.channel, shift);
      load<V>(a.mean + tile.channel, mean);
      for (uint32_t row = tile.row; row < tile.last; row += tile.step) {
        float z[V], g[V];
        load<V>(a.z.at(row, tile.channel), z);
        a.from.load(row, tile.channel, a.C, g);
        if constexpr (head) add_head<V>(a, t, row, z, scale, shift, sum);
        for (int i = 0; i < V; ++i) {
          const float v = g[i] * (scale[i] * z[i] + shift[i] > 0 ? 1 : a.slope);
          sum[0][i] += v;
          sum[1][i] += v * (z[i] - mean[i]);
        }
      }
      for (int i = 0; i < V; ++i) sum[1][i] *= a.inv_std[tile.channel + uint32_t(i)];
    }
    for (int q = 0; q < Sums::quantities; ++q)
      for (int i = 0; i < V; ++i) t.sum[q][i] = sum[q][i];
  }
  template <int V>
  VOXGRAD_HD static void add_head(const Args& a, Thread& t, uint32_t row, const float (&z)[V], const float (&scale)[V],
                                  const float (&shift)[V], float (&sum)[Sums::quantities][V]) {
    for (int co = 0; co < most_head_outputs; ++co) {
      if (co >= a.from.head.Co) break;
      const float d = a.from.head.dlogit[int64_t(row) * a.from.head.Co + co];
      t.dlogit[co] += d;
      for (int i = 0; i < V; ++i) sum[2 + co][i] += d * leaky(scale[i] * z[i] + shift[i], a.slope);
    }
  }
};

/// From the sums to the gradients of gamma and beta, and to dz = scale g + z_factor z + offset.
struct FinishNormBackward {
  static constexpr const char* name = "finish_norm_backward";
  static constexpr int threads = ChannelLanes::threads, phases = 2;
  struct Args {
    int64_t rows, C, parts;
    const float* partials;
    int Co;  ///< outputs of the head whose sums are among the partials; 0: none
    const float *scale, *mean, *inv_std;
    bool batch_statistics;       ///< mean and inv_std are functions of z
    float *dgamma, *dbeta;       ///< null: not wanted, as with all below
    float *z_factor, *offset;
    float* conv_dbias;           ///< of the bias before the norm: zero with batch statistics
    float *head_dw, *head_db;    ///< [C, Co], [Co]
  };
  using Shared = MergedSums<2>;
  using Thread = Nothing;

  static int64_t blocks(const Args& a) { return Shared::blocks(a.C, a.Co); }

  template <int phase>
  VOXGRAD_HD static void run(const Args& a, At at, Shared& s, Thread&) {
    const ChannelLanes lane(at);
    if constexpr (phase == 0) {
      s.gather(lane, a.partials, a.parts, a.C, a.Co);
    } else {
      s.write_head(lane, a.C, a.Co, a.head_dw, a.head_db);
      if (lane.lane == 0 && lane.channel < a.C) write(a, lane.channel, lane.total(s.sums[0]), lane.total(s.sums[1]));
    }
  }

 private:
  VOXGRAD_HD static void write(const Args& a, int64_t c, double sum, double dot) {
    if (a.dbeta) a.dbeta[c] = float(sum);
    if (a.dgamma) a.dgamma[c] = float(dot);
    const double scale = double(a.scale[c]), n = double(a.rows);
    const double z_factor = a.batch_statistics ? -scale * double(a.inv_std[c]) * dot / n : 0;
    const double offset = a.batch_statistics ? -scale * sum / n - z_factor * double(a.mean[c]) : 0;
    if (a.z_factor) a.z_factor[c] = float(z_factor);
    if (a.offset) a.offset[c] = float(offset);
    if (a.conv_dbias) a.conv_dbias[c] = a.batch_statistics ? 0 : float(scale * sum);
  }
};

}  // namespace voxgrad::cuda
