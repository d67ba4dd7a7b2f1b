// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU table of 3-D max-pooling: f32 windows that lie side by side (stride = kernel) on vectors and threads, everything
// else through the plain loops, a thread per sample.

#include <cstring>

#include "voxgrad/core/parallel.hpp"
#include "voxgrad/cpu/pool3d_ref.hpp"
#include "voxgrad/cpu/raw_act.hpp"
#include "voxgrad/cpu/vec.hpp"

#define VOXGRAD_INL "voxgrad/cpu/pool3d.inl"
#include "voxgrad/simd/for_each_isa.hpp"

namespace voxgrad::cpu {

inline constexpr int max_pool_taps = 64;  ///< voxels of the largest window that runs on vectors

inline bool pools_side_by_side(const kernels::Pool3dProblem& p) {
  for (int i = 0; i < 3; ++i)
    if (p.kernel[i] != p.stride[i]) return false;
  return p.dtype == DType::f32 && p.kernel[0] * p.kernel[1] * p.kernel[2] <= max_pool_taps;
}

/// Where the voxels of the first window of output row (n, oz, oy) start, in scan order.
template <class T>
void window_taps(const kernels::Pool3dProblem& p, T* x, int64_t n, int64_t oz, int64_t oy, T* (&tap)[max_pool_taps]) {
  const int64_t line = p.in[2] * p.C, plane = p.in[1] * line;
  int k = 0;
  for (int64_t kz = 0; kz < p.kernel[0]; ++kz)
    for (int64_t ky = 0; ky < p.kernel[1]; ++ky)
      for (int64_t kx = 0; kx < p.kernel[2]; ++kx)
        tap[k++] = x + (n * p.in[0] + oz * p.kernel[0] + kz) * plane + (oy * p.kernel[1] + ky) * line + kx * p.C;
}

inline void max_pool3d_forward_rows(const kernels::Pool3dProblem& p, const float* x, float* y, const RawAct& act = {}) {
  auto* run = by_isa(scalar::flat::pool_rows, avx2::flat::pool_rows, avx512::flat::pool_rows);
  const int64_t length = p.out[2] * p.C;
  const int taps = int(p.kernel[0] * p.kernel[1] * p.kernel[2]);
  parallel_for(p.N * p.out[0] * p.out[1], 1 + flat_grain / (taps * length), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* tap[max_pool_taps];
      window_taps(p, x, r / p.out[1] / p.out[0], r / p.out[1] % p.out[0], r % p.out[1], tap);
      run(p.out[2], p.C, p.kernel[2] * p.C, taps, act, tap, y + r * length);
    }
  });
}

/// Writes dx once: what the windows cover, and zeros behind the last window of every axis. Of raw values it may add to dx
/// instead.
inline void max_pool3d_backward_rows(const kernels::Pool3dProblem& p, const float* x, const float* dy, float* dx,
                                     const RawAct& act = {}, bool add = false) {
  auto* run = by_isa(scalar::flat::pool_rows_backward, avx2::flat::pool_rows_backward, avx512::flat::pool_rows_backward);
  const int64_t line = p.in[2] * p.C, plane = p.in[1] * line, length = p.out[2] * p.C, covered = p.kernel[2] * length;
  const int taps = int(p.kernel[0] * p.kernel[1] * p.kernel[2]);
  const auto clear = [add](float* from, int64_t count) {
    if (!add) std::memset(from, 0, size_t(count) * sizeof(float));
  };
  const int64_t slabs = (p.in[0] + p.kernel[0] - 1) / p.kernel[0];
  parallel_for(p.N * slabs, 1 + flat_grain / (p.kernel[0] * plane), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / slabs, oz = i % slabs, first = oz * p.kernel[0];
      if (oz >= p.out[0]) {  // planes behind the last window
        clear(dx + (n * p.in[0] + first) * plane, (p.in[0] - first) * plane);
        continue;
      }
      const float* tap[max_pool_taps];
      float* dtap[max_pool_taps];
      for (int64_t oy = 0; oy < p.out[1]; ++oy) {
        window_taps(p, x, n, oz, oy, tap);
        window_taps(p, dx, n, oz, oy, dtap);
        run(p.out[2], p.C, p.kernel[2] * p.C, taps, act, add, tap, dy + ((n * p.out[0] + oz) * p.out[1] + oy) * length, dtap);
        for (int row = 0; row < taps; row += int(p.kernel[2])) clear(dtap[row] + covered, line - covered);
      }
      const int64_t done = p.kernel[1] * p.out[1] * line;
      for (int64_t z = first; z < first + p.kernel[0]; ++z) clear(dx + (n * p.in[0] + z) * plane + done, plane - done);
    }
  });
}

inline void max_pool3d_forward(const kernels::Pool3dProblem& p, const void* x, void* y) {
  if (p.N * p.C == 0) return;
  if (pools_side_by_side(p)) return max_pool3d_forward_rows(p, static_cast<const float*>(x), static_cast<float*>(y));
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    parallel_for(p.N, 1, [&](int64_t begin, int64_t end) {
      max_pool3d_forward_ref(p, static_cast<const T*>(x), static_cast<T*>(y), begin, end);
    });
  });
}

inline void max_pool3d_backward(const kernels::Pool3dProblem& p, const void* x, const void* dy, void* dx) {
  if (p.N * p.C == 0) return;
  if (pools_side_by_side(p))
    return max_pool3d_backward_rows(p, static_cast<const float*>(x), static_cast<const float*>(dy),
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
