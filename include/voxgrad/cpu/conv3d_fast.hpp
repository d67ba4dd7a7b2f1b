// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The float convolutions: which kernel takes a problem, and the calls of the direct kernels.
// Scratch of the caller: slot 0 weights, slot 1 sums; of each thread: slot 2 ring, 3 gradient slice, 4 plain
// row or weights.

#include "voxgrad/cpu/conv3d_point.hpp"
#include "voxgrad/cpu/conv3d_single.hpp"
#include "voxgrad/cpu/conv3d_winograd.hpp"
#include "voxgrad/cpu/conv3d_winograd2d.hpp"
#include "voxgrad/kernels/conv_method.hpp"

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

inline float* float_scratch(int slot, int64_t count) {
  return static_cast<float*>(scratch(slot, size_t(count) * sizeof(float)));
}

/// Multiply-adds, twice, of an output slice.
inline double slice_flop(const DirectPlan& p) {
  return 6.0 * double(p.kernel[0] * p.kernel[1] * p.out[1] * p.out[2]) * double(p.Ci * p.Co);
}

/// The bias of every block's lanes; zeros where there is none.
inline void pack_bias(const DirectPlan& p, const float* bias, float* to) {
  const int64_t each = p.pair ? 2 : 1;
  for (int64_t i = 0; i < p.blocks() * p.lanes(); ++i) to[i] = bias && i / each < p.Co ? bias[i / each] : 0.0f;
}

/// out = bias + convolution of in by the plan; `adjoint`: w as the data gradient reads it.
inline void conv_direct(DirectPlan p, bool adjoint, const ConvInput& in, const float* w, const float* bias,
                        const ConvOutput& out) {
  const bool single = single_takes(p, in) && p.Co <= p.vector_lanes;
  if (single) by_isa(scalar::single_tiling, avx2::single_tiling, avx512::single_tiling)(p);
  float* packed = float_scratch(0, p.blocks() * (p.weight_block() + p.lanes()));
  float* packed_bias = packed + p.blocks() * p.weight_block();
  const auto pack = by_isa(scalar::direct_weights, avx2::direct_weights, avx512::direct_weights);
  parallel_for(p.blocks(), std::max(int64_t(1), 65536 / p.weight_block()), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) pack(p, adjoint, w, b, packed + b * p.weight_block());
  });
  pack_bias(p, bias, packed_bias);
  const auto run = single ? by_isa(scalar::single_run, avx2::single_run, avx512::single_run)
                          : by_isa(scalar::direct_run, avx2::direct_run, avx512::direct_run);
  parallel_for(p.N * p.out[0], conv_grain(slice_flop(p)), [&](int64_t begin, int64_t end) {
    run(p, in, packed, packed_bias, out, begin, end, float_scratch(2, p.kernel[0] * p.slice()));
  });
}

/// True where Winograd's method pays: what the direct kernels take with 3 row taps, rows of at least 8 points
/// (16 in pairs) and enough channels to repay the transforms.
inline bool winograd_takes(const DirectPlan& p) {
  return conv_method() == ConvMethod::automatic && p.kernel[1] == 3 && p.out[2] >= (p.pair ? 16 : 8) &&
         p.Ci >= 8;
}

inline WinogradPlan winograd_plan(const DirectPlan& d) {
  WinogradPlan p{d, 0, 1};
  by_isa(scalar::winograd_tiling, avx2::winograd_tiling, avx512::winograd_tiling)(p);
  return p;
}

/// Weights and bias as the Winograd kernels read them, in scratch slot 0.
struct TransformedWeights {
  const float *w, *bias;

