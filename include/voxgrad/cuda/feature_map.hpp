// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What layers of a planned network hand to each other.

#include <cstdint>
#include <vector>

#include "voxgrad/cuda/engines.hpp"
#include "voxgrad/cuda/program.hpp"

namespace voxgrad::cuda {

/// Activated values [N, extent, C], all channels of a tensor or a run of them.
struct FeatureMap {
  Value data{};
  int64_t N = 0;
  Extent extent{};
  int64_t C = 0;
  int64_t stride = 0, first = 0;  ///< elements from voxel to voxel; the first channel's place in a voxel

  /// Whose gradients the channels are: joined tensors have several owners.
  struct Owner {
    int gradient;   ///< of NetworkTape; -1: nobody wants it
    int64_t channel;  ///< in this map, where its channels begin
  };
  std::vector<Owner> owners{};

  int64_t rows() const { return N * extent[0] * extent[1] * extent[2]; }
  bool wants_gradient() const {
    for (const Owner& o : owners)
      if (o.gradient >= 0) return true;
    return false;
  }
};

/// A convolution's parameters (indices into Parameters; -1: none) and geometry.
struct ConvLayer {
  int weight = -1, bias = -1;
  int64_t Ci = 0, Co = 0;
  Extent kernel{1, 1, 1}, stride{1, 1, 1}, padding{0, 0, 0}, dilation{1, 1, 1};
  bool same = false;  ///< Keras' padding="same" in place of `padding`: ceil(in / stride) outputs, the odd zero at the end
};

/// What a dropout layer draws: Random(seed, stream, *position + i) for element i.
struct DropoutLayer {
  double rate;
  uint64_t seed, stream;
  Value position;  ///< one uint64_t, which the host sets before each pass
};

/// A batch norm's parameters and buffers, and its numbers (ops/norm.hpp has the meaning).
struct NormLayer {
  int gamma = -1, beta = -1, mean = -1, variance = -1;
  float eps = 1e-5f, momentum = 0.1f;
  bool unbiased = true;
};

}  // namespace voxgrad::cuda
