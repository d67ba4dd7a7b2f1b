// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Prediction in overlapping tiles (data/tiles.hpp): tiles of a movie in the card's memory, mirrored beyond its edges; the
// weighted sum of the network's outputs; and what becomes of the sum. Equal to the CPU's to the bit.

#include "voxgrad/cuda/element.hpp"
#include "voxgrad/cuda/kernels/volume.hpp"
#include "voxgrad/cuda/phases.hpp"
#include "voxgrad/kernels/pointwise.hpp"

namespace voxgrad::cuda {

/// A product rounded on its own, never fused with the sum that it goes into: the CPU's bits.
VOXGRAD_HD inline float product(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}

/// First position on each axis; below 0 and from the end on, mirrors.
struct TileStart {
  int32_t at[3];
};

/// x [count, tile, 1] of a volume, as data::gather_tile.
template <class E>
struct ExtractTile {
  static constexpr const char* name = "extract_tile";
  static constexpr int threads = 256, phases = 1, run_length = 1024;  ///< voxels of a block
  struct Args {
    int count;
    int32_t tile[3];
    ResidentVolume volume;
    const TileStart* starts;  ///< [count]
    E* x;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  VOXGRAD_HD static int64_t voxels(const Args& a) { return int64_t(a.tile[0]) * a.tile[1] * a.tile[2]; }
  VOXGRAD_HD static int64_t runs(const Args& a) { return (voxels(a) + run_length - 1) / run_length; }
  static int64_t blocks(const Args& a) { return a.count * runs(a); }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    const int64_t sample = at.block / runs(a), all = voxels(a), first = at.block % runs(a) * run_length;
    const int64_t end = first + run_length < all ? first + run_length : all;
    const TileStart start = a.starts[sample];
    const uint32_t w = uint32_t(a.tile[2]), h = uint32_t(a.tile[1]);
    for (int64_t k = first + at.thread; k < end; k += threads) {
      const uint32_t i = uint32_t(k);
      const int32_t t = mirrored(start.at[0] + int32_t(i / w / h), a.volume.extent[0]);
      const int32_t y = mirrored(start.at[1] + int32_t(i / w % h), a.volume.extent[1]);
      const int32_t x = mirrored(start.at[2] + int32_t(i % w), a.volume.extent[2]);
      a.x[sample * all + k] = E(a.volume.input(a.volume.index(t, y, x)));
    }
  }
};

/// sum += weight * prediction over the positions begin <= p < end of the movie that a tile contributes to, as
/// data::TileSum::add. Tiles that overlap are added by one launch after the other.
struct TileAccumulate {
  static constexpr const char* name = "tile_accumulate";
  static constexpr int threads = 256, phases = 1;
  struct Args {
    int32_t tile[3], movie[3];
    int32_t start[3], begin[3], end[3];  ///< data::TileSpan: start and out
    const float* weight[3];              ///< of the positions begin..end on each axis; null: 1
    const float* prediction;             ///< [tile]
    bool logits;                         ///< the prediction's sigmoid counts
    float* sum;                          ///< [movie]
    float* count;                        ///< [movie], the sum of weights; null: not wanted
  };
  using Shared = Nothing;
  using Thread = Nothing;

  VOXGRAD_HD static int64_t extent(const Args& a, int axis) { return a.end[axis] > a.begin[axis] ? a.end[axis] - a.begin[axis] : 0; }
  static int64_t blocks(const Args& a) { return (extent(a, 0) * extent(a, 1) * extent(a, 2) + threads - 1) / threads; }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    const int64_t voxel = at.block * threads + at.thread;
    if (voxel >= extent(a, 0) * extent(a, 1) * extent(a, 2)) return;
    const uint32_t i = uint32_t(voxel), h = uint32_t(extent(a, 1)), w = uint32_t(extent(a, 2));
    const int32_t place[3] = {int32_t(i / w / h), int32_t(i / w % h), int32_t(i % w)};
    int64_t in = 0, out = 0;
    for (int k = 0; k < 3; ++k) {
      in = in * a.tile[k] + a.begin[k] + place[k] - a.start[k];
      out = out * a.movie[k] + a.begin[k] + place[k];
    }
    const auto of = [&](int k) { return a.weight[k] ? a.weight[k][place[k]] : 1.0f; };
    const float weight = product(product(of(0), of(1)), of(2));
    const float p = a.logits ? kernels::Sigmoid::f(a.prediction[in], {}) : a.prediction[in];
    a.sum[out] += product(weight, p);
    if (a.count) a.count[out] += weight;
  }
};

/// probability = sum / count, and mask = probability > threshold.
struct TileFinish {
  static constexpr const char* name = "tile_finish";
  static constexpr int threads = 256, phases = 1;
  struct Args {
    int64_t n;
    const float* sum;
    const float* count;  ///< null: the weights add up to 1 everywhere; 0 where nothing was added gives 0
    float* probability;  ///< may be sum; null: not wanted
    uint8_t* mask;       ///< null: not wanted
    float threshold;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  static int64_t blocks(const Args& a) { return (a.n + threads - 1) / threads; }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    const int64_t i = at.block * threads + at.thread;
    if (i >= a.n) return;
    const float p = a.count ? a.count[i] > 0 ? a.sum[i] / a.count[i] : 0.0f : a.sum[i];
    if (a.probability) a.probability[i] = p;
    if (a.mask) a.mask[i] = p > a.threshold;
  }
};

}  // namespace voxgrad::cuda
