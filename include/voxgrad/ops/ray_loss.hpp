// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Masked errors of star-convex distances (Schmidt et al. 2018, Weigert et al. 2020).

#include "voxgrad/autograd/record.hpp"
#include "voxgrad/core/trace.hpp"
#include "voxgrad/kernels/ray_loss.hpp"

namespace voxgrad {

using RayError = kernels::RayError;

inline kernels::RayLossProblem ray_loss_problem(const char* op, const Tensor& dist, const Tensor& target, const Tensor& mask,
                                                RayError kind) {
  check<ShapeError>(dist.shape() == target.shape() && dist.shape().rank() >= 1 && dist.size() > 0, op, ": dist is ",
                    dist.shape(), ", target is ", target.shape());
  check<ShapeError>(mask.size() * dist.shape()[-1] == dist.size(), op, ": dist is ", dist.shape(), ", mask is ", mask.shape());
  check<DTypeError>(target.dtype() == dist.dtype() && mask.dtype() == dist.dtype(), op, ": dist is ", name(dist.dtype()),
                    ", target is ", name(target.dtype()), ", mask is ", name(mask.dtype()));
  return {dist.dtype(), mask.size(), dist.shape()[-1], kind};
}

/// mean(m error) / (mean(m) + 1e-7) + background_reg mean((1 - m) <|dist|>), means over voxels, <.> over rays; m is the
/// mask cut to 0..1, and kernels/ray_loss.hpp says what the error of a voxel is. dist, target [..., rays] with target >= 0,
/// mask with one value for each row of them. The gradient flows to dist only.
inline Tensor ray_loss(const Tensor& dist, const Tensor& target, const Tensor& mask, RayError kind, double background_reg) {
  check<UsageError>(kind != RayError::overlap, "ray_loss: overlap is a measure, not a loss");
  const kernels::RayLossProblem p = ray_loss_problem("ray_loss", dist, target, mask, kind);
  const double n = double(p.voxels);
  kernels::RayLossSums sums{};
  {
    TraceScope trace("ray_loss", "forward", dist.shape(), {});
    sums = kernels::ray_loss.at(dist.device()).sums(p, dist.raw(), target.raw(), mask.raw());
  }
  const double per_error = 1 / (sums.mask + n * 1e-7), per_size = background_reg / n;
  return record("ray_loss", Tensor::scalar(sums.error * per_error + sums.size * per_size, dist.dtype()), {dist},
                [=, x = Saved(dist), d = Saved(target), m = Saved(mask)](const Tensor& dy, Grads& grads) {
                  const Tensor& xv = x.get("ray_loss");
                  Tensor dx = empty_like(xv);
                  TraceScope trace("ray_loss", "backward", xv.shape(), xv.shape());
                  kernels::ray_loss.at(xv.device())
                      .backward(p, xv.raw(), d.get("ray_loss").raw(), m.get("ray_loss").raw(), dy.item() * per_error,
                                dy.item() * per_size, dx.raw());
                  grads.set(0, dx);
                });
}

/// The first term of ray_loss, outside any graph; also of the overlap.
inline double masked_ray_error(const Tensor& dist, const Tensor& target, const Tensor& mask, RayError kind) {
  const kernels::RayLossProblem p = ray_loss_problem("masked_ray_error", dist, target, mask, kind);
  const kernels::RayLossSums sums = kernels::ray_loss.at(dist.device()).sums(p, dist.raw(), target.raw(), mask.raw());
  return sums.error / (sums.mask + double(p.voxels) * 1e-7);
}

}  // namespace voxgrad
