// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Contract of the optimiser steps: one pass over parameter, gradient and moments.

#include <cstdint>

#include "voxgrad/core/dtype.hpp"
#include "voxgrad/core/kernels.hpp"

namespace voxgrad::kernels {

struct AdamProblem {
  DType dtype;
  int64_t n;
  double lr, beta1, beta2, eps;
  double weight_decay;  ///< added to the gradient (Adam) or applied to the parameter (decoupled, AdamW)
  bool decoupled;
  int64_t step;  ///< 1 for the first step
};
struct SgdProblem {
  DType dtype;
  int64_t n;
  double lr, momentum, weight_decay;
  bool nesterov, first;  ///< first: the momentum buffer starts as the gradient
};
struct OptimTable {
  void (*adam)(const AdamProblem&, void* parameter, const void* gradient, void* m, void* v);
  /// `buffer` may be null when momentum is 0.
  void (*sgd)(const SgdProblem&, void* parameter, const void* gradient, void* buffer);
};
inline constinit Kernels<OptimTable> optim{"optim"};

}  // namespace voxgrad::kernels
