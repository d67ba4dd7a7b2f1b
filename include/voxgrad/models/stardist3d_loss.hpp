// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// StarDist's training loss: cross-entropy of the object probability, masked error of the distances, and, with classes,
// their weighted cross-entropy.

#include <algorithm>
#include <span>

#include "voxgrad/models/stardist3d.hpp"
#include "voxgrad/ops/cast.hpp"
#include "voxgrad/ops/mean.hpp"
#include "voxgrad/ops/ray_loss.hpp"

namespace voxgrad::models {

/// Names and defaults of the Python package's Config3D (train_loss_weights, train_background_reg, train_dist_loss,
/// train_class_weights).
struct StarDistLossOptions {
  double prob_weight = 1, dist_weight = 0.2, background_reg = 1e-4;
  RayError dist_loss = RayError::mae;
  double prob_class_weight = 1;
  std::vector<double> class_weights{};  ///< background first; empty: 1 for each
};

/// What the maps should be: prob [N,D,H,W,1] in [0, 1], or -1 where nobody annotated; dist [N,D,H,W,rays] in voxels;
/// prob_class [N,D,H,W,classes + 1] one-hot, or -1 to leave a voxel out; mask [N,D,H,W,1], the weight of the distances,
/// undefined: prob, and 0 where that is -1.
struct StarDistTargets {
  StarDistTargets(Tensor prob_, Tensor dist_, Tensor prob_class_ = {}, Tensor mask_ = {})
      : prob(std::move(prob_)), dist(std::move(dist_)), prob_class(std::move(prob_class_)), mask(std::move(mask_)) {}
  StarDistTargets(const StarDistMaps& maps) : StarDistTargets(maps.prob, maps.dist, maps.prob_class) {}
  const Tensor& weight() const { return mask.defined() ? mask : prob; }

