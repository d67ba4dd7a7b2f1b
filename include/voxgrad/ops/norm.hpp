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
  double slope = 1;       ///< of the leaky relu applied to the result; 1: none, 0: relu
};

/// y = act(gamma (x - mean) / sqrt(var + eps) + beta) per channel, the last axis of x. In training mode mean and
/// biased variance are the batch's, and running_mean/running_var [C] are updated in place with the unbiased variance.
/// As PyTorch's BatchNorm3d (Ioffe & Szegedy 2015). Undefined running tensors mean: batch statistics always.
inline Tensor batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, Tensor running_mean, Tensor running_var,
                         const BatchNormOptions& options = {}) {
  const int64_t C = x.shape().rank() > 0 ? x.shape()[-1] : 0;
  check<ShapeError>(C > 0, "batch_norm: x must have a channel axis, got ", x.shape());
  for (const Tensor* t : {&gamma, &beta, static_cast<const Tensor*>(&running_mean), static_cast<const Tensor*>(&running_var)})
    if (t->defined())
      check<ShapeError>(t->shape() == Shape{C} && t->dtype() == x.dtype(), "batch_norm: x has ", C,
                        " channels of ", name(x.dtype()), ", a per-channel tensor is ", t->shape(), " ", name(t->dtype()));
  check(gamma.defined() && beta.defined(), "batch_norm: gamma and beta must be given");
  const bool batch = options.training || !running_mean.defined();
  kernels::BatchNormProblem p{x.dtype(), x.size() / C, C, options.slope};
  check<ShapeError>(!batch || p.rows > 0, "batch_norm: no values to take statistics of (x is ", x.shape(), ")");
  check<ShapeError>(!batch || p.rows > 1, "batch_norm: needs more than one value per channel in training, x is ", x.shape());

  const auto& table = kernels::batch_norm.at(x.device());
  std::vector<double> mean(size_t(C), 0.0), inv_std(size_t(C), 0.0), scale(size_t(C), 0.0), shift(size_t(C), 0.0);
  TraceScope trace("batch_norm", "forward", x.shape(), x.shape());
  if (batch) table.statistics(p, x.raw(), mean.data(), inv_std.data());  // inv_std holds the variance for a moment
  visit(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const auto g = gamma.span<T>(), b = beta.span<T>();
    if (batch && running_mean.defined() && running_var.defined()) {
      const double unbias = double(p.rows) / double(p.rows - 1), m = options.momentum;
      const auto rm = running_mean.mutable_span<T>(), rv = running_var.mutable_span<T>();
      for (size_t c = 0; c < size_t(C); ++c) {
        rm[c] = T((1 - m) * double(rm[c]) + m * mean[c]);
        rv[c] = T((1 - m) * double(rv[c]) + m * inv_std[c] * unbias);
      }
    }
    if (!batch)
      for (size_t c = 0; c < size_t(C); ++c) {
        mean[c] = double(running_mean.span<T>()[c]);
        inv_std[c] = double(running_var.span<T>()[c]);
      }
    for (size_t c = 0; c < size_t(C); ++c) {
      inv_std[c] = 1 / std::sqrt(inv_std[c] + options.eps);
      scale[c] = double(g[c]) * inv_std[c];
      shift[c] = double(b[c]) - scale[c] * mean[c];
    }
  });
  Tensor y = empty_like(x);
  table.forward(p, x.raw(), scale.data(), shift.data(), y.raw());
  const Tensor inputs[] = {x, gamma, beta};
  if (!recording(inputs)) return y;
  return record("batch_norm", y, {x, gamma, beta},
                [p, batch, mean = std::move(mean), inv_std = std::move(inv_std), x = Saved(x), gamma = Saved(gamma),
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
