// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU table of the matrix product: f32 packs both operands into panels (which also undoes any transposition) and
// multiplies them tile by tile; f64 runs the plain loops.

#include "voxgrad/core/parallel.hpp"
#include "voxgrad/cpu/matmul_ref.hpp"
#include "voxgrad/cpu/vec.hpp"

namespace voxgrad::cpu {
inline constexpr int matmul_rows = 6;  ///< of a tile: 12 vectors of sums, 2 of b and 1 of a fit 16 registers
}

#define VOXGRAD_INL "voxgrad/cpu/matmul.inl"
#include "voxgrad/simd/for_each_isa.hpp"

namespace voxgrad::cpu {

/// Packs lines of a matrix into panels [lines / width][K][width], zero where lines end. Element (line, k) lies at
/// line * line_stride + k * k_stride.
inline void pack_panels(int64_t lines, int64_t K, int64_t width, int64_t line_stride, int64_t k_stride, const float* from,
                        float* to) {
  parallel_for((lines + width - 1) / width, 1 + flat_grain / (width * K + 1), [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) {
      const int64_t first = panel * width, held = lines - first < width ? lines - first : width;
      float* out = to + panel * K * width;
      for (int64_t k = 0; k < K; ++k, out += width)
        for (int64_t i = 0; i < width; ++i) out[i] = i < held ? from[(first + i) * line_stride + k * k_stride] : 0.f;
    }
  });
}

inline void matmul_f32(const kernels::MatmulProblem& p, const float* a, const float* b, float* c) {
  const int64_t rows = matmul_rows, columns = 2 * flat_lanes();
  const int64_t row_panels = (p.M + rows - 1) / rows, column_panels = (p.N + columns - 1) / columns;
  float* const pa = static_cast<float*>(scratch(0, size_t(row_panels * rows * p.K + 1) * sizeof(float)));
  float* const pb = static_cast<float*>(scratch(1, size_t(column_panels * columns * p.K + 1) * sizeof(float)));
  pack_panels(p.M, p.K, rows, p.transpose_a ? 1 : p.K, p.transpose_a ? p.M : 1, a, pa);
  pack_panels(p.N, p.K, columns, p.transpose_b ? p.K : 1, p.transpose_b ? 1 : p.N, b, pb);
  auto* run = by_isa(scalar::flat::matmul_tile, avx2::flat::matmul_tile, avx512::flat::matmul_tile);
  const int64_t grain = 1 + flat_grain / (rows * columns * (p.K + 1));
  parallel_for(row_panels * column_panels, grain, [&](int64_t begin, int64_t end) {
    alignas(64) float tile[matmul_rows * 32];
    for (int64_t t = begin; t < end; ++t) {  // a panel of b stays in cache while the panels of a pass by
      const int64_t i = t % row_panels, j = t / row_panels;
      run(p.K, pa + i * rows * p.K, pb + j * columns * p.K, tile);
      const int64_t m1 = p.M - i * rows < rows ? p.M - i * rows : rows;
      const int64_t n1 = p.N - j * columns < columns ? p.N - j * columns : columns;
      for (int64_t m = 0; m < m1; ++m)
        for (int64_t n = 0; n < n1; ++n) c[(i * rows + m) * p.N + j * columns + n] = tile[m * columns + n];
    }
  });
}

inline void matmul(const kernels::MatmulProblem& p, const void* a, const void* b, void* c) {
  if (p.dtype == DType::f32)
    return matmul_f32(p, static_cast<const float*>(a), static_cast<const float*>(b), static_cast<float*>(c));
  parallel_for(p.M, 1 + flat_grain / (p.N * p.K + 1), [&](int64_t begin, int64_t end) {
    matmul_ref(p, static_cast<const double*>(a), static_cast<const double*>(b), static_cast<double*>(c), begin, end);
  });
}

inline constexpr kernels::MatmulTable matmul_table{matmul};
inline const bool matmul_filled = kernels::matmul.fill(DeviceKind::cpu, &matmul_table);

}  // namespace voxgrad::cpu
