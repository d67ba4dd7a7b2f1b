// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU table of batch normalisation: f32 on vectors and threads, f64 through the plain loops. Sums run in float inside
// blocks of fixed size and in double across them, so the thread count changes no bit.

#include "voxgrad/core/parallel.hpp"
#include "voxgrad/cpu/norm_ref.hpp"
#include "voxgrad/cpu/vec.hpp"

namespace voxgrad::cpu {
/// What the backward passes need of each channel, repeated to the period.
struct NormPeriod {
  const float *centre, *inv_std, *rest;  ///< normalised = (x - centre) * inv_std + rest
  const float *gamma, *beta;
  const float *k, *mean_da, *mean_dot;  ///< dx = k * (da - mean_da - normalised * mean_dot)
};
}  // namespace voxgrad::cpu

#define VOXGRAD_INL "voxgrad/cpu/norm.inl"
#include "voxgrad/simd/for_each_isa.hpp"

namespace voxgrad::cpu {

/// How [rows, C] is cut: periods of L floats, blocks of whole periods.
struct NormBlocks {
  int64_t n, C, L, block, count;

  explicit NormBlocks(const kernels::BatchNormProblem& p) : n(p.rows * p.C), C(p.C), L(p.C) {
    while (L < 16 * C && L % 16 != 0 && C < 16) L += C;  // small C: a multiple of the widest vector
    while (L < 64) L *= 2;                               // four of the widest vectors: enough sums to hide latency
    const int64_t wanted = C < 128 ? 8192 : 64 * C;
    block = L * (wanted / L < 1 ? 1 : wanted / L);
    count = (n + block - 1) / block;
  }
  int64_t begin(int64_t b) const { return b * block; }
  int64_t size(int64_t b) const { return n - b * block < block ? n - b * block : block; }
  /// Rows of channel data in block b.
  double rows(int64_t b) const { return double(size(b) / C); }
  /// Sum over the period of every channel's lanes.
  double fold(const float* period, int64_t c) const {
    double sum = 0;
    for (int64_t j = c; j < L; j += C) sum += double(period[j]);
    return sum;
  }
  /// Writes value(c) to every lane of channel c.
  template <class F>
  void repeat(float* period, F&& value) const {
    for (int64_t c = 0; c < C; ++c) {
      const float v = float(value(c));
      for (int64_t j = c; j < L; j += C) period[j] = v;
    }
  }
};

/// One pass over memory: in each block first a rough mean, then moments about it (the block is in cache by then), so
/// that a mean far from 0 costs no digits; blocks are combined about the total mean.
inline void batch_norm_statistics_f32(const kernels::BatchNormProblem& p, const float* x, double* mean, double* variance) {
  const NormBlocks b(p);
  double* const partial = static_cast<double*>(scratch(0, size_t(b.count * 2 * b.C + 1) * sizeof(double)));
  auto* sums = by_isa(scalar::flat::period_sums, avx2::flat::period_sums, avx512::flat::period_sums);
  auto* moments = by_isa(scalar::flat::period_moments, avx2::flat::period_moments, avx512::flat::period_moments);
  parallel_for(b.count, 2, [&](int64_t first, int64_t last) {
    float* const centre = static_cast<float*>(scratch(1, size_t(3 * b.L) * sizeof(float)));
    float *const sum = centre + b.L, *const square = sum + b.L;
    for (int64_t i = first; i < last; ++i) {
      const float* in = x + b.begin(i);
      sums(b.size(i), b.L, in, sum);
      b.repeat(centre, [&](int64_t c) { return b.fold(sum, c) / b.rows(i); });
      moments(b.size(i), b.L, in, centre, sum, square);
      for (int64_t c = 0; c < b.C; ++c) {
        const double s = b.fold(sum, c);
        partial[(2 * i) * b.C + c] = double(centre[c]) + s / b.rows(i);
        partial[(2 * i + 1) * b.C + c] = b.fold(square, c) - s * s / b.rows(i);
      }
    }
  });
  for (int64_t c = 0; c < b.C; ++c) {
    double total = 0, squares = 0;
    for (int64_t i = 0; i < b.count; ++i) total += partial[2 * i * b.C + c] * b.rows(i);
    mean[c] = total / double(p.rows);
    for (int64_t i = 0; i < b.count; ++i) {
      const double d = partial[2 * i * b.C + c] - mean[c];
      squares += partial[(2 * i + 1) * b.C + c] + d * d * b.rows(i);
    }
    variance[c] = squares < 0 ? 0 : squares / double(p.rows);
  }
}

/// scale x + shift is computed as scale (x - centre) + offset with centre = -shift / scale: the same line, without
/// the cancellation that a mean far from 0 brings.
inline void batch_norm_forward_f32(const kernels::BatchNormProblem& p, const float* x, const double* scale,
                                   const double* shift, float* y) {
  const NormBlocks b(p);
  float* const centre = static_cast<float*>(scratch(0, size_t(3 * b.L) * sizeof(float)));
  float *const factor = centre + b.L, *const offset = factor + b.L;
  b.repeat(centre, [&](int64_t c) {
    const double zero = -shift[c] / scale[c];
    return zero > -1e30 && zero < 1e30 ? zero : 0;
  });
  b.repeat(factor, [&](int64_t c) { return scale[c]; });
  b.repeat(offset, [&](int64_t c) { return scale[c] * double(centre[c]) + shift[c]; });
  auto* run = by_isa(scalar::flat::norm_forward, avx2::flat::norm_forward, avx512::flat::norm_forward);
  parallel_for(b.count, 2, [&](int64_t first, int64_t last) {
    const int64_t at = b.begin(first), end = last == b.count ? b.n : b.begin(last);
    run(end - at, b.L, float(p.slope), x + at, centre, factor, offset, y + at);
  });
}

inline void batch_norm_backward_f32(const kernels::BatchNormProblem& p, bool batch_statistics, const float* x,
                                    const float* dy, const double* mean, const double* inv_std, const float* gamma,
                                    const float* beta, float* dx, float* dgamma, float* dbeta) {
  const NormBlocks b(p);
  double* const partial = static_cast<double*>(scratch(0, size_t(b.count * 2 * b.C + 1) * sizeof(double)));
  float* const periods = static_cast<float*>(scratch(1, size_t(8 * b.L) * sizeof(float)));
  const auto period = [&](int i) { return periods + i * b.L; };
  b.repeat(period(0), [&](int64_t c) { return mean[c]; });
  b.repeat(period(1), [&](int64_t c) { return inv_std[c]; });
  b.repeat(period(2), [&](int64_t c) { return (double(period(0)[c]) - mean[c]) * inv_std[c]; });
  b.repeat(period(3), [&](int64_t c) { return gamma[c]; });
  b.repeat(period(4), [&](int64_t c) { return beta[c]; });
  const NormPeriod kinds{period(0), period(1), period(2), period(3), period(4), period(5), period(6), period(7)};
  auto* sums =
      by_isa(scalar::flat::norm_backward_sums, avx2::flat::norm_backward_sums, avx512::flat::norm_backward_sums);
  auto* data =
      by_isa(scalar::flat::norm_backward_data, avx2::flat::norm_backward_data, avx512::flat::norm_backward_data);
  parallel_for(b.count, 2, [&](int64_t first, int64_t last) {
    float* const sum = static_cast<float*>(scratch(2, size_t(2 * b.L) * sizeof(float)));
    float* const dot = sum + b.L;
    for (int64_t i = first; i < last; ++i) {
      sums(b.size(i), b.L, float(p.slope), kinds, x + b.begin(i), dy + b.begin(i), sum, dot);
      for (int64_t c = 0; c < b.C; ++c) {
        partial[(2 * i) * b.C + c] = b.fold(sum, c);
        partial[(2 * i + 1) * b.C + c] = b.fold(dot, c);
      }
    }
  });
  for (int64_t c = 0; c < b.C; ++c) {
    double sum = 0, dot = 0;
    for (int64_t i = 0; i < b.count; ++i) {
      sum += partial[(2 * i) * b.C + c];
      dot += partial[(2 * i + 1) * b.C + c];
    }
    dbeta[c] = float(sum);
    dgamma[c] = float(dot);
  }
  if (dx == nullptr || p.rows == 0) return;
  const double share = batch_statistics ? 1 / double(p.rows) : 0;
  b.repeat(period(5), [&](int64_t c) { return double(gamma[c]) * inv_std[c]; });
  b.repeat(period(6), [&](int64_t c) { return double(dbeta[c]) * share; });
  b.repeat(period(7), [&](int64_t c) { return double(dgamma[c]) * share; });
  parallel_for(b.count, 2, [&](int64_t first, int64_t last) {
    const int64_t at = b.begin(first), end = last == b.count ? b.n : b.begin(last);
    data(end - at, b.L, float(p.slope), kinds, x + at, dy + at, dx + at);
  });
}

inline void batch_norm_statistics(const kernels::BatchNormProblem& p, const void* x, double* mean, double* variance) {
  if (p.dtype == DType::f32) return batch_norm_statistics_f32(p, static_cast<const float*>(x), mean, variance);
  batch_norm_statistics_ref(p, static_cast<const double*>(x), mean, variance);
}

inline void batch_norm_forward(const kernels::BatchNormProblem& p, const void* x, const double* scale, const double* shift,
                               void* y) {
  if (p.dtype == DType::f32)
    return batch_norm_forward_f32(p, static_cast<const float*>(x), scale, shift, static_cast<float*>(y));
  batch_norm_forward_ref(p, static_cast<const double*>(x), scale, shift, static_cast<double*>(y));
}

inline void batch_norm_backward(const kernels::BatchNormProblem& p, bool batch_statistics, const void* x, const void* dy,
                                const double* mean, const double* inv_std, const void* gamma, const void* beta, void* dx,
                                void* dgamma, void* dbeta) {
  const auto run = [&](auto* kernel, auto zero) {
    using T = decltype(zero);
    kernel(p, batch_statistics, static_cast<const T*>(x), static_cast<const T*>(dy), mean, inv_std,
           static_cast<const T*>(gamma), static_cast<const T*>(beta), static_cast<T*>(dx), static_cast<T*>(dgamma),
           static_cast<T*>(dbeta));
  };
  if (p.dtype == DType::f32) run(batch_norm_backward_f32, 0.f);
  else run(batch_norm_backward_ref<double>, 0.0);
}

inline constexpr kernels::BatchNormTable batch_norm_table{batch_norm_statistics, batch_norm_forward, batch_norm_backward};
inline const bool batch_norm_filled = kernels::batch_norm.fill(DeviceKind::cpu, &batch_norm_table);

}  // namespace voxgrad::cpu
