// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Training batches from volumes in the card's memory: crops, mirrored where the movie's border cut them, flipped and cut
// again to patches, exactly as data::Loader makes them (data/loader.hpp, data/crops.hpp). Which crops come is an order that
// the host gives once per epoch; flips and corners are drawn on the card or given by the host.

#include "voxgrad/core/random.hpp"
#include "voxgrad/cuda/element.hpp"
#include "voxgrad/cuda/kernels/volume.hpp"
#include "voxgrad/cuda/phases.hpp"

namespace voxgrad::cuda {

/// Where a crop lies: the voxels start <= i < start + size of a volume, continued by mirrors at each axis' end up to the
/// extent that all crops have.
struct CropBox {
  int32_t volume;
  int32_t start[3], size[3];
};

/// A patch: the crop, what data::PatchDraw says of flip (0 none, 1 rows, 2 columns) and first voxel in the flipped crop.
struct PatchBox {
  CropBox crop;
  int32_t flip;
  int32_t corner[3];
};

/// data::LoaderState: this many patches of that epoch are done.
struct LoaderPosition {
  int64_t epoch, position;
};

/// The patches of the next batch; one thread draws one.
struct DrawPatches {
  static constexpr const char* name = "draw_patches";
  static constexpr int threads = 64, phases = 1;
  struct Args {
    int count;                 ///< patches; position + count must not pass the epoch's end
    uint64_t seed;
    const LoaderPosition* at;
    const int64_t* order;      ///< data::epoch_order of this epoch
    const CropBox* crops;      ///< of the whole data set
    int32_t crop[3], patch[3];  ///< extents of all crops and of all patches, patch <= crop
    bool augment;               ///< false: centre patches
    bool flip, random_crop;     ///< data::AugmentOptions
    PatchBox* boxes;            ///< [count]
  };
  using Shared = Nothing;
  using Thread = Nothing;

  static int64_t blocks(const Args& a) { return (a.count + threads - 1) / threads; }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    const int64_t i = at.block * threads + at.thread;
    if (i >= a.count) return;
    const int64_t place = a.at->position + i;
    PatchBox box{a.crops[a.order[place]], 0, {}};
    for (int k = 0; k < 3; ++k) box.corner[k] = a.crop[k] / 2 - a.patch[k] / 2;
    if (a.augment) {
      Random random(a.seed, uint64_t(a.at->epoch) << 8 | 2, uint64_t(place) * 4);
      const int32_t flip = int32_t(random.below(3));
      if (a.flip) box.flip = flip;
      for (int k = 0; k < 3; ++k) {
        const int32_t corner = int32_t(random.below(uint64_t(a.crop[k] - a.patch[k] + 1)));
        if (a.random_crop) box.corner[k] = corner;
      }
    }
    a.boxes[i] = box;
  }
};

/// position += count, after a batch.
struct AdvanceLoader {
  static constexpr const char* name = "advance_loader";
  static constexpr int threads = 1, phases = 1;
  struct Args {
    int64_t count;
    LoaderPosition* at;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  static int64_t blocks(const Args&) { return 1; }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At, Shared&, Thread&) { a.at->position += a.count; }
};

/// The voxels of the patches. Target: float or uint8_t.
template <class E, class Target>
struct GatherCrops {
  static constexpr const char* name = "gather_crops";
  static constexpr int threads = 256, phases = 1, run_length = 1024;  ///< voxels of a block
  struct Args {
    int count;
    int32_t crop[3], patch[3];
    const ResidentVolume* volumes;
    const PatchBox* boxes;  ///< [count]
    E* x;                   ///< [count, patch, 1], as all that follow
    Target* target;         ///< null: not wanted, as all that follow; 0 where a volume has none
    float *weight, *propensity;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  VOXGRAD_HD static int64_t voxels(const Args& a) { return int64_t(a.patch[0]) * a.patch[1] * a.patch[2]; }
  VOXGRAD_HD static int64_t runs(const Args& a) { return (voxels(a) + run_length - 1) / run_length; }
  static int64_t blocks(const Args& a) { return a.count * runs(a); }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    const int64_t sample = at.block / runs(a), all = voxels(a), first = at.block % runs(a) * run_length;
    const int64_t end = first + run_length < all ? first + run_length : all;
    const PatchBox box = a.boxes[sample];
    const ResidentVolume volume = a.volumes[box.crop.volume];
    for (int64_t i = first + at.thread; i < end; i += threads) {
      const int64_t from = source(a, box, volume, uint32_t(i)), to = sample * all + i;
      a.x[to] = E(volume.input(from));
      if (a.target) a.target[to] = volume.target ? Target(ResidentVolume::read(volume.target, volume.target_type, from)) : Target(0);
      if (a.weight) a.weight[to] = volume.weight ? volume.weight[from] : 1.0f;
      if (a.propensity) a.propensity[to] = volume.propensity ? volume.propensity[from] : 1.0f;
    }
  }

 private:
  /// The voxel of the volume that voxel i of the patch shows.
  VOXGRAD_HD static int64_t source(const Args& a, const PatchBox& box, const ResidentVolume& volume, uint32_t i) {
    const uint32_t w = uint32_t(a.patch[2]), h = uint32_t(a.patch[1]);
    int32_t at[3] = {int32_t(i / w / h) + box.corner[0], int32_t(i / w % h) + box.corner[1], int32_t(i % w) + box.corner[2]};
    if (box.flip == 1) at[1] = a.crop[1] - 1 - at[1];
    if (box.flip == 2) at[2] = a.crop[2] - 1 - at[2];
    for (int k = 0; k < 3; ++k) at[k] = box.crop.start[k] + mirrored(at[k], box.crop.size[k]);
    return volume.index(at[0], at[1], at[2]);
  }
};

}  // namespace voxgrad::cuda
