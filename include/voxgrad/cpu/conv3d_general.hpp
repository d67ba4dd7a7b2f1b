// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Calls of the row kernels: tables of which points meet, weights in the order a kernel reads, tasks over the
// threads. Scratch: slot 0 holds weights, slot 1 tables and partial sums.

#include "voxgrad/cpu/conv3d_rows.hpp"

namespace voxgrad::cpu {

/// Floats in a vector of the instruction set in force.
inline int64_t isa_lanes() { return current_isa() == Isa::avx512 ? 16 : current_isa() == Isa::avx2 ? 8 : 4; }

inline int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

/// Tasks per piece of a parallel loop when one task costs `flop`.
inline int64_t conv_grain(double flop) { return std::max(int64_t(1), int64_t(2e5 / std::max(flop, 1.0))); }

/// Fills the plan's grids and tables. `scatters`, by axis: out is the reached grid, else the placed one.
inline RowsPlan rows_plan(const ConvAxis (&axis)[3], const bool (&scatters)[3], int64_t N, int64_t A,
                          int64_t B) {
  RowsPlan p{};
  p.N = N, p.A = A, p.B = B;
  size_t entries = 0;
  for (int a = 0; a < 3; ++a) {
    const bool scatter = scatters[a];
    p.kernel[a] = axis[a].kernel;
    p.out[a] = scatter ? axis[a].reached : axis[a].placed;
    p.in[a] = scatter ? axis[a].placed : axis[a].reached;
    entries += size_t(p.kernel[a] * p.out[a]);
  }
  int32_t* table = static_cast<int32_t*>(scratch(1, entries * sizeof(int32_t) + size_t(A) * sizeof(float)));
  for (int a = 0; a < 3; ++a) {
    const bool scatter = scatters[a];
    p.index[a] = table;
    for (int64_t k = 0; k < p.kernel[a]; ++k)
      for (int64_t o = 0; o < p.out[a]; ++o) {
        const int64_t i = scatter ? axis[a].place(o, k) : axis[a].reach(o, k);
        *table++ = i >= 0 && i < p.in[a] ? int32_t(i) : -1;
      }
  }
  float* zeros = reinterpret_cast<float*>(table);
  std::fill(zeros, zeros + A, 0.0f);
  p.zeros = zeros;
  p.step = scatters[2] ? axis[2].stride : 1;
  p.in_step = scatters[2] ? 1 : axis[2].stride;
  const int64_t along = (p.out[2] + p.step - 1) / p.step;
  p.across_samples = along < 8 && N >= along;
  return p;
}

/// w [k,A,B] (or [k,B,A] when `transposed`) as [k,A,ld] with zeros from B to ld, in scratch slot 0.
inline const float* rows_weight(const RowsPlan& p, bool transposed, const float* w) {
  const int64_t taps = p.kernel[0] * p.kernel[1] * p.kernel[2];
  float* packed = static_cast<float*>(scratch(0, size_t(taps * p.A * p.ld) * sizeof(float)));
  const auto transpose = by_isa(scalar::transpose_run, avx2::transpose_run, avx512::transpose_run);
  parallel_for(taps, std::max(int64_t(1), 32768 / (p.A * p.ld)), [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      float* to = packed + k * p.A * p.ld;
      if (transposed) transpose(w + k * p.A * p.B, p.A, to, p.ld, p.B, p.A);
      for (int64_t a = 0; a < p.A; ++a) {
        if (!transposed) std::copy_n(w + (k * p.A + a) * p.B, p.B, to + a * p.ld);
        std::fill(to + a * p.ld + p.B, to + (a + 1) * p.ld, 0.0f);
      }
    }
  });
  return packed;
}

/// Multiply-adds, twice, of a group of tiles and one output channel.
inline double rows_flop(const RowsPlan& p) {
  return 2.0 * double(p.A) * double(p.kernel[0] * p.kernel[1] * p.kernel[2]) *
         double(p.across_samples ? p.N : p.out[2]);
}

/// Runs a plan whose weights are [k,A,ld].
inline void rows_call(RowsPlan p, const float* in, float* out) {
  // Few points leave half the registers of 16 floats idle: more channels at once.
  p.vectors = isa_lanes() == 16 && p.points() <= 4 && p.ld % 64 == 0 ? 4 : 2;
  const int64_t width = p.vectors * isa_lanes(), blocks = (p.ld + width - 1) / width;
  const auto run = by_isa(scalar::rows_run, avx2::rows_run, avx512::rows_run);
  parallel_for(blocks * p.groups(), conv_grain(double(width) * rows_flop(p)),
               [&](int64_t begin, int64_t end) { run(p, in, out, begin, end); });
}

/// out = bias + the sum of RowsPlan; `transposed`: w is [k,B,A], else [k,A,B].
inline void conv_rows(const ConvAxis (&axis)[3], bool scatter, int64_t N, int64_t A, int64_t B,
                      const float* in, const float* w, bool transposed, const float* bias, float* out) {
  RowsPlan p = rows_plan(axis, {scatter, scatter, scatter}, N, A, B);
  p.bias = bias;
  // Few points do not repay transposing the weights.
  const bool dot = transposed && !bias && A % isa_lanes() == 0 && A >= 64 && B % 4 == 0 &&
                   N * p.out[0] * p.out[1] * p.out[2] <= 128;
  if (dot) {
    p.w = w;
    const auto run = by_isa(scalar::rows_dot, avx2::rows_dot, avx512::rows_dot);
    return parallel_for(B / 4 * p.groups(), conv_grain(4 * rows_flop(p)),
                        [&](int64_t begin, int64_t end) { run(p, in, out, begin, end); });
  }
  p.ld = round_up(B, isa_lanes());
  p.w = transposed || p.ld != B ? rows_weight(p, transposed, w) : w;
  rows_call(p, in, out);
}

