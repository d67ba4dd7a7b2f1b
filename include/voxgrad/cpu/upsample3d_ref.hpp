// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Nearest-neighbour up-sampling as loops over rows of voxels, for any float type. The inner loops run over channels
// and memory is the limit, so this is the CPU's kernel as well.

#include "voxgrad/kernels/upsample3d.hpp"

namespace voxgrad::cpu {

/// Calls f(copy) with the offset in y of every row of W factor[2] voxels that repeats row r = (n D + z) H + h of x.
template <class F>
void for_each_copy(const kernels::Upsample3dProblem& p, int64_t r, F&& f) {
  const int64_t h = r % p.in[1], nz = r / p.in[1];  // n D + z: samples lie behind each other on both sides
  const int64_t row = p.in[2] * p.factor[2] * p.C;
  for (int64_t kz = 0; kz < p.factor[0]; ++kz)
    for (int64_t ky = 0; ky < p.factor[1]; ++ky)
      f(((nz * p.factor[0] + kz) * p.in[1] * p.factor[1] + h * p.factor[1] + ky) * row);
}

/// Rows [begin, end) of the N D H of x.
template <class T>
void upsample3d_forward_ref(const kernels::Upsample3dProblem& p, const T* x, T* y, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r)
    for_each_copy(p, r, [&, from = x + r * p.in[2] * p.C](int64_t copy) {
      T* to = y + copy;
      for (int64_t w = 0; w < p.in[2]; ++w)
        for (int64_t kx = 0; kx < p.factor[2]; ++kx, to += p.C)
          for (int64_t c = 0; c < p.C; ++c) to[c] = from[w * p.C + c];
    });
}

template <class T>
void upsample3d_backward_ref(const kernels::Upsample3dProblem& p, const T* dy, T* dx, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) {
    T* const to = dx + r * p.in[2] * p.C;
    for (int64_t i = 0; i < p.in[2] * p.C; ++i) to[i] = 0;
    for_each_copy(p, r, [&](int64_t copy) {
      const T* from = dy + copy;
      for (int64_t w = 0; w < p.in[2]; ++w)
        for (int64_t kx = 0; kx < p.factor[2]; ++kx, from += p.C)
          for (int64_t c = 0; c < p.C; ++c) to[w * p.C + c] += from[c];
    });
  }
}

}  // namespace voxgrad::cpu
