// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Batch normalisation, alone or with the activation that follows it (one pass over memory less).

#include <cmath>

#include "voxgrad/autograd/record.hpp"
#include "voxgrad/core/trace.hpp"
#include "voxgrad/kernels/norm.hpp"

namespace voxgrad {

struct BatchNormOptions {
  double eps = 1e-5;
  double momentum = 0.1;  ///< running = (1 - momentum) running + momentum batch
  bool training = true;   ///< batch statistics, which also update the running ones; else running statistics
  bool unbiased = true;   ///< the running variance takes the unbiased one, as in PyTorch; false: the biased one, as in Keras
  double slope = 1;       ///< of the leaky relu applied to the result; 1: none, 0: relu
};

/// What one application of batch norm does to each channel: scale x + shift, from mean and 1/sqrt(var + eps).
struct NormNumbers {
  std::vector<double> mean, inv_std, scale, shift;
};

/// Checks the per-channel tensors of a batch norm over `channels` channels of `rows` values; true: batch statistics.
inline bool check_batch_norm(const char* op, const Shape& x, DType dtype, const Tensor& gamma, const Tensor& beta,
                             const Tensor& running_mean, const Tensor& running_var, const BatchNormOptions& options) {
  const int64_t C = x.rank() > 0 ? x[-1] : 0, rows = C > 0 ? x.size() / C : 0;
  check<ShapeError>(C > 0, op, ": x must have a channel axis, got ", x);
  for (const Tensor* t : {&gamma, &beta, &running_mean, &running_var})
    if (t->defined())
      check<ShapeError>(t->shape() == Shape{C} && t->dtype() == dtype, op, ": x has ", C, " channels of ", name(dtype),
                        ", a per-channel tensor is ", t->shape(), " ", name(t->dtype()));
  check(gamma.defined() && beta.defined(), op, ": gamma and beta must be given");
  const bool batch = options.training || !running_mean.defined();
  check<ShapeError>(!batch || rows > 0, op, ": no values to take statistics of (x is ", x, ")");
  check<ShapeError>(!batch || rows > 1, op, ": needs more than one value per channel in training, x is ", x);
  return batch;
}

/// The numbers of a batch norm from the mean and biased variance of `rows` values, which also update the running
/// statistics; or, without `batch`, from the running statistics.
inline NormNumbers norm_numbers(int64_t rows, bool batch, std::vector<double> mean, std::vector<double> variance,
                                const Tensor& gamma, const Tensor& beta, Tensor running_mean, Tensor running_var,
                                const BatchNormOptions& options) {
  const size_t C = mean.size();
  NormNumbers n{std::move(mean), std::move(variance), std::vector<double>(C), std::vector<double>(C)};
  visit(gamma.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const auto g = gamma.span<T>(), b = beta.span<T>();
    if (batch && running_mean.defined() && running_var.defined()) {
      const double unbias = options.unbiased ? double(rows) / double(rows - 1) : 1, m = options.momentum;
      const auto rm = running_mean.mutable_span<T>(), rv = running_var.mutable_span<T>();
      for (size_t c = 0; c < C; ++c) {
        rm[c] = T((1 - m) * double(rm[c]) + m * n.mean[c]);
        rv[c] = T((1 - m) * double(rv[c]) + m * n.inv_std[c] * unbias);
      }
    }
    for (size_t c = 0; c < C; ++c) {
      if (!batch) {
        n.mean[c] = double(running_mean.span<T>()[c]);
        n.inv_std[c] = double(running_var.span<T>()[c]);
      }
      n.inv_std[c] = 1 / std::sqrt(n.inv_std[c] + options.eps);
      n.scale[c] = double(g[c]) * n.inv_std[c];
      n.shift[c] = double(b[c]) - n.scale[c] * n.mean[c];
    }
  });
  return n;
}

/// y = act(gamma (x - mean) / sqrt(var + eps) + beta) per channel, the last axis of x. In training mode mean and
/// biased variance are the batch's, and running_mean/running_var [C] are updated in place, with the unbiased variance by default.
/// As PyTorch's BatchNorm3d (Ioffe & Szegedy 2015). Undefined running tensors mean: batch statistics always.
inline Tensor batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, Tensor running_mean, Tensor running_var,
                         const BatchNormOptions& options = {}) {
  const bool batch =
      check_batch_norm("batch_norm", x.shape(), x.dtype(), gamma, beta, running_mean, running_var, options);
  const int64_t C = x.shape()[-1];
  const kernels::BatchNormProblem p{x.dtype(), x.size() / C, C, options.slope};
  const auto& table = kernels::batch_norm.at(x.device());
  std::vector<double> mean(size_t(C), 0.0), variance(size_t(C), 0.0);
  TraceScope trace("batch_norm", "forward", x.shape(), x.shape());
  if (batch) table.statistics(p, x.raw(), mean.data(), variance.data());
  NormNumbers n = norm_numbers(p.rows, batch, std::move(mean), std::move(variance), gamma, beta, running_mean, running_var,
                               options);
  Tensor y = empty_like(x);
  table.forward(p, x.raw(), n.scale.data(), n.shift.data(), y.raw());
  const Tensor inputs[] = {x, gamma, beta};
  if (!recording(inputs)) return y;
  return record("batch_norm", y, {x, gamma, beta},
                [p, batch, mean = std::move(n.mean), inv_std = std::move(n.inv_std), x = Saved(x), gamma = Saved(gamma),
                 beta = Saved(beta)](const Tensor& dy, Grads& grads) {
                  const Tensor &xv = x.get("batch_norm"), &g = gamma.get("batch_norm"), &b = beta.get("batch_norm");
                  Tensor dx, dgamma = empty_like(g), dbeta = empty_like(g);
                  if (grads.wanted(0)) dx = empty_like(xv);
                  TraceScope backward_trace("batch_norm", "backward", dy.shape(), xv.shape());
                  kernels::batch_norm.at(dy.device())
                      .backward(p, batch, xv.raw(), dy.raw(), mean.data(), inv_std.data(), g.raw(), b.raw(),
                                dx.defined() ? dx.raw() : nullptr, dgamma.raw(), dbeta.raw());
                  if (grads.wanted(0)) grads.set(0, dx);
                  if (grads.wanted(1)) grads.set(1, dgamma);
                  if (grads.wanted(2)) grads.set(2, dbeta);
                });
}

}  // namespace voxgrad
