// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU table of the head with its loss. A narrow 1x1x1 head in f32 makes a strip of logits in the first-level cache, where
// the loss reads them: one pass over the unfinished values forward, one backward. Everything else runs the fused
// convolution and the loss one after the other.

#include <type_traits>

#include "voxgrad/cpu/head.hpp"
#include "voxgrad/kernels/head_loss.hpp"

namespace voxgrad::cpu {

/// Chunks of points whose sums are added in order.
inline double head_loss_in_strips(const FusedConvProblem& p, const kernels::LossTable& loss, const float* w, const float* bias,
                                  const float* target, float* slope) {
  constexpr int64_t strip = 1024, most = 4;  // points, outputs
  const HeadForward head(p, w, bias);
  const int64_t rows = source_rows(p.conv), chunks = (rows + head_chunk - 1) / head_chunk, Co = p.conv.Co;
  const Workspace memory(size_t(chunks + 1) * sizeof(double));
  double* const partial = memory.as<double>();
  parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
    float logits[strip * most];
    for (int64_t i = begin; i < end; ++i) {
      const int64_t last = std::min(rows, (i + 1) * head_chunk);
      partial[i] = 0;
      for (int64_t r = i * head_chunk; r < last; r += strip) {
        const int64_t to = std::min(last, r + strip), n = (to - r) * Co;
        head.run(r, to, logits);
        partial[i] += loss.forward(DType::f32, n, logits, target + r * Co);
        if (slope) loss.backward(DType::f32, n, 1.0, logits, target + r * Co, slope + r * Co);
      }
    }
  });
  double total = 0;
  for (int64_t i = 0; i < chunks; ++i) total += partial[i];
  return total;
}

inline int64_t output_size(const kernels::Conv3dProblem& p) { return p.N * p.out[0] * p.out[1] * p.out[2] * p.Co; }

inline double head_loss_forward(const FusedConvProblem& p, const kernels::LossTable& loss, const void* w, const void* bias,
                                const void* target, void* slope) {
  if (head_takes(p))
    return head_loss_in_strips(p, loss, static_cast<const float*>(w), static_cast<const float*>(bias),
                               static_cast<const float*>(target), static_cast<float*>(slope));
  const int64_t n = output_size(p.conv);
  const Workspace logits(size_t(n) * size_of(p.conv.dtype));
  kernels::fused_conv.at(Device{}).forward(p, w, bias, logits.as<void>(), nullptr, nullptr);
  const double total = loss.forward(p.conv.dtype, n, logits.as<void>(), target);
  if (slope) loss.backward(p.conv.dtype, n, 1.0, logits.as<void>(), target, slope);
  return total;
}

template <class T>
void head_loss_backward_apart(const FusedConvProblem& p, T scale, const T* slope, const void* w, void* dw, void* db, void* da,
                              const PendingGradient* below) {
  const int64_t n = output_size(p.conv);
  const Workspace memory(size_t(n) * sizeof(T));
  T* const dy = memory.as<T>();
  parallel_for(n, flat_grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) dy[i] = scale * slope[i];
  });
  const auto& table = kernels::fused_conv.at(Device{});
  void* const to[2] = {da, nullptr};
  const PendingGradient* const sums[2] = {below, nullptr};
  if (dw) table.backward_weight(p, nullptr, dy, dw, db);
  if (da) table.backward_data(p, dy, w, to, sums);
}

inline void head_loss_backward(const FusedConvProblem& p, double scale, const void* slope, const void* w, void* dw, void* db,
                               void* da, const PendingGradient* below) {
  if (head_takes(p))
    return head_backward(p, scale, static_cast<const float*>(slope), static_cast<const float*>(w), static_cast<float*>(dw),
                         static_cast<float*>(db), static_cast<float*>(da), below);
  visit(p.conv.dtype, [&](auto zero) {
    using T = decltype(zero);
    head_loss_backward_apart(p, T(scale), static_cast<const T*>(slope), w, dw, db, da, below);
  });
}

inline constexpr kernels::HeadLossTable head_loss_table{head_loss_forward, head_loss_backward};
inline const bool head_loss_filled = kernels::head_loss.fill(DeviceKind::cpu, &head_loss_table);

}  // namespace voxgrad::cpu
