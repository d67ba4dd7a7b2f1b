// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The matrix product as loops, for any float type.

#include "voxgrad/kernels/matmul.hpp"

namespace voxgrad::cpu {

/// c[m,n] = sum over k of op(a)[m,k] op(b)[k,n]; row-major, op transposes when asked. Rows [begin, end) of c.
template <class T>
void matmul_ref(const kernels::MatmulProblem& p, const T* a, const T* b, T* c, int64_t begin,
                int64_t end) {
  for (int64_t m = begin; m < end; ++m)
    for (int64_t n = 0; n < p.N; ++n) {
      T total = 0;
      for (int64_t k = 0; k < p.K; ++k)
        total += a[p.transpose_a ? k * p.M + m : m * p.K + k] * b[p.transpose_b ? n * p.K + k : k * p.N + n];
      c[m * p.N + n] = total;
    }
}

}  // namespace voxgrad::cpu
