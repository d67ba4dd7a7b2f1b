// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Contract of the softmax over the last axis. x, y [rows, C].

#include <cstdint>

#include "voxgrad/core/dtype.hpp"
#include "voxgrad/core/kernels.hpp"

namespace voxgrad::kernels {

struct SoftmaxProblem {
  DType dtype;
  int64_t rows, C;
};

struct SoftmaxTable {
  void (*forward)(const SoftmaxProblem&, const void* x, void* y);
  /// dx = y (dy - sum over the row of dy y).
  void (*backward)(const SoftmaxProblem&, const void* y, const void* dy, void* dx);
};

inline constinit Kernels<SoftmaxTable> softmax{"softmax"};

}  // namespace voxgrad::kernels
