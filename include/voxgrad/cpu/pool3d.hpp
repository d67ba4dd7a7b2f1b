// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU table of 3-D max-pooling: f32 windows of 2x2x2 with stride 2 on vectors and threads, everything else through
// the plain loops, a thread per sample.

#include <cstring>

#include "voxgrad/core/parallel.hpp"
#include "voxgrad/cpu/pool3d_ref.hpp"
#include "voxgrad/cpu/vec.hpp"

#define VOXGRAD_INL "voxgrad/cpu/pool3d.inl"
#include "voxgrad/simd/for_each_isa.hpp"

namespace voxgrad::cpu {

inline bool pools_by_two(const kernels::Pool3dProblem& p) {
  for (int i = 0; i < 3; ++i)
    if (p.kernel[i] != 2 || p.stride[i] != 2) return false;
  return p.dtype == DType::f32;
}

/// The four input rows under output row (n, oz, oy).
template <class T>
void four_rows(const kernels::Pool3dProblem& p, T* x, int64_t n, int64_t oz, int64_t oy, T* (&row)[4]) {
  const int64_t line = p.in[2] * p.C, plane = p.in[1] * line;
  for (int i = 0; i < 4; ++i) row[i] = x + (n * p.in[0] + 2 * oz + i / 2) * plane + (2 * oy + i % 2) * line;
}

inline void max_pool3d_forward_by_two(const kernels::Pool3dProblem& p, const float* x, float* y) {
  auto* run = by_isa(scalar::flat::pool_rows, avx2::flat::pool_rows, avx512::flat::pool_rows);
  const int64_t length = p.out[2] * p.C;
  parallel_for(p.N * p.out[0] * p.out[1], 1 + flat_grain / (8 * length), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* row[4];
      four_rows(p, x, r / p.out[1] / p.out[0], r / p.out[1] % p.out[0], r % p.out[1], row);
      run(p.out[2], p.C, row, y + r * length);
    }
  });
}

/// Writes dx once: what the windows cover, and zeros on the last plane, row and voxel of odd extents.
inline void max_pool3d_backward_by_two(const kernels::Pool3dProblem& p, const float* x, const float* dy, float* dx) {
  auto* run = by_isa(scalar::flat::pool_rows_backward, avx2::flat::pool_rows_backward, avx512::flat::pool_rows_backward);
  const int64_t line = p.in[2] * p.C, plane = p.in[1] * line, length = p.out[2] * p.C;
  const auto clear = [](float* from, int64_t count) { std::memset(from, 0, size_t(count) * sizeof(float)); };
  const int64_t pairs = (p.in[0] + 1) / 2;
  parallel_for(p.N * pairs, 1 + flat_grain / (2 * plane), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / pairs, oz = i % pairs;
      if (oz >= p.out[0]) {  // the odd plane
        clear(dx + (n * p.in[0] + 2 * oz) * plane, plane);
        continue;
      }
      const float* row[4];
      float* drow[4];
      for (int64_t oy = 0; oy < p.out[1]; ++oy) {
        four_rows(p, x, n, oz, oy, row);
        four_rows(p, dx, n, oz, oy, drow);
        run(p.out[2], p.C, row, dy + ((n * p.out[0] + oz) * p.out[1] + oy) * length, drow);
        for (float* d : drow) clear(d + 2 * length, line - 2 * length);
      }
      const int64_t done = 2 * p.out[1] * line;
      for (int64_t z = 2 * oz; z < 2 * oz + 2; ++z) clear(dx + (n * p.in[0] + z) * plane + done, plane - done);
    }
  });
}

inline void max_pool3d_forward(const kernels::Pool3dProblem& p, const void* x, void* y) {
  if (p.N * p.C == 0) return;
  if (pools_by_two(p)) return max_pool3d_forward_by_two(p, static_cast<const float*>(x), static_cast<float*>(y));
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    parallel_for(p.N, 1, [&](int64_t begin, int64_t end) {
      max_pool3d_forward_ref(p, static_cast<const T*>(x), static_cast<T*>(y), begin, end);
    });
  });
}

inline void max_pool3d_backward(const kernels::Pool3dProblem& p, const void* x, const void* dy, void* dx) {
  if (p.N * p.C == 0) return;
  if (pools_by_two(p))
    return max_pool3d_backward_by_two(p, static_cast<const float*>(x), static_cast<const float*>(dy),
                                      static_cast<float*>(dx));
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    parallel_for(p.N, 1, [&](int64_t begin, int64_t end) {
      max_pool3d_backward_ref(p, static_cast<const T*>(x), static_cast<const T*>(dy), static_cast<T*>(dx), begin, end);
    });
  });
}

inline constexpr kernels::MaxPool3dTable max_pool3d_table{max_pool3d_forward, max_pool3d_backward};
inline const bool max_pool3d_filled = kernels::max_pool3d.fill(DeviceKind::cpu, &max_pool3d_table);

}  // namespace voxgrad::cpu
