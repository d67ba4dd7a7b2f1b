// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Losses averaged over all elements. Each is one pass forward and one backward; sums run in double.

#include "voxgrad/ops/pointwise.hpp"

namespace voxgrad {

/// Errors: ShapeError, DTypeError when a prediction does not fit its target.
inline void check_loss(const char* op, const Shape& prediction, DType dtype, const Tensor& target) {
  check<ShapeError>(prediction == target.shape(), op, ": prediction is ", prediction, ", target is ", target.shape());
  check<DTypeError>(dtype == target.dtype(), op, ": prediction is ", name(dtype), ", target is ", name(target.dtype()));
  check<ShapeError>(prediction.size() > 0, op, ": the prediction is empty");
}

/// Mean over elements of F(prediction, target). Gradients flow to the prediction only.
template <class F>
Tensor mean_loss(const Tensor& prediction, const Tensor& target) {
  check_loss(F::name, prediction.shape(), prediction.dtype(), target);
  const double n = double(prediction.size());
  const double total = kernels::loss<F>.at(prediction.device())
                           .forward(prediction.dtype(), prediction.size(), prediction.raw(), target.raw());
  return record(F::name, Tensor::scalar(total / n, prediction.dtype()), {prediction},
                [n, p = Saved(prediction), t = Saved(target)](const Tensor& dy, Grads& grads) {
                  const Tensor& pv = p.get(F::name);
                  Tensor dp = empty_like(pv);
                  kernels::loss<F>.at(pv.device())
                      .backward(pv.dtype(), pv.size(), dy.item() / n, pv.raw(), t.get(F::name).raw(), dp.raw());
                  grads.set(0, dp);
                });
}

/// mean((p - t)^2)
inline Tensor mse_loss(const Tensor& p, const Tensor& t) { return mean_loss<kernels::Mse>(p, t); }
/// mean((sigmoid(z) - t)^2) of logits z.
inline Tensor mse_with_logits_loss(const Tensor& z, const Tensor& t) { return mean_loss<kernels::MseWithLogits>(z, t); }
/// Binary cross-entropy of probabilities p in [0, 1]; logarithms are cut at -100.
inline Tensor bce_loss(const Tensor& p, const Tensor& t) { return mean_loss<kernels::Bce>(p, t); }
/// Binary cross-entropy of logits, stable for any size.
inline Tensor bce_with_logits_loss(const Tensor& z, const Tensor& t) { return mean_loss<kernels::BceWithLogits>(z, t); }

}  // namespace voxgrad
