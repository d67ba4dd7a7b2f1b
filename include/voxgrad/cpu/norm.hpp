// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU table of batch normalisation: f32 on vectors and threads, f64 through the plain loops. Sums run in float inside
// blocks of fixed size and in double across them, so the thread count changes no bit.

#include "voxgrad/core/parallel.hpp"
#include "voxgrad/core/storage.hpp"
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

/// Mean and variance of every channel of [pieces, rows, C], a piece at a time as it comes by. In each block first a
/// rough mean, then moments about it (the block is in cache by then), so that a mean far from 0 costs no digits; blocks
/// are combined about the total mean.
class NormMoments {
 public:
  NormMoments(int64_t pieces, const kernels::BatchNormProblem& piece)
      : blocks(piece), pieces_(pieces), partial_(size_t(pieces * blocks.count * 2 * blocks.C + 1) * sizeof(double)) {}

  /// Takes block i of a piece that starts at x. Blocks may come from any thread, in any order.
  void add(int64_t piece, int64_t i, const float* x) const {
    const NormBlocks& b = blocks;
    auto* sums = by_isa(scalar::flat::period_sums, avx2::flat::period_sums, avx512::flat::period_sums);
    auto* moments = by_isa(scalar::flat::period_moments, avx2::flat::period_moments, avx512::flat::period_moments);
    float* const centre = static_cast<float*>(scratch(5, size_t(3 * b.L) * sizeof(float)));
    float *const sum = centre + b.L, *const square = sum + b.L;
    const float* in = x + b.begin(i);
    sums(b.size(i), b.L, in, sum);
    b.repeat(centre, [&](int64_t c) { return b.fold(sum, c) / b.rows(i); });
    moments(b.size(i), b.L, in, centre, sum, square);
    double* const mean = partial_.as<double>() + (piece * b.count + i) * 2 * b.C;
    for (int64_t c = 0; c < b.C; ++c) {
      const double s = b.fold(sum, c);
      mean[c] = double(centre[c]) + s / b.rows(i);
      mean[b.C + c] = b.fold(square, c) - s * s / b.rows(i);
    }
  }
  void add(int64_t piece, const float* x) const {
    for (int64_t i = 0; i < blocks.count; ++i) add(piece, i, x);
  }

  /// Mean and biased variance ([C] each) of all pieces.
  void finish(double* mean, double* variance) const {
    const NormBlocks& b = blocks;
    const double* const partial = partial_.as<double>();
    const int64_t all = pieces_ * b.count;
    const double rows = double(pieces_) * double(b.n / b.C);
    for (int64_t c = 0; c < b.C; ++c) {
      double total = 0, squares = 0;
      for (int64_t i = 0; i < all; ++i) total += partial[2 * i * b.C + c] * b.rows(i % b.count);
      mean[c] = total / rows;
      for (int64_t i = 0; i < all; ++i) {
        const double d = partial[2 * i * b.C + c] - mean[c];
        squares += partial[(2 * i + 1) * b.C + c] + d * d * b.rows(i % b.count);
      }
      variance[c] = squares < 0 ? 0 : squares / rows;
    }
  }

  const NormBlocks blocks;

 private:
  int64_t pieces_;
  Workspace partial_;
};

inline void batch_norm_statistics_f32(const kernels::BatchNormProblem& p, const float* x, double* mean, double* variance) {
  const NormMoments moments(1, p);
  parallel_for(moments.blocks.count, 2, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) moments.add(0, i, x);
  });
  moments.finish(mean, variance);
}

/// The line scale x + shift as scale (x - centre) + offset: the same, without the cancellation that a mean far from 0
/// brings.
struct NormLine {
  double centre, scale, offset;
};
inline NormLine norm_line(double scale, double shift) {
  const double zero = -shift / scale, centre = zero > -1e30 && zero < 1e30 ? double(float(zero)) : 0;
  return {centre, scale, scale * centre + shift};
}

inline void batch_norm_forward_f32(const kernels::BatchNormProblem& p, const float* x, const double* scale,
                                   const double* shift, float* y) {
  const NormBlocks b(p);
  float* const centre = static_cast<float*>(scratch(0, size_t(3 * b.L) * sizeof(float)));
  float *const factor = centre + b.L, *const offset = factor + b.L;
  b.repeat(centre, [&](int64_t c) { return norm_line(scale[c], shift[c]).centre; });
  b.repeat(factor, [&](int64_t c) { return scale[c]; });
  b.repeat(offset, [&](int64_t c) { return norm_line(scale[c], shift[c]).offset; });
  auto* run = by_isa(scalar::flat::norm_forward, avx2::flat::norm_forward, avx512::flat::norm_forward);
  parallel_for(b.count, 2, [&](int64_t first, int64_t last) {
    const int64_t at = b.begin(first), end = last == b.count ? b.n : b.begin(last);
    run(end - at, b.L, float(p.slope), x + at, centre, factor, offset, y + at);
  });
}

