// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Contract of batch normalisation with the activation that follows it.
// x [rows, C]; a = gamma * (x - mean) * inv_std + beta; y = a > 0 ? a : slope * a  (slope 1: no activation).

#include <cstdint>

#include "voxgrad/core/dtype.hpp"
#include "voxgrad/core/kernels.hpp"

namespace voxgrad::kernels {

struct BatchNormProblem {
  DType dtype;
  int64_t rows, C;
  double slope;
};

struct BatchNormTable {
  /// Per-channel mean and biased variance of x, in double ([C] each).
  void (*statistics)(const BatchNormProblem&, const void* x, double* mean, double* variance);
  /// y from x and the affine map a = scale * x + shift, scale = gamma * inv_std ([C] double each).
  void (*forward)(const BatchNormProblem&, const void* x, const double* scale, const double* shift, void* y);
  /// Gradients of y = act(gamma * (x - mean) * inv_std + beta). With `batch_statistics`, mean and inv_std are
  /// functions of x. gamma and beta are read in the problem's dtype; dx may be null, dgamma and dbeta not.
  void (*backward)(const BatchNormProblem&, bool batch_statistics, const void* x, const void* dy, const double* mean,
                   const double* inv_std, const void* gamma, const void* beta, void* dx, void* dgamma, void* dbeta);
};

inline constinit Kernels<BatchNormTable> batch_norm{"batch_norm"};

}  // namespace voxgrad::kernels
