// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The head of a network, a 1x1x1 convolution of unfinished values to few channels: one pass over them forward, and one
// pass backward for all gradients, the sums of the batch norm below among them. Sums run in float over at most 256 rows
// and in double across them, in pieces of fixed size that are added in order.

#include <algorithm>

#include "voxgrad/cpu/conv3d_point.hpp"
#include "voxgrad/cpu/pending.hpp"

namespace voxgrad::cpu {
/// What the backward kernel needs of each channel.
struct HeadBackward {
  int64_t C;
  RawAct act;
  const float* w;                      ///< [Co, C]; zeros where da is not wanted
  const float *mean, *inv_std, *rest;  ///< [C] normalised x = (x - mean) inv_std + rest
};
}  // namespace voxgrad::cpu

#define VOXGRAD_INL "voxgrad/cpu/head.inl"
#include "voxgrad/simd/for_each_isa.hpp"

namespace voxgrad::cpu {

/// True for a 1x1x1 convolution of one unfinished source to at most 4 channels.
inline bool head_takes(const FusedConvProblem& p) {
  return p.conv.dtype == DType::f32 && pointwise(p.conv) && p.conv.Co <= 4 && p.sources == 1 && p.conv.Ci % 8 == 0 &&
         !p.source[0].plain();
}

inline constexpr int64_t head_chunk = 4096;  ///< points of a piece of the head's sums

/// The head forward, for any run of points.
class HeadForward {
 public:
  HeadForward(const FusedConvProblem& p, const float* w, const float* bias)
      : C_(p.conv.Ci), Co_(p.conv.Co), x_(static_cast<const float*>(p.source[0].x)), floats_(p.source[0]),
        memory_(size_t((C_ + 1) * Co_) * sizeof(float)) {
    float* const to = memory_.as<float>();  // w as [Co, C], then the bias
    for (int64_t o = 0; o < Co_; ++o) {
      for (int64_t c = 0; c < C_; ++c) to[o * C_ + c] = w[c * Co_ + o];
      to[Co_ * C_ + o] = bias ? bias[o] : 0.0f;
    }
  }
  /// y [end - begin, Co] of points [begin, end).
  void run(int64_t begin, int64_t end, float* y) const {
    auto* kernel = by_isa(scalar::fused::head_forward, avx2::fused::head_forward, avx512::fused::head_forward);
    const float* const w = memory_.as<float>();
    kernel(0, end - begin, C_, Co_, floats_.act, x_ + begin * C_, w, w + C_ * Co_, y);
  }

 private:
  int64_t C_, Co_;
  const float* x_;
  PendingFloats floats_;
  Workspace memory_;
};

inline void head_forward(const FusedConvProblem& p, const float* w, const float* bias, float* y) {
  const HeadForward head(p, w, bias);
  parallel_for(source_rows(p.conv), head_chunk,
               [&](int64_t begin, int64_t end) { head.run(begin, end, y + begin * p.conv.Co); });
}

/// The numbers of HeadBackward in memory of their own: w times `scale`, and the norm's, zeros without.
class HeadBackwardNumbers {
 public:
  HeadBackwardNumbers(const FusedConvProblem& p, double scale, const float* w, const PendingGradient* below)
      : floats_(p.source[0]), memory_(size_t((p.conv.Co + 3) * p.conv.Ci) * sizeof(float)) {
    const int64_t C = p.conv.Ci, Co = p.conv.Co;
    float *const to = memory_.as<float>(), *const mean = to + Co * C, *const inv_std = mean + C, *const rest = inv_std + C;
    for (int64_t c = 0; c < C; ++c) {
      for (int64_t o = 0; o < Co; ++o) to[o * C + c] = w ? float(scale * double(w[c * Co + o])) : 0.0f;
      const double m = below && below->gamma ? below->mean[c] : 0, s = !below ? 0 : below->gamma ? below->inv_std[c] : 1;
      mean[c] = float(m), inv_std[c] = float(s), rest[c] = float((double(mean[c]) - m) * s);
    }
    view = {C, floats_.act, to, mean, inv_std, rest};
  }
  HeadBackward view;

 private:
  PendingFloats floats_;
  Workspace memory_;
};

/// From dy [points, Co] times `scale`: dw and db (null: not wanted), and with w also da (null: not wanted) and, of a norm
/// below, its sums.
inline void head_backward(const FusedConvProblem& p, double scale, const float* dy, const float* w, float* dw, float* db,
                          float* da, const PendingGradient* below) {
  const int64_t rows = source_rows(p.conv), chunks = (rows + head_chunk - 1) / head_chunk;
  const int64_t C = p.conv.Ci, Co = p.conv.Co, size = (Co + 2) * C + Co;
  const HeadBackwardNumbers numbers(p, scale, w, below);
  const Workspace memory(size_t((chunks + 1) * size) * sizeof(double));
  double *const total = memory.as<double>(), *const partial = total + size;
  auto* run = by_isa(scalar::fused::head_backward, avx2::fused::head_backward, avx512::fused::head_backward);
  parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::fill_n(partial + i * size, size, 0.0);
      run(i * head_chunk, std::min(rows, (i + 1) * head_chunk), Co, numbers.view, static_cast<const float*>(p.source[0].x), dy,
          da, partial + i * size);
    }
  });
  std::fill_n(total, size, 0.0);
  for (int64_t i = 0; i < chunks; ++i)
    for (int64_t j = 0; j < size; ++j) total[j] += partial[i * size + j];
  for (int64_t c = 0; c < C; ++c) {
    for (int64_t o = 0; o < Co && dw; ++o) dw[c * Co + o] = float(scale * total[o * C + c]);
    if (below) below->sum[c] = total[Co * C + c], below->dot[c] = total[(Co + 1) * C + c];
  }
  for (int64_t o = 0; o < Co && db; ++o) db[o] = float(scale * total[(Co + 2) * C + o]);
}

}  // namespace voxgrad::cpu
