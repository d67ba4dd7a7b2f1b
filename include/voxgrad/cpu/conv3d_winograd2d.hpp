// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Winograd's minimal filtering in two dimensions: F(2,3) along H times F(4,3) along W (Lavin & Gray, 2016).
// 24 products give the 2 x 4 outputs of a tile, a third of the direct 72; between the transforms runs, for
// each of the 24 positions, a product of tiles by channels, summed over depth taps. For layers of many
// channels, which repay the dearer transforms.

#include "voxgrad/cpu/conv3d_winograd.hpp"

namespace voxgrad::cpu {

/// A DirectPlan without pairs, and its tiles. Ring slice: [24 positions][block of 8 channels][tile][8]; a
/// line more per block keeps the blocks from the same sets of the cache.
struct Winograd2dPlan : DirectPlan {
  static constexpr int64_t positions = 24;
  int64_t group;  ///< tiles of a register tile
  int64_t block;  ///< tiles whose sums are held at a time: a multiple of group

  int64_t across() const { return (out[2] + 3) / 4; }
  int64_t down() const { return (out[1] + 1) / 2; }
  int64_t tiles() const { return (across() * down() + group - 1) / group * group; }
  int64_t window() const {
    return tiles() < block ? block / tiles() : 1;
  }                                                           ///< slices that share a pass of the weights
  int64_t slots() const { return kernel[0] - 1 + window(); }  ///< slices of the ring
  int64_t padded() const { return across() * 4 + 2; }         ///< points of a row before the transform
  int64_t channel_block() const { return tiles() * 8 + 16; }
  int64_t position_size() const { return channel_blocks() * channel_block(); }
  int64_t ring_slice() const { return positions * position_size(); }
  int64_t position_weights() const { return kernel[0] * Ci * lanes(); }
  int64_t position_sums() const { return block * lanes() + 16; }
  int64_t position_gradient() const { return blocks() * tiles() * lanes() + 16; }
  int64_t sums() const { return positions * position_sums(); }
  int64_t rows_size() const {
    return padded() * 8 + 4 * 6 * across() * 8;
  }  ///< scratch of the input transform
};

}  // namespace voxgrad::cpu

#define VOXGRAD_INL "voxgrad/cpu/conv3d_winograd2d.inl"
#include "voxgrad/simd/for_each_isa.hpp"
