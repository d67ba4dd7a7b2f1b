// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Pointwise convolutions (1x1x1, stride 1) between many channels, as products of matrices: P points by channels.
// Scratch of the caller: slot 0 panels of weights, slot 1 sums; of each thread: slot 2 panels of dy.

#include <algorithm>

#include "voxgrad/core/parallel.hpp"
#include "voxgrad/kernels/conv3d.hpp"
#include "voxgrad/simd/vec.hpp"

#define VOXGRAD_INL "voxgrad/cpu/conv3d_point.inl"
#include "voxgrad/simd/for_each_isa.hpp"

namespace voxgrad::cpu {

/// True for a plain product of channels at every point.
inline bool pointwise(const kernels::Conv3dProblem& p) {
  for (int a = 0; a < 3; ++a)
    if (p.kernel[a] != 1 || p.stride[a] != 1 || p.padding[a] != 0) return false;
  return true;
}

/// Enough channels to fill the panels on either side.
inline bool conv_point_takes(int64_t Ci, int64_t Co) { return std::min(Ci, Co) >= 32; }

/// y[P][Co] = bias + x[P][Ci] w; `adjoint`: w is [Co][Ci] as the data gradient reads it. bias may be null.
inline void conv_point(int64_t P, int64_t Ci, int64_t Co, const float* x, const float* w, bool adjoint, const float* bias, float* y) {
  const int64_t padded = (Co + 31) / 32 * 32;
  float* panels = static_cast<float*>(scratch(0, size_t(padded * Ci) * sizeof(float)));
  by_isa(scalar::point_pack, avx2::point_pack, avx512::point_pack)(Ci, Co, w, adjoint ? 1 : Co, adjoint ? Ci : 1, panels);
  const auto run = by_isa(scalar::point_product, avx2::point_product, avx512::point_product);
  parallel_for(P, 48, [&](int64_t begin, int64_t end) {
    run(end - begin, Ci, Co, x + begin * Ci, Ci, 1, panels, bias, false, y + begin * Co);
  });
}

/// dw[Ci][Co] = sum over points of x[P][Ci] dy[P][Co]. Points are summed in runs of `chunk`, runs in blocks whose number
/// depends on the problem alone, blocks in order.
inline void conv_point_weight(int64_t P, int64_t Ci, int64_t Co, const float* x, const float* dy, float* dw) {
  if (P == 0) return std::fill(dw, dw + Ci * Co, 0.0f);
  constexpr int64_t chunk = 128;
  const int64_t size = Ci * Co, most = std::clamp<int64_t>((int64_t(1) << 22) / size, 1, 32);
  const int64_t length = std::max<int64_t>((P + most - 1) / most, 4 * chunk), blocks = (P + length - 1) / length;
  float* sums = blocks == 1 ? dw : static_cast<float*>(scratch(1, size_t(blocks * size) * sizeof(float)));
  const auto pack = by_isa(scalar::point_pack, avx2::point_pack, avx512::point_pack);
  const auto run = by_isa(scalar::point_product, avx2::point_product, avx512::point_product);
  parallel_for(blocks, 1, [&](int64_t begin, int64_t end) {
    float* panels = static_cast<float*>(scratch(2, size_t((Co + 31) / 32 * 32 * chunk) * sizeof(float)));
    for (int64_t b = begin; b < end; ++b) {
      const int64_t last = std::min(P, (b + 1) * length);
      for (int64_t p = b * length; p < last; p += chunk) {
        const int64_t K = std::min(chunk, last - p);
        pack(K, Co, dy + p * Co, Co, 1, panels);
        run(Ci, K, Co, x + p * Ci, 1, Ci, panels, nullptr, p > b * length, sums + b * size);
      }
    }
  });
  if (blocks == 1) return;
  parallel_for(size, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) dw[i] = sums[i];
    for (int64_t b = 1; b < blocks; ++b)
      for (int64_t i = begin; i < end; ++i) dw[i] += sums[b * size + i];
  });
}

}  // namespace voxgrad::cpu