  /// `block`: floats of a block of output channels after `transform`(p, plain weights, to).
  template <class Plan>
  TransformedWeights(const Plan& p, bool adjoint, const float* weight, const float* shift, int64_t block,
                     void (*transform)(const Plan&, const float*, float*)) {
    float* const packed = float_scratch(0, p.blocks() * (block + p.lanes()));
    float* const packed_bias = packed + p.blocks() * block;
    const auto pack = by_isa(scalar::direct_weights, avx2::direct_weights, avx512::direct_weights);
    const int64_t grain = std::max(int64_t(1), 65536 / p.weight_block());
    parallel_for(p.blocks(), grain, [&](int64_t begin, int64_t end) {
      float* plain = float_scratch(4, p.weight_block());
      for (int64_t b = begin; b < end; ++b) {
        pack(p, adjoint, weight, b, plain);
        transform(p, plain, packed + b * block);
      }
    });
    pack_bias(p, shift, packed_bias);
    w = packed, bias = packed_bias;
  }
};

/// conv_direct by Winograd's method.
inline void conv_winograd(const WinogradPlan& p, bool adjoint, const ConvInput& in, const float* w,
                          const float* bias, const ConvOutput& out) {
  const TransformedWeights t(
      p, adjoint, w, bias, 6 * p.position_weights(),
      by_isa(scalar::winograd_weights, avx2::winograd_weights, avx512::winograd_weights));
  const auto run = by_isa(scalar::winograd_run, avx2::winograd_run, avx512::winograd_run);
  parallel_for(p.N * p.out[0], conv_grain(slice_flop(p)), [&](int64_t begin, int64_t end) {
    run(p, in, t.w, t.bias, out, begin, end, float_scratch(4, p.padded() * p.unit),
        float_scratch(2, p.kernel[0] * p.ring_slice()));
  });
}

inline Winograd2dPlan winograd2d_plan(const DirectPlan& d) {
  Winograd2dPlan p{d, 0, 0};
  by_isa(scalar::winograd2d_tiling, avx2::winograd2d_tiling, avx512::winograd2d_tiling)(p);
  return p;
}

/// True where the method in two dimensions is faster: many channels, tiles that the volume fills, and a ring,
/// which is twice as large, of at most `ring_bytes`.
inline bool winograd2d_takes(const DirectPlan& p, int64_t ring_bytes) {
  if (!winograd_takes(p) || p.pair || p.Ci % 8 != 0 || p.Ci < 16 || p.Co < 2 * p.vector_lanes || p.out[1] < 4)
    return false;
  return winograd2d_plan(p).ring_slice() * p.kernel[0] * int64_t(sizeof(float)) <= ring_bytes;
}

/// conv_direct by Winograd's method in two dimensions.
inline void conv_winograd2d(const DirectPlan& d, bool adjoint, const ConvInput& in, const float* w,
                            const float* bias, const ConvOutput& out) {
  const Winograd2dPlan p = winograd2d_plan(d);
  const TransformedWeights t(
      p, adjoint, w, bias, p.positions * p.position_weights(),
      by_isa(scalar::winograd2d_weights, avx2::winograd2d_weights, avx512::winograd2d_weights));
  const auto run = by_isa(scalar::winograd2d_run, avx2::winograd2d_run, avx512::winograd2d_run);
  parallel_for(p.N * p.out[0], conv_grain(slice_flop(p)), [&](int64_t begin, int64_t end) {
    run(p, in, t.w, t.bias, out, begin, end, float_scratch(4, p.rows_size()),
        float_scratch(2, p.slots() * p.ring_slice()), float_scratch(3, p.sums()));
  });
}

/// Chunks of output slices, `points` sums long each, for a weight gradient: they depend on the problem alone.
/// A chunk writes all the sums and brings two slices more, which long chunks repay.
struct WeightChunks {
  int64_t slices, length, count;
  WeightChunks(const DirectPlan& p, int64_t points) : slices(p.N * p.out[0]) {
    const int64_t most = std::clamp<int64_t>(slices / 32, 16, 64);
    const int64_t wish = std::clamp<int64_t>(std::min(slices / 8, slices * points / 512), 1, most);
    length = std::max(int64_t(1), (slices + wish - 1) / wish);
    count = std::max(int64_t(1), (slices + length - 1) / length);
  }
};

