// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The float convolutions: which kernel takes a problem, and the calls of the direct kernels.
// Scratch: slot 0 weights, slot 1 sums, both of the caller; slots 2 and 3 ring and gradient slice of each thread.

#include "voxgrad/cpu/conv3d_direct.hpp"

namespace voxgrad::cpu {

/// True for what the direct kernels take: stride 1, no dilation, 3 wide, and rows long enough to fill a tile.
inline bool direct_takes(const kernels::Conv3dProblem& p, bool gradient) {
  for (int a = 0; a < 3; ++a)
    if (p.stride[a] != 1 || p.dilation[a] != 1 || (gradient && p.padding[a] >= p.kernel[a])) return false;
  return p.kernel[2] == 3 && std::min(p.in[2], p.out[2]) > 4;
}

/// The plan of y = conv(x), or with `gradient` of dx = conv(dy) with mirrored weights.
inline DirectPlan direct_plan(const kernels::Conv3dProblem& p, bool gradient) {
  DirectPlan d{};
  d.N = p.N, d.fold = 1;
  d.Ci = gradient ? p.Co : p.Ci, d.Co = gradient ? p.Ci : p.Co;
  for (int a = 0; a < 3; ++a) {
    d.in[a] = gradient ? p.out[a] : p.in[a];
    d.out[a] = gradient ? p.in[a] : p.out[a];
    d.pad[a] = gradient ? p.kernel[a] - 1 - p.padding[a] : p.padding[a];
  }
  d.kernel[0] = p.kernel[0], d.kernel[1] = p.kernel[1];
  by_isa(scalar::direct_tiling, avx2::direct_tiling, avx512::direct_tiling)(d);
  return d;
}

inline float* float_scratch(int slot, int64_t count) { return static_cast<float*>(scratch(slot, size_t(count) * sizeof(float))); }

/// out = bias + convolution of in by the plan; `adjoint`: w as the data gradient reads it.
inline void conv_direct(const DirectPlan& p, bool adjoint, const float* in, const float* w, const float* bias, float* out) {
  float* packed = float_scratch(0, p.blocks() * (p.weight_block() + p.lanes()));
  float* packed_bias = packed + p.blocks() * p.weight_block();
  const auto pack = by_isa(scalar::direct_weights, avx2::direct_weights, avx512::direct_weights);
  parallel_for(p.blocks(), std::max(int64_t(1), 65536 / p.weight_block()), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) pack(p, adjoint, w, b, packed + b * p.weight_block());
  });
  const int64_t each = p.pair ? 2 : 1;
  for (int64_t i = 0; i < p.blocks() * p.lanes(); ++i) packed_bias[i] = bias && i / each < p.Co ? bias[i / each] : 0.0f;
  const auto run = by_isa(scalar::direct_run, avx2::direct_run, avx512::direct_run);
  const double flop = 6.0 * double(p.kernel[0] * p.kernel[1] * p.out[1] * p.out[2]) * double(p.Ci * p.Co);
  parallel_for(p.N * p.out[0], conv_grain(flop), [&](int64_t begin, int64_t end) {
    run(p, in, packed, packed_bias, out, begin, end, float_scratch(2, p.kernel[0] * p.slice()));
  });
}

/// dw by the direct kernel. The chunks whose sums are added at the end depend on the problem alone.
inline void conv_direct_weight(const kernels::Conv3dProblem& problem, const float* x, const float* dy, float* dw) {
  DirectPlan p = direct_plan(problem, false);
  p.vectors = p.rows = 1;
  p.fold = p.Ci * p.kernel[1] <= 8 ? p.kernel[1] : 1;
  const int64_t kH = p.fold > 1 ? 1 : p.kernel[1], blocks8 = (p.Ci * p.fold + 7) / 8;
  const int64_t size = p.blocks() * p.kernel[0] * blocks8 * kH * 24 * p.vector_lanes;
  const int64_t slices = p.N * p.out[0], length = std::max(int64_t(4), (slices + 15) / 16);
  const int64_t chunks = std::max(int64_t(1), (slices + length - 1) / length);
  float* S = float_scratch(1, chunks * size);
  const auto run = by_isa(scalar::weight_run, avx2::weight_run, avx512::weight_run);
  parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
    float* ring = float_scratch(2, p.kernel[0] * blocks8 * (p.out_rows() + kH - 1) * p.in[2] * p.unit);
    float* gradient = float_scratch(3, p.blocks() * p.out_rows() * (p.in[2] + 2) * p.vector_lanes);
    for (int64_t c = begin; c < end; ++c)
      run(p, x, dy, c * length, std::min(slices, (c + 1) * length), ring, gradient, S + c * size);
  });
  if (slices == 0) std::fill(S, S + size, 0.0f);
  const auto reduce = by_isa(scalar::weight_reduce, avx2::weight_reduce, avx512::weight_reduce);
  parallel_for(p.kernel[0] * p.kernel[1], size < 65536 ? p.kernel[0] * p.kernel[1] : 1,
               [&](int64_t begin, int64_t end) { reduce(p, S, chunks, size, begin, end, dw); });
}

inline void conv3d_forward_f32(const kernels::Conv3dProblem& p, const float* x, const float* w, const float* bias, float* y) {
  if (direct_takes(p, false)) return conv_direct(direct_plan(p, false), false, x, w, bias, y);
  const ConvAxis axis[3] = {conv_axis(p, 0, false), conv_axis(p, 1, false), conv_axis(p, 2, false)};
  conv_rows(axis, false, p.N, p.Ci, p.Co, x, w, false, bias, y);
}

inline void conv3d_backward_data_f32(const kernels::Conv3dProblem& p, const float* dy, const float* w, float* dx) {
  if (direct_takes(p, true)) return conv_direct(direct_plan(p, true), true, dy, w, nullptr, dx);
  const ConvAxis axis[3] = {conv_axis(p, 0, false), conv_axis(p, 1, false), conv_axis(p, 2, false)};
  conv_rows(axis, true, p.N, p.Co, p.Ci, dy, w, true, nullptr, dx);
}

inline void conv3d_backward_weight_f32(const kernels::Conv3dProblem& p, const float* x, const float* dy, float* dw, float* db) {
  if (direct_takes(p, false)) {
    conv_direct_weight(p, x, dy, dw);
  } else {
    const ConvAxis axis[3] = {conv_axis(p, 0, false), conv_axis(p, 1, false), conv_axis(p, 2, false)};
    conv_outer(axis, false, p.N, p.Ci, p.Co, x, dy, dw);
  }
  if (db) conv_bias(p.N * p.out[0] * p.out[1] * p.out[2], p.Co, dy, db);
}

}  // namespace voxgrad::cpu
