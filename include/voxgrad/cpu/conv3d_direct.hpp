// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Convolutions of stride 1 whose kernel is 3 wide, on large volumes. Depth slices of the input are copied
// into a small ring with zeros around them, [block of 8 channels][row][point][8], from which tiles of outputs
// along W are computed: one broadcast of the input feeds three taps. Layers of at most 8 outputs would leave
// half of a 16-lane register idle; there a register holds 8 channels of two rows, half a slice apart
// ("pair").

#include "voxgrad/cpu/conv3d_general.hpp"
#include "voxgrad/cpu/raw_act.hpp"

namespace voxgrad::cpu {

/// What a convolution reads: one tensor, or two joined along the channels; each perhaps with batch norm and
/// activation still to be done. Joined or unfinished tensors have a multiple of 8 channels.
struct ConvInput {
  ConvInput(const float* plain, int64_t channels) : x{plain, nullptr}, C{channels, 0} {}

  const float* x[2];
  int64_t C[2];
  RawAct act[2];
};

/// Called with the number of a depth slice, n D + d, while that slice is in the cache.
struct SliceHook {
  void (*call)(const void* context, int64_t slice) = nullptr;
  const void* context = nullptr;
  void operator()(int64_t slice) const {
    if (call) call(context, slice);
  }
};

/// Where a convolution writes: one tensor, or two that share its channels (multiples of 8 then).
struct ConvOutput {
  ConvOutput(float* whole, int64_t channels) : y{whole, nullptr}, C{channels, 0} {}

  float* y[2];
  int64_t C[2];
  SliceHook done;  ///< after a slice is written
};

struct DirectPlan {
  int64_t N, in[3], out[3], Ci, Co;
  int64_t kernel[2];  ///< along D and H
  int64_t pad[3];
  bool pair;              ///< lanes are 8 channels x 2 rows
  int64_t vectors, wide;  ///< a tile: vectors of output channels, points along W
  int64_t rows;           ///< rows of a tile
  int64_t unit;           ///< floats of a point in the ring: 8, or 16 in pairs
  int64_t half;           ///< rows before the second row of a pair; without pairs all rows
  int64_t fold;           ///< weight gradient: row taps stored as channels (small Ci), else 1

  int64_t out_rows() const { return (half + rows - 1) / rows * rows; }
  int64_t in_rows() const { return out_rows() + kernel[1] - 1; }
  int64_t width() const { return (out[2] + wide - 1) / wide * wide + 2; }
  int64_t channel_blocks() const { return (Ci + 7) / 8; }
  int64_t row() const { return width() * unit; }
  int64_t plane() const { return in_rows() * row(); }  ///< floats of 8 channels of a slice
  int64_t slice() const { return channel_blocks() * plane(); }
  int64_t lanes() const { return pair ? 16 : vector_lanes * vectors; }
  int64_t channels() const { return pair ? 8 : lanes(); }  ///< output channels of a block
  int64_t blocks() const { return (Co + channels() - 1) / channels(); }
  int64_t weight_block() const { return kernel[0] * kernel[1] * Ci * 3 * lanes(); }
  int64_t vector_lanes;
};

}  // namespace voxgrad::cpu

#define VOXGRAD_INL "voxgrad/cpu/conv3d_direct.inl"
#include "voxgrad/simd/for_each_isa.hpp"
#define VOXGRAD_INL "voxgrad/cpu/conv3d_weight.inl"
#include "voxgrad/simd/for_each_isa.hpp"