/// Parts of each chunk: chunks that do not suit the threads are divided by blocks of input channels, which
/// changes no sum.
inline int64_t weight_parts(const WeightChunks& chunks, int64_t blocks8) {
  return chunks.count % threads() == 0 ? 1
                                       : std::min(blocks8, (2 * threads() + chunks.count - 1) / chunks.count);
}

/// Calls the hook for all slices now, where several threads will read a slice; returns what is left to call.
inline SliceHook called_ahead(const SliceHook& before, int64_t slices) {
  if (before.call)
    parallel_for(slices, 1, [&](int64_t begin, int64_t end) {
      for (int64_t s = begin; s < end; ++s) before(s);
    });
  return {};
}

/// dw by Winograd's method; `before` is called ahead of reading a slice of dy, each slice once.
inline void conv_winograd_weight(WinogradPlan p, const ConvInput& x, const float* dy, float* dw,
                                 const SliceHook& before = {}) {
  p.vectors = p.rows = p.group = 1;
  p.window = std::clamp<int64_t>(128 / (p.tiles() * p.half), 1, std::max(int64_t(1), p.out[0]));
  const int64_t blocks8 = p.channel_blocks();
  const int64_t size = p.blocks() * p.kernel[0] * blocks8 * 6 * 24 * p.vector_lanes;
  const WeightChunks chunks(p, p.tiles() * p.half);
  float* S = float_scratch(1, chunks.count * size);
  const auto run =
      by_isa(scalar::winograd_weight_run, avx2::winograd_weight_run, avx512::winograd_weight_run);
  const int64_t parts = weight_parts(chunks, blocks8);
  const SliceHook each = parts > 1 ? called_ahead(before, chunks.slices) : before;
  parallel_for(chunks.count * parts, 1, [&](int64_t begin, int64_t end) {
    float* ring = float_scratch(2, (p.kernel[0] - 1 + p.window) * p.ring_slice());
    float* gradient =
        float_scratch(3, p.window * 6 * p.blocks() * p.tiles() * (p.in_rows() + 2) * p.vector_lanes);
    float* plain = float_scratch(4, p.padded() * p.unit);
    for (int64_t t = begin; t < end; ++t) {
      const int64_t c = t / parts, part = t % parts;
      run(p, x, dy, each, c * chunks.length, std::min(chunks.slices, (c + 1) * chunks.length),
          blocks8 * part / parts, blocks8 * (part + 1) / parts, plain, ring, gradient, S + c * size);
    }
  });
  const auto reduce =
      by_isa(scalar::winograd_weight_reduce, avx2::winograd_weight_reduce, avx512::winograd_weight_reduce);
  parallel_for(blocks8 * p.kernel[0], std::max(int64_t(1), 32768 * blocks8 / size),
               [&](int64_t begin, int64_t end) { reduce(p, S, chunks.count, size, begin, end, dw); });
}

