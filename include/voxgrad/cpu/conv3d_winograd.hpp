// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Winograd's minimal filtering F(4,3) along W (Lavin & Gray, 2016): 6 products give 4 outputs of a 3-tap
// filter, half of the direct 12. Input and weights are transformed once; between the transforms runs, for
// each of the 6 positions, a direct convolution over D and H whose three row taps share every broadcast. The
// weight gradient is the transposed algorithm.

#include "voxgrad/cpu/conv3d_direct.hpp"

namespace voxgrad::cpu {

/// A DirectPlan (for its padding, pairs and blocks) and the tiles along W. Ring slice:
/// [6 positions][block of 8 channels][group of tiles][row][tile][unit].
struct WinogradPlan : DirectPlan {
  int64_t group;   ///< tiles of a register tile
  int64_t window;  ///< weight gradient: output slices summed at a time

  int64_t tiles() const { return (out[2] + 3) / 4; }
  int64_t groups() const { return (tiles() + group - 1) / group; }
  int64_t padded() const { return groups() * group * 4 + 2; }  ///< points of a row before the transform
  int64_t group_size() const { return in_rows() * group * unit; }
  int64_t position_size() const { return channel_blocks() * groups() * group_size(); }
  int64_t ring_slice() const { return 6 * position_size(); }
  int64_t position_weights() const { return kernel[0] * Ci * 3 * lanes(); }
};

}  // namespace voxgrad::cpu

#define VOXGRAD_INL "voxgrad/cpu/conv3d_winograd.inl"
#include "voxgrad/simd/for_each_isa.hpp"
