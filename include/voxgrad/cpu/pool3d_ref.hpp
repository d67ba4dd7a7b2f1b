// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Max-pooling as loops, for any float type, window and stride.

#include "voxgrad/kernels/pool3d.hpp"

namespace voxgrad::cpu {

/// Offset in x of the first maximum of the window of output (n, z, y, x) and channel c, in scan order. A NaN wins
/// over every number, and the last NaN over earlier ones, as in PyTorch.
template <class T>
int64_t first_maximum(const kernels::Pool3dProblem& p, const T* x, int64_t n, int64_t oz, int64_t oy, int64_t ox, int64_t c) {
  int64_t best = -1;
  for (int64_t kz = 0; kz < p.kernel[0]; ++kz)
    for (int64_t ky = 0; ky < p.kernel[1]; ++ky)
      for (int64_t kx = 0; kx < p.kernel[2]; ++kx) {
        const int64_t z = oz * p.stride[0] + kz, y = oy * p.stride[1] + ky, w = ox * p.stride[2] + kx;
        const int64_t i = (((n * p.in[0] + z) * p.in[1] + y) * p.in[2] + w) * p.C + c;
        if (best < 0 || x[i] > x[best] || x[i] != x[i]) best = i;
      }
  return best;
}

/// Calls f(output offset, offset of the first maximum) for every output of samples [begin, end).
template <class T, class F>
void for_each_maximum(const kernels::Pool3dProblem& p, const T* x, int64_t begin, int64_t end, F&& f) {
  int64_t o = begin * p.out[0] * p.out[1] * p.out[2] * p.C;
  for (int64_t n = begin; n < end; ++n)
    for (int64_t oz = 0; oz < p.out[0]; ++oz)
      for (int64_t oy = 0; oy < p.out[1]; ++oy)
        for (int64_t ox = 0; ox < p.out[2]; ++ox)
          for (int64_t c = 0; c < p.C; ++c, ++o) f(o, first_maximum(p, x, n, oz, oy, ox, c));
}

/// Samples [begin, end).
template <class T>
void max_pool3d_forward_ref(const kernels::Pool3dProblem& p, const T* x, T* y, int64_t begin, int64_t end) {
  for_each_maximum(p, x, begin, end, [&](int64_t o, int64_t i) { y[o] = x[i]; });
}

template <class T>
void max_pool3d_backward_ref(const kernels::Pool3dProblem& p, const T* x, const T* dy, T* dx, int64_t begin, int64_t end) {
  const int64_t sample = p.in[0] * p.in[1] * p.in[2] * p.C;
  for (int64_t i = begin * sample; i < end * sample; ++i) dx[i] = 0;
  for_each_maximum(p, x, begin, end, [&](int64_t o, int64_t i) { dx[i] += dy[o]; });
}

}  // namespace voxgrad::cpu