/// conv_winograd_weight in two dimensions.
inline void conv_winograd2d_weight(const DirectPlan& d, const ConvInput& x, const float* dy, float* dw,
                                   const SliceHook& before = {}) {
  Winograd2dPlan p = winograd2d_plan(d);
  p.block = 64;
  const int64_t blocks8 = p.channel_blocks();
  const int64_t size = p.blocks() * p.kernel[0] * blocks8 * p.positions * 8 * p.lanes();
  const WeightChunks chunks(p, p.across() * p.down());
  float* S = float_scratch(1, chunks.count * size);
  const auto run =
      by_isa(scalar::winograd2d_weight_run, avx2::winograd2d_weight_run, avx512::winograd2d_weight_run);
  const int64_t parts = weight_parts(chunks, blocks8);
  const SliceHook each = parts > 1 ? called_ahead(before, chunks.slices) : before;
  parallel_for(chunks.count * parts, 1, [&](int64_t begin, int64_t end) {
    float* ring = float_scratch(2, p.slots() * p.ring_slice());
    float* gradient = float_scratch(3, p.window() * p.positions * p.position_gradient());
    float* rows = float_scratch(4, p.rows_size());
    for (int64_t t = begin; t < end; ++t) {
      const int64_t c = t / parts, part = t % parts;
      run(p, x, dy, each, c * chunks.length, std::min(chunks.slices, (c + 1) * chunks.length),
          blocks8 * part / parts, blocks8 * (part + 1) / parts, rows, ring, gradient, S + c * size);
    }
  });
  const auto reduce = by_isa(scalar::winograd2d_weight_reduce, avx2::winograd2d_weight_reduce,
                             avx512::winograd2d_weight_reduce);
  parallel_for(blocks8 * p.kernel[0], std::max(int64_t(1), 32768 * blocks8 / size),
               [&](int64_t begin, int64_t end) { reduce(p, S, chunks.count, size, begin, end, dw); });
}

/// dw by the direct kernel; `before` as above.
inline void conv_direct_weight(DirectPlan p, const ConvInput& x, const float* dy, float* dw,
                               const SliceHook& before = {}) {
  p.vectors = p.rows = 1;
  p.fold = p.Ci * p.kernel[1] <= 8 ? p.kernel[1] : 1;
  const int64_t kH = p.fold > 1 ? 1 : p.kernel[1], blocks8 = (p.Ci * p.fold + 7) / 8;
  const int64_t size = p.blocks() * p.kernel[0] * blocks8 * kH * 24 * p.vector_lanes;
  const WeightChunks chunks(p, p.half * p.in[2]);
  float* S = float_scratch(1, chunks.count * size);
  const auto run = by_isa(scalar::weight_run, avx2::weight_run, avx512::weight_run);
  parallel_for(chunks.count, 1, [&](int64_t begin, int64_t end) {
    float* ring = float_scratch(2, p.kernel[0] * blocks8 * (p.out_rows() + kH - 1) * p.in[2] * p.unit);
    float* gradient = float_scratch(3, p.blocks() * p.out_rows() * (p.in[2] + 2) * p.vector_lanes);
    for (int64_t c = begin; c < end; ++c)
      run(p, x, dy, before, c * chunks.length, std::min(chunks.slices, (c + 1) * chunks.length), ring,
          gradient, S + c * size);
  });
  const auto reduce = by_isa(scalar::weight_reduce, avx2::weight_reduce, avx512::weight_reduce);
  parallel_for(p.kernel[0] * p.kernel[1], size < 65536 ? p.kernel[0] * p.kernel[1] : 1,
               [&](int64_t begin, int64_t end) { reduce(p, S, chunks.count, size, begin, end, dw); });
}

/// dw of a single input channel and a kernel of 3 x 3 x 3.
inline void conv_single_weight(DirectPlan p, const ConvInput& x, const float* dy, float* dw,
                               const SliceHook& before) {
  by_isa(scalar::single_tiling, avx2::single_tiling, avx512::single_tiling)(p);
  const int64_t size = p.blocks() * 27 * p.vector_lanes;
  const WeightChunks chunks(p, p.half * p.in[2]);
  float* S = float_scratch(1, chunks.count * size);
  const auto run = by_isa(scalar::single_weight_run, avx2::single_weight_run, avx512::single_weight_run);
  parallel_for(chunks.count, 1, [&](int64_t begin, int64_t end) {
    float* ring = float_scratch(2, 4 * p.in_rows() * p.in[2] * p.unit);
    for (int64_t c = begin; c < end; ++c)
      run(p, x.x[0], dy, before, c * chunks.length, std::min(chunks.slices, (c + 1) * chunks.length), ring,
          S + c * size);
  });
  single_weight_reduce(p, S, chunks.count, dw);
}

