// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Contract of the matrix product C[M,N] = op(A) op(B), row-major; op transposes when asked.

#include <cstdint>

#include "voxgrad/core/dtype.hpp"
#include "voxgrad/core/kernels.hpp"

namespace voxgrad::kernels {

struct MatmulProblem {
  DType dtype;
  int64_t M, N, K;
  bool transpose_a, transpose_b;  ///< A is stored [K,M], B is stored [N,K]
};
struct MatmulTable {
  void (*forward)(const MatmulProblem&, const void* a, const void* b, void* c);
};
inline constinit Kernels<MatmulTable> matmul{"matmul"};

}  // namespace voxgrad::kernels