/// A product of every point's channels, narrow on one side: out [points,B] = bias + in [points,A] w, where A
/// is a multiple of 4 and B at most 4, or the other way round. `transposed`: w is [B,A], else [A,B].
inline bool conv_narrow(int64_t points, int64_t A, int64_t B, const float* in, const float* w,
                        bool transposed, const float* bias, float* out) {
  const bool to_few = A % 4 == 0 && B <= 4, from_few = A <= 4 && B % 4 == 0;
  if (!to_few && !from_few) return false;
  float* packed =
      static_cast<float*>(scratch(0, size_t(A * B) * sizeof(float)));  // [B,A] to few, [A,B] from few
  for (int64_t a = 0; a < A; ++a)
    for (int64_t b = 0; b < B; ++b)
      packed[to_few ? b * A + a : a * B + b] = transposed ? w[b * A + a] : w[a * B + b];
  const auto run = to_few ? by_isa(scalar::narrow_to_few, avx2::narrow_to_few, avx512::narrow_to_few)
                          : by_isa(scalar::narrow_from_few, avx2::narrow_from_few, avx512::narrow_from_few);
  parallel_for(points, 4096,
               [&](int64_t begin, int64_t end) { run(in, packed, bias, out, A, B, begin, end); });
  return true;
}

/// dw [k,Ci,Co]; `transposed`: x lies on the placed grid and dy on the reached one.
inline void conv_outer(const ConvAxis (&axis)[3], bool transposed, int64_t N, int64_t Ci, int64_t Co,
                       const float* x, const float* dy, float* dw) {
  OuterPlan p{};
  p.N = N;
  // Large volumes with few weights go sample by sample, which stay in the cache while the taps pass over
  // them.
  const int64_t taps = axis[0].kernel * axis[1].kernel * axis[2].kernel, size = taps * Ci * Co;
  const int64_t points = axis[0].placed * axis[1].placed * axis[2].placed;
  const int64_t chunks = size <= 65536 && points >= 512 ? std::clamp<int64_t>(N, 1, 16) : 1;
  const int64_t entries = 2 * (axis[0].kernel + axis[1].kernel + axis[2].kernel);
  int32_t* table = static_cast<int32_t*>(scratch(
      1, size_t(entries) * sizeof(int32_t) + (chunks > 1 ? size_t(chunks * size) * sizeof(float) : 0)));
  float* sums = chunks > 1 ? reinterpret_cast<float*>(table + entries) : dw;
  for (int a = 0; a < 3; ++a) {
    p.kernel[a] = axis[a].kernel, p.stride[a] = axis[a].stride, p.padding[a] = axis[a].padding;
    p.dilation[a] = axis[a].dilation, p.placed[a] = axis[a].placed, p.reached[a] = axis[a].reached;
    p.range[a] = table;
    for (int64_t k = 0; k < axis[a].kernel; ++k) {
      *table++ = int32_t(axis[a].first_point(k));
      *table++ = int32_t(axis[a].last_point(k));
    }
  }
  const int64_t lanes = isa_lanes();
  const auto fill = [&](int64_t channels) { return double(channels) / double(round_up(channels, lanes)); };
  const bool along_co = fill(Co) >= fill(Ci);  // the vector runs along the channels that fill it better
  p.U = along_co ? Ci : Co, p.V = along_co ? Co : Ci;
  p.u = along_co ? x : dy, p.v = along_co ? dy : x;
  p.u_reached = along_co != transposed;
  p.u_stride = along_co ? Co : 1, p.v_stride = along_co ? 1 : Co;
  const int64_t placed = points, reached = axis[0].reached * axis[1].reached * axis[2].reached;
  const int64_t u_sample = (p.u_reached ? reached : placed) * p.U,
                v_sample = (p.u_reached ? placed : reached) * p.V;
  const auto run = by_isa(scalar::outer_run, avx2::outer_run, avx512::outer_run);
  const int64_t tasks = taps * p.u_blocks();
  parallel_for(chunks * tasks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin / tasks; c * tasks < end; ++c) {
      OuterPlan part = p;
      const int64_t first = N * c / chunks;
      part.N = N * (c + 1) / chunks - first;
      part.u += first * u_sample, part.v += first * v_sample;
      part.dw = sums + c * size;
      run(part, std::max(begin - c * tasks, int64_t(0)), std::min(end - c * tasks, tasks));
    }
  });
  for (int64_t i = 0; chunks > 1 && i < size; ++i) {
    float total = sums[i];
    for (int64_t c = 1; c < chunks; ++c) total += sums[c * size + i];
    dw[i] = total;
  }
}

/// db[c] = sum of dy over all points, in chunks that do not depend on the threads.
inline void conv_bias(int64_t points, int64_t C, const float* dy, float* db) {
  constexpr int64_t chunk = 8192;
  const int64_t chunks = (points + chunk - 1) / chunk;
  double* sums = static_cast<double*>(scratch(1, size_t(chunks * C) * sizeof(double)));
  std::fill(sums, sums + chunks * C, 0.0);
  const auto run = by_isa(scalar::bias_run, avx2::bias_run, avx512::bias_run);
  parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      run(dy, C, i * chunk, std::min(points, (i + 1) * chunk), sums + i * C);
  });
  for (int64_t c = 0; c < C; ++c) {
    double total = 0;
    for (int64_t i = 0; i < chunks; ++i) total += sums[i * C + c];
    db[c] = float(total);
  }
}

}  // namespace voxgrad::cpu
