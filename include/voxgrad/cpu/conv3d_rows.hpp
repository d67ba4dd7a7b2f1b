// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Convolutions of any geometry as products of rows of channels: what small volumes, strides, dilations, other
// kernel sizes and the transposed convolution use. A tile holds a few points (consecutive along W, or the
// same point of several samples); taps that meet nothing are skipped, so a 1x1x1 volume costs one tap of 27.

#include <algorithm>

#include "voxgrad/cpu/conv3d_ref.hpp"
#include "voxgrad/simd/vec.hpp"

namespace voxgrad::cpu {

/// out[n,o,b] = bias[b] + sum over taps k, a of in[n, index(k,o), a] w[k,a,b].
struct RowsPlan {
  int64_t N, out[3], in[3];  ///< grids, as D, H, W
  int64_t A, B;              ///< channels summed over, channels produced
  int64_t kernel[3];
  int64_t step;         ///< points of a tile are this far apart along W: they meet the same taps
  int64_t in_step;      ///< and the points of `in` that they meet this far
  bool across_samples;  ///< a tile is one point of several samples
  const int32_t*
      index[3];        ///< index[axis][k * out[axis] + o]: the point of `in` that tap k of o meets, or -1
  const float* zeros;  ///< A zeros, for points that meet nothing
  const float* w;      ///< rows: [k, A, ld], dot: [k, B, A]
  int64_t ld;          ///< a multiple of the vector
  const float* bias;   ///< B values or null
  int64_t vectors;     ///< of output channels in a tile

  int64_t points() const { return across_samples ? N : (out[2] + step - 1) / step; }  ///< of a group, in one phase
  int64_t groups() const { return across_samples ? out[0] * out[1] * out[2] : N * out[0] * out[1]; }
};

/// dw[k,u,v] = sum over points of U[u] V[v], the operands walking both grids together.
struct OuterPlan {
  int64_t kernel[3], stride[3], padding[3];  ///< reached = placed * stride + k * dilation - padding
  int64_t dilation[3], N;
  const int32_t* range[3];  ///< range[axis][2k], [2k+1]: placed points whose tap k meets something
  int64_t U, V;             ///< channels broadcast, channels in the vector
  const float *u, *v;
  bool u_reached;  ///< U lies on the reached grid and V on the placed one, or the other way
  int64_t placed[3], reached[3];
  float* dw;
  int64_t u_stride, v_stride;  ///< of dw

  int64_t u_blocks() const { return (U + 7) / 8; }
};

}  // namespace voxgrad::cpu

#define VOXGRAD_INL "voxgrad/cpu/conv3d_rows.inl"
#include "voxgrad/simd/for_each_isa.hpp"