/// The backward pass of batch norm (none where gamma is null) and activation, in two steps over [pieces, rows, C]: sums over everything, then
/// dx = gamma inv_std (da - mean da - normalised mean(da normalised)), da = dy act'. Pieces may come from any thread.
class NormBackward {
 public:
  NormBackward(int64_t pieces, const kernels::BatchNormProblem& piece, const double* mean, const double* inv_std,
               const float* gamma, const float* beta)
      : blocks(piece), pieces_(pieces), slope_(float(piece.slope)), gamma_(gamma), inv_std_(inv_std),
        periods_(size_t(8 * blocks.L) * sizeof(float)) {
    const NormBlocks& b = blocks;
    b.repeat(period(0), [&](int64_t c) { return gamma ? mean[c] : 0; });
    b.repeat(period(1), [&](int64_t c) { return gamma ? inv_std[c] : 1; });
    b.repeat(period(2), [&](int64_t c) { return gamma ? (double(period(0)[c]) - mean[c]) * inv_std[c] : 0; });
    b.repeat(period(3), [&](int64_t c) { return gamma ? double(gamma[c]) : 1; });
    b.repeat(period(4), [&](int64_t c) { return gamma ? double(beta[c]) : 0; });
  }

  /// Memory for the sums of every block, to be used by sums().
  size_t partial_bytes() const { return size_t(pieces_ * blocks.count * 2 * blocks.C + 1) * sizeof(double); }

  void sums(int64_t piece, int64_t i, const float* x, const float* dy, double* partial) const {
    const NormBlocks& b = blocks;
    auto* run =
        by_isa(scalar::flat::norm_backward_sums, avx2::flat::norm_backward_sums, avx512::flat::norm_backward_sums);
    float* const sum = static_cast<float*>(scratch(5, size_t(2 * b.L) * sizeof(float)));
    float* const dot = sum + b.L;
    run(b.size(i), b.L, slope_, kinds(), x + b.begin(i), dy + b.begin(i), sum, dot);
    double* const to = partial + (piece * b.count + i) * 2 * b.C;
    for (int64_t c = 0; c < b.C; ++c) {
      to[c] = b.fold(sum, c);
      to[b.C + c] = b.fold(dot, c);
    }
  }
  void sums(int64_t piece, const float* x, const float* dy, double* partial) const {
    for (int64_t i = 0; i < blocks.count; ++i) sums(piece, i, x, dy, partial);
  }
  /// sum[c] = sum of da, dot[c] = sum of da times normalised, over all pieces.
  void finish(const double* partial, double* sum, double* dot) const {
    for (int64_t c = 0; c < blocks.C; ++c) {
      sum[c] = dot[c] = 0;
      for (int64_t i = 0; i < pieces_ * blocks.count; ++i) {
        sum[c] += partial[2 * i * blocks.C + c];
        dot[c] += partial[(2 * i + 1) * blocks.C + c];
      }
    }
  }

  /// To be called once before data(). `share`: 1 / all rows with batch statistics, else 0 (and the sums are not read).
  void prepare(const double* sum, const double* dot, double share) const {
    blocks.repeat(period(5), [&](int64_t c) { return gamma_ ? double(gamma_[c]) * inv_std_[c] : 1; });
    blocks.repeat(period(6), [&](int64_t c) { return share > 0 ? double(float(sum[c])) * share : 0; });
    blocks.repeat(period(7), [&](int64_t c) { return share > 0 ? double(float(dot[c])) * share : 0; });
  }
  /// dx of blocks [first, last) of the piece that starts at x; dx may be dy.
  void data(int64_t first, int64_t last, const float* x, const float* dy, float* dx) const {
    auto* run =
        by_isa(scalar::flat::norm_backward_data, avx2::flat::norm_backward_data, avx512::flat::norm_backward_data);
    const int64_t at = blocks.begin(first), end = last == blocks.count ? blocks.n : blocks.begin(last);
    run(end - at, blocks.L, slope_, kinds(), x + at, dy + at, dx + at);
  }

  const NormBlocks blocks;

 private:
  float* period(int i) const { return periods_.as<float>() + i * blocks.L; }
  NormPeriod kinds() const {
    return {period(0), period(1), period(2), period(3), period(4), period(5), period(6), period(7)};
  }

  int64_t pieces_;
  float slope_;
  const float* gamma_;
  const double* inv_std_;
  Workspace periods_;
};

/// Sums of the whole of x and dy.
inline void norm_backward_sums_f32(const NormBackward& norm, const float* x, const float* dy, double* sum, double* dot) {
  const Workspace partial(norm.partial_bytes());
  parallel_for(norm.blocks.count, 2, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) norm.sums(0, i, x, dy, partial.as<double>());
  });
  norm.finish(partial.as<double>(), sum, dot);
}

inline void batch_norm_backward_f32(const kernels::BatchNormProblem& p, bool batch_statistics, const float* x,
                                    const float* dy, const double* mean, const double* inv_std, const float* gamma,
                                    const float* beta, float* dx, float* dgamma, float* dbeta) {
  const NormBackward norm(1, p, mean, inv_std, gamma, beta);
  const Workspace totals(size_t(2 * p.C) * sizeof(double));
  double *const sum = totals.as<double>(), *const dot = sum + p.C;
  norm_backward_sums_f32(norm, x, dy, sum, dot);
  for (int64_t c = 0; c < p.C; ++c) {
    dbeta[c] = float(sum[c]);
    dgamma[c] = float(dot[c]);
  }
  if (dx == nullptr || p.rows == 0) return;
  norm.prepare(sum, dot, batch_statistics ? 1 / double(p.rows) : 0);
  parallel_for(norm.blocks.count, 2, [&](int64_t first, int64_t last) { norm.data(first, last, x, dy, dx); });
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