/// out = bias + convolution of in, by the method that suits the plan.
inline void conv_planned(const DirectPlan& p, bool adjoint, const ConvInput& in, const float* w,
                         const float* bias, const ConvOutput& out) {
  winograd2d_takes(p, int64_t(32) << 20) ? conv_winograd2d(p, adjoint, in, w, bias, out)
  : winograd_takes(p)                    ? conv_winograd(winograd_plan(p), adjoint, in, w, bias, out)
                                         : conv_direct(p, adjoint, in, w, bias, out);
}
inline void conv_planned_weight(const DirectPlan& p, const ConvInput& x, const float* dy, float* dw,
                                const SliceHook& before) {
  if (single_takes(p, x) && p.kernel[0] == 3 && p.kernel[1] == 3)
    return conv_single_weight(p, x, dy, dw, before);
  winograd2d_takes(p, int64_t(12) << 20) ? conv_winograd2d_weight(p, x, dy, dw, before)
  : winograd_takes(p)                    ? conv_winograd_weight(winograd_plan(p), x, dy, dw, before)
                                         : conv_direct_weight(p, x, dy, dw, before);
}

inline void conv3d_forward_f32(const kernels::Conv3dProblem& p, const float* x, const float* w,
                               const float* bias, float* y) {
  if (direct_takes(p, false)) {
    const DirectPlan d = direct_plan(p, false);
    return conv_planned(d, false, {x, p.Ci}, w, bias, {y, p.Co});
  }
  const int64_t points = p.N * p.in[0] * p.in[1] * p.in[2];
  if (pointwise(p) && conv_point_takes(p.Ci, p.Co))
    return conv_point(points, p.Ci, p.Co, x, w, false, bias, y);
  if (pointwise(p) && conv_narrow(points, p.Ci, p.Co, x, w, false, bias, y)) return;
  const ConvAxis axis[3] = {conv_axis(p, 0, false), conv_axis(p, 1, false), conv_axis(p, 2, false)};
  conv_rows(axis, false, p.N, p.Ci, p.Co, x, w, false, bias, y);
}

inline void conv3d_backward_data_f32(const kernels::Conv3dProblem& p, const float* dy, const float* w,
                                     float* dx) {
  if (direct_takes(p, true)) {
    const DirectPlan d = direct_plan(p, true);
    return conv_planned(d, true, {dy, p.Co}, w, nullptr, {dx, p.Ci});
  }
  const int64_t points = p.N * p.in[0] * p.in[1] * p.in[2];
  if (pointwise(p) && conv_point_takes(p.Ci, p.Co))
    return conv_point(points, p.Co, p.Ci, dy, w, true, nullptr, dx);
  if (pointwise(p) && conv_narrow(points, p.Co, p.Ci, dy, w, true, nullptr, dx)) return;
  const ConvAxis axis[3] = {conv_axis(p, 0, false), conv_axis(p, 1, false), conv_axis(p, 2, false)};
  conv_rows(axis, true, p.N, p.Co, p.Ci, dy, w, true, nullptr, dx);
}

inline void conv3d_backward_weight_f32(const kernels::Conv3dProblem& p, const float* x, const float* dy,
                                       float* dw, float* db) {
  if (direct_takes(p, false)) {
    const DirectPlan d = direct_plan(p, false);
    conv_planned_weight(d, {x, p.Ci}, dy, dw, {});
  } else if (pointwise(p) && conv_point_takes(p.Ci, p.Co)) {
    conv_point_weight(p.N * p.out[0] * p.out[1] * p.out[2], p.Ci, p.Co, x, dy, dw);
  } else {
    const ConvAxis axis[3] = {conv_axis(p, 0, false), conv_axis(p, 1, false), conv_axis(p, 2, false)};
    conv_outer(axis, false, p.N, p.Ci, p.Co, x, dy, dw);
  }
  if (db) conv_bias(p.N * p.out[0] * p.out[1] * p.out[2], p.Co, dy, db);
}

}  // namespace voxgrad::cpu