  Tensor prob, dist, prob_class, mask;
};

inline constexpr double stardist_epsilon = 1e-7;  ///< Keras' epsilon

/// Mean binary cross-entropy over the voxels with a target of at least 0; a target of -1 means "not annotated".
/// Predictions are clipped to [epsilon, 1 - epsilon], without gradient outside, and the logarithms shifted by epsilon,
/// as in Keras 2; inside it runs in f64, as 1 - q has two digits left in f32 near the clip. Without any annotated voxel
/// the loss is 0.
inline Tensor stardist_prob_loss(const Tensor& prob, const Tensor& target) {
  check<ShapeError>(prob.shape() == target.shape(), "stardist_prob_loss: prob is ", prob.shape(), ", target is ", target.shape());
  const double e = stardist_epsilon;
  const Tensor q = clamp(cast(prob, DType::f64), e, 1 - e), to = target.to(DType::f64);
  const Tensor valid = clamp(to, -1, 0) + 1.0, t = clamp(to, 0, 1);
  const Tensor likelihood = t * log(q + e) + (1.0 - t) * log(1.0 - q + e);
  return cast(sum(valid * likelihood) * (-1 / std::max(1.0, sum(valid).item())), prob.dtype());
}

/// The error of the distances, weighted by the mask, and their size outside it (ray_loss in ops/ray_loss.hpp).
/// dist and target [..., rays], mask [..., 1].
inline Tensor stardist_dist_loss(const Tensor& dist, const Tensor& target, const Tensor& mask, double background_reg,
                                 RayError kind = RayError::mae) {
  return ray_loss(dist, target, mask, kind, background_reg);
}

/// -sum over classes of weight t log q with q = prob / sum(prob + epsilon) clipped to [epsilon, 1 - epsilon], mean over
/// voxels; targets below 0 count as 0. prob and target [..., classes], weights one per class or empty.
inline Tensor stardist_class_loss(const Tensor& prob, const Tensor& target, const std::vector<double>& weights) {
  check<ShapeError>(prob.defined() && target.defined(), "stardist_class_loss: the network or the targets have no classes");
  check<ShapeError>(prob.shape() == target.shape() && prob.shape().rank() >= 1, "stardist_class_loss: prob is ", prob.shape(),
                    ", target is ", target.shape());
  const int64_t classes = prob.shape()[-1], voxels = prob.size() / std::max<int64_t>(1, classes);
  check<ShapeError>(weights.empty() || int64_t(weights.size()) == classes, "stardist_class_loss: ", weights.size(),
                    " class weights for ", classes, " classes, background counted");
  Shape one = prob.shape();
  one.set(-1, 1);
  const double e = stardist_epsilon;
  const Tensor p = cast(prob, DType::f64), q = clamp(p / reshape(sum(p + e, {-1}), one), e, 1 - e);
  const Tensor w = Tensor::from(weights.empty() ? std::vector<double>(size_t(classes), 1.0) : weights, {classes});
  return cast(sum(w * clamp(target.to(DType::f64), 0, 1) * log(q)) * (-1 / double(voxels)), prob.dtype());
}

/// The terms of the loss, and their weighted sum.
struct StarDistLoss {
  Tensor total, prob, dist, prob_class;  ///< scalars; prob_class is undefined without classes
};
inline StarDistLoss stardist_losses(const StarDistMaps& predicted, const StarDistTargets& target,
                                    const StarDistLossOptions& o = {}) {
  StarDistLoss loss;
  loss.prob = stardist_prob_loss(predicted.prob, target.prob);
  loss.dist = stardist_dist_loss(predicted.dist, target.dist, target.weight(), o.background_reg, o.dist_loss);
  loss.total = loss.prob * o.prob_weight + loss.dist * o.dist_weight;
  if (predicted.prob_class.defined() || target.prob_class.defined()) {
    loss.prob_class = stardist_class_loss(predicted.prob_class, target.prob_class, o.class_weights);
    loss.total = loss.total + loss.prob_class * o.prob_class_weight;
  }
  return loss;
}
inline Tensor stardist_loss(const StarDistMaps& predicted, const StarDistTargets& target, const StarDistLossOptions& o = {}) {
  return stardist_losses(predicted, target, o).total;
}

/// Share of the voxels of objects with a class, prob_class targets [..., classes] one-hot with background first, whose most probable
/// class is theirs; 1 if there is none.
inline double stardist_class_accuracy(const Tensor& prob_class, const Tensor& target) {
  check<ShapeError>(prob_class.shape() == target.shape(), "stardist_class_accuracy: prob_class is ", prob_class.shape(), ", target is ", target.shape());
  const int64_t classes = prob_class.shape()[-1];
  const auto p = prob_class.span<float>(), t = target.span<float>();
  int64_t of = 0, right = 0;
  for (size_t i = 0; i < p.size(); i += size_t(classes)) {
    const auto most = [&](std::span<const float> v) { return std::max_element(v.begin() + std::ptrdiff_t(i), v.begin() + std::ptrdiff_t(i) + classes) - v.begin(); };
    const auto wanted = size_t(most(t));
    if (wanted == i || !(t[wanted] > 0)) continue;  // background, or nobody said
    ++of;
    right += size_t(most(p)) == wanted;
  }
  return of > 0 ? double(right) / double(of) : 1;
}

/// What the Python package logs beside the losses: divergence of the probabilities (prob_kld), and absolute error, squared
/// error and overlap of the distances, weighted by the mask (dist_relevant_mae, dist_relevant_mse, dist_dist_iou_metric).
struct StarDistMeasures {
  double prob_kld, dist_relevant_mae, dist_relevant_mse, dist_iou;
};
inline StarDistMeasures stardist_measures(const StarDistMaps& predicted, const StarDistTargets& target) {
  NoGrad off;
  const double e = stardist_epsilon;
  const Tensor to = target.prob.to(DType::f64), valid = clamp(to, -1, 0) + 1.0, t = clamp(to, e, 1);
  const auto cross_entropy = [&](const Tensor& of) {
    const Tensor q = clamp(of, e, 1 - e);
    return -sum(valid * (t * log(q + e) + (1.0 - t) * log(1.0 - q + e))).item() / std::max(1.0, sum(valid).item());
  };
  const auto rays = [&](RayError kind) { return masked_ray_error(predicted.dist, target.dist, target.weight(), kind); };
  return {cross_entropy(predicted.prob.to(DType::f64)) - cross_entropy(t), rays(RayError::mae), rays(RayError::mse), rays(RayError::overlap)};
}

}  // namespace voxgrad::models
