// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Transposed convolutions that double every extent (kernel 3, stride 2, padding 1, output padding 1), the way
// up of a U-Net. The eight parities of the outputs take 1 to 8 taps of the input each, 27 together: no zero
// is multiplied. Its data gradient is a convolution of stride 2; the weight gradient rolls along W with the
// input in vectors.

#include "voxgrad/cpu/conv3d_fast.hpp"
#include "voxgrad/kernels/conv_transpose3d.hpp"

#define VOXGRAD_INL "voxgrad/cpu/conv_transpose3d_doubling.inl"
#include "voxgrad/simd/for_each_isa.hpp"

namespace voxgrad::cpu {

/// True for the geometry above with rows long enough to fill a tile.
inline bool doubling_takes(const kernels::ConvTranspose3dProblem& p) {
  for (int a = 0; a < 3; ++a)
    if (p.kernel[a] != 3 || p.stride[a] != 2 || p.padding[a] != 1 || p.dilation[a] != 1 ||
        p.out[a] != 2 * p.in[a])
      return false;
  return p.in[2] > 4;
}

/// Packs the plan's weights into slot 0, with room for `extra` floats behind them.
inline float* doubling_weights(const DirectPlan& p, bool adjoint, const float* w, int64_t extra) {
  float* packed = float_scratch(0, p.blocks() * p.weight_block() + extra);
  const auto pack = by_isa(scalar::direct_weights, avx2::direct_weights, avx512::direct_weights);
  parallel_for(p.blocks(), std::max(int64_t(1), 65536 / p.weight_block()), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) pack(p, adjoint, w, b, packed + b * p.weight_block());
  });
  return packed;
}

/// The plan of y = convT(x), or with `gradient` of dx: both count points on the grid of x.
inline DirectPlan doubling_plan(const kernels::ConvTranspose3dProblem& p, bool gradient) {
  DirectPlan d{};
  d.N = p.N, d.fold = 1;
  d.Ci = gradient ? p.Co : p.Ci, d.Co = gradient ? p.Ci : p.Co;
  for (int a = 0; a < 3; ++a) d.in[a] = d.out[a] = p.in[a];
  d.kernel[0] = d.kernel[1] = 3;
  gradient ? by_isa(scalar::halving_tiling, avx2::halving_tiling, avx512::halving_tiling)(d)
           : by_isa(scalar::doubling_tiling, avx2::doubling_tiling, avx512::doubling_tiling)(d);
  return d;
}

inline void conv_transpose3d_doubling(const DirectPlan& p, const float* x, const float* w, const float* bias,
                                      float* y) {
  float* packed = doubling_weights(p, false, w, p.blocks() * p.lanes());
  float* packed_bias = packed + p.blocks() * p.weight_block();
  const int64_t each = p.pair ? 2 : 1;
  for (int64_t i = 0; i < p.blocks() * p.lanes(); ++i)
    packed_bias[i] = bias && i / each < p.Co ? bias[i / each] : 0.0f;
  const auto run = by_isa(scalar::doubling_run, avx2::doubling_run, avx512::doubling_run);
  const double flop = 54.0 * double(p.in[1] * p.in[2]) * double(p.Ci * p.Co);
  parallel_for(p.N * p.in[0], conv_grain(flop), [&](int64_t begin, int64_t end) {
    run(p, x, packed, packed_bias, y, begin, end, float_scratch(2, 2 * p.slice()));
  });
}

/// dx = the data gradient, by a plan that fits (vectors > 0).
inline void conv_transpose3d_halving(const DirectPlan& p, const float* dy, const float* w, float* dx) {
  const float* packed = doubling_weights(p, true, w, p.Ci);
  float* zeros = float_scratch(0, p.blocks() * p.weight_block() + p.Ci) + p.blocks() * p.weight_block();
  std::fill(zeros, zeros + p.Ci, 0.0f);
  const auto run = by_isa(scalar::halving_run, avx2::halving_run, avx512::halving_run);
  const double flop = 54.0 * double(p.out[2]) * double(p.Ci * p.Co);
  parallel_for(p.N * p.out[0] * p.out[1], conv_grain(flop),
               [&](int64_t begin, int64_t end) { run(p, dy, packed, zeros, dx, begin, end); });
}

/// dw [27,Ci,Co], where Ci fills vectors and Co tiles.
inline void conv_transpose3d_doubling_weight(const DirectPlan& p, const float* x, const float* dy,
                                             float* dw) {
  const int64_t size = 27 * p.Ci * p.Co;
  const WeightChunks chunks(p, p.in[1] * p.in[2]);
  float* S = float_scratch(1, chunks.count * size);
  const auto run =
      by_isa(scalar::doubling_weight_run, avx2::doubling_weight_run, avx512::doubling_weight_run);
  parallel_for(chunks.count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c)
      run(p, x, dy, c * chunks.length, std::min(chunks.slices, (c + 1) * chunks.length), S + c * size);
  });
  const auto reduce =
      by_isa(scalar::doubling_weight_reduce, avx2::doubling_weight_reduce, avx512::doubling_weight_reduce);
  parallel_for(9, std::max(int64_t(1), 32768 * 9 / size),
               [&](int64_t begin, int64_t end) { reduce(p, S, chunks.count, begin, end, dw); });
}

}  // namespace voxgrad::cpu
