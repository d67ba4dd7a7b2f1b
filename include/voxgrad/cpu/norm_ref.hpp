// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Batch normalisation as loops, for any float type: the definition, and the double-precision path.

#include "voxgrad/kernels/norm.hpp"

namespace voxgrad::cpu {

/// Mean and biased variance of every channel: two passes in double.
template <class T>
void batch_norm_statistics_ref(const kernels::BatchNormProblem& p, const T* x, double* mean, double* variance) {
  for (int64_t c = 0; c < p.C; ++c) {
    double sum = 0, squares = 0;
    for (int64_t r = 0; r < p.rows; ++r) sum += double(x[r * p.C + c]);
    mean[c] = sum / double(p.rows);
    for (int64_t r = 0; r < p.rows; ++r) {
      const double d = double(x[r * p.C + c]) - mean[c];
      squares += d * d;
    }
    variance[c] = squares / double(p.rows);
  }
}

template <class T>
void batch_norm_forward_ref(const kernels::BatchNormProblem& p, const T* x, const double* scale, const double* shift, T* y) {
  for (int64_t r = 0; r < p.rows; ++r)
    for (int64_t c = 0; c < p.C; ++c) {
      const double a = scale[c] * double(x[r * p.C + c]) + shift[c];
      y[r * p.C + c] = T(a > 0 ? a : p.slope * a);
    }
}

template <class T>
void batch_norm_backward_ref(const kernels::BatchNormProblem& p, bool batch_statistics, const T* x, const T* dy,
                             const double* mean, const double* inv_std, const T* gamma, const T* beta, T* dx, T* dgamma,
                             T* dbeta) {
  for (int64_t c = 0; c < p.C; ++c) {
    const auto normalised = [&](int64_t i) { return (double(x[i]) - mean[c]) * inv_std[c]; };
    const auto da = [&](int64_t i) {
      return double(dy[i]) * (double(gamma[c]) * normalised(i) + double(beta[c]) > 0 ? 1 : p.slope);
    };
    double sum = 0, dot = 0;
    for (int64_t i = c; i < p.rows * p.C; i += p.C) {
      sum += da(i);
      dot += da(i) * normalised(i);
    }
    dgamma[c] = T(dot);
    dbeta[c] = T(sum);
    if (dx == nullptr) continue;
    const double k = double(gamma[c]) * inv_std[c], n = batch_statistics ? double(p.rows) : 0;
    for (int64_t i = c; i < p.rows * p.C; i += p.C)
      dx[i] = T(k * (batch_statistics ? da(i) - sum / n - normalised(i) * dot / n : da(i)));
  }
}

}  // namespace voxgrad::cpu
