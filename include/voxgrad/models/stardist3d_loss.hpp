// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// StarDist's training loss: cross-entropy of the object probability and masked error of the distances.

#include "voxgrad/models/stardist3d.hpp"
#include "voxgrad/ops/mean.hpp"

namespace voxgrad::models {

/// Names and defaults of the Python package's Config3D (train_loss_weights, train_background_reg).
struct StarDistLossOptions {
  double prob_weight = 1, dist_weight = 0.2, background_reg = 1e-4;
};

inline constexpr double stardist_epsilon = 1e-7;  ///< Keras' epsilon

/// Mean binary cross-entropy over the voxels with a target of at least 0; a target of -1 means "not annotated".
/// Predictions are clipped to [epsilon, 1 - epsilon], without gradient outside, and the logarithms shifted by epsilon,
/// as in Keras 2. Without any annotated voxel the loss is 0.
inline Tensor stardist_prob_loss(const Tensor& prob, const Tensor& target) {
  check<ShapeError>(prob.shape() == target.shape(), "stardist_prob_loss: prob is ", prob.shape(), ", target is ", target.shape());
  const double e = stardist_epsilon;
  const Tensor q = clamp(prob, e, 1 - e), valid = clamp(target, -1, 0) + 1.0, t = clamp(target, 0, 1);
  const Tensor likelihood = t * log(q + e) + (1.0 - t) * log(1.0 - q + e);
  return sum(valid * likelihood) * (-1 / std::max(1.0, sum(valid).item()));
}

/// With mask m = max(0, target probability) and means over rays |.|: mean(m |d - p|) / (mean(m) + epsilon)
/// + background_reg mean((1 - m) |p|), the package's "mae". dist and target [..., rays], prob_target [..., 1].
inline Tensor stardist_dist_loss(const Tensor& dist, const Tensor& target, const Tensor& prob_target, double background_reg) {
  check<ShapeError>(dist.shape() == target.shape(), "stardist_dist_loss: dist is ", dist.shape(), ", target is ", target.shape());
  check<ShapeError>(prob_target.size() * dist.shape()[-1] == dist.size(), "stardist_dist_loss: dist is ", dist.shape(),
                    ", the target probability ", prob_target.shape());
  const Tensor error = mean(abs(dist - target), {-1}), size = mean(abs(dist), {-1});
  const Tensor m = clamp(prob_target, 0, 1).view(error.shape());
  return mean(m * error) * (1 / (mean(m).item() + stardist_epsilon)) + mean((1.0 - m) * size) * background_reg;
}

/// Weighted sum of both. Targets: prob [N,D,H,W,1] in [0, 1] or -1, dist [N,D,H,W,rays] in voxels.
inline Tensor stardist_loss(const StarDistMaps& predicted, const StarDistMaps& target, const StarDistLossOptions& o = {}) {
  return stardist_prob_loss(predicted.prob, target.prob) * o.prob_weight +
         stardist_dist_loss(predicted.dist, target.dist, target.prob, o.background_reg) * o.dist_weight;
}

}  // namespace voxgrad::models
