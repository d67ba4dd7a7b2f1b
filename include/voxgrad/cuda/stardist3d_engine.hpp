// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// StarDist-3D's engines of cuda/engines.hpp for any device and precision: the plan of a step and the memory around it.

#include <algorithm>
#include <memory>
#include <utility>

#include "voxgrad/cuda/kernels/class_loss.hpp"
#include "voxgrad/cuda/kernels/object_loss.hpp"
#include "voxgrad/cuda/kernels/ray_loss.hpp"
#include "voxgrad/cuda/kernels/softmax.hpp"
#include "voxgrad/cuda/optimizer_steps.hpp"
#include "voxgrad/cuda/planned_network.hpp"
#include "voxgrad/cuda/stardist3d_plan.hpp"

namespace voxgrad::cuda {

/// Elements of a pass: of the input, and voxels of the grid.
struct StarDist3dSizes {
  int64_t inputs, voxels;

  StarDist3dSizes(const StarDist3dLayers& net, int64_t batch, const Extent& extent) : inputs(batch * net.shape.in_channels), voxels(batch) {
    const Extent m = net.multiple();
    for (size_t a = 0; a < 3; ++a) {
      check<ShapeError>(batch > 0 && extent[a] > 0 && extent[a] % m[a] == 0, "stardist3d on a device: extents must be multiples of ", m[0], ",",
                        m[1], ",", m[2], ", got ", batch, "x", extent[0], "x", extent[1], "x", extent[2]);
      inputs *= extent[a];
      voxels *= extent[a] / net.shape.grid[a];
    }
  }
};

template <class Device, class E>
class StarDist3dTrainer : public PlannedNetwork<StarDist3dTraining, StarDist3dLayers, Device, E> {
  using Base = PlannedNetwork<StarDist3dTraining, StarDist3dLayers, Device, E>;
  using Base::device_, Base::net_, Base::weights_, Base::counters_, Base::program_;

 public:
  StarDist3dTrainer(Device& device, const StarDist3dTrainingOptions& options, Math math)
      : Base(device, options.net, true, moments_of(options.optimizer)), options_(options), sizes_(net_, options.batch, options.crop),
        optimizer_(program_, weights_) {
    const StarDist3dShape& s = options_.net;
    classes_ = s.classes > 0 ? s.classes + 1 : 0;
    check<UsageError>(options_.dist_loss != kernels::RayError::overlap, "stardist3d on a device: the overlap is a measure, no loss");
    check<UsageError>(options_.class_weights.empty() || int64_t(options_.class_weights.size()) == classes_, "stardist3d on a device: ",
                      options_.class_weights.size(), " class weights for ", classes_, " classes, background counted");
    x_ = program_.persistent("x", size_t(sizes_.inputs) * sizeof(float));
    values_.dropout_seed = options_.dropout_seed;
    if (s.dropout > 0) values_.draws = program_.persistent("dropout position", sizeof(uint64_t));
    values_.logit = grid_values("logit", 1);
    values_.dlogit = grid_values("dlogit", 1);
    if (classes_ > 0) values_.class_logit = grid_values("class logit", classes_), values_.dclass_logit = grid_values("dclass logit", classes_);
    const size_t rays_bytes = size_t(sizes_.voxels * s.rays) * sizeof(E);
    const bool callers = options_.losses == StarDistLosses::host;
    if (callers) values_.dist = program_.persistent("dist", rays_bytes);
    ddist_ = callers ? program_.persistent("ddist", rays_bytes) : program_.transient("ddist", rays_bytes);

    NetworkTape<Device, E> tape(program_, weights_, NormMode::training, math);
    const FeatureMap input = tape.input(this->rounded(x_, sizes_.inputs), options_.batch, options_.crop, s.in_channels);
    const FeatureMap dist = StarDist3dPlan<Device, E>(tape, net_, values_)(input);
    add_losses(dist.data);
    forward_end_ = program_.size();
    tape.give_gradient(dist, ddist_);
    tape.backward();
    optimizer_.add(options_.optimizer, options_.settings);
    program_.plan();
    optimizer_.set(options_.settings, 0);
    put_class_weights();
  }

  void set(const OptimizerSettings& settings, int64_t step) override { optimizer_.set(settings, step); }
  void step(const StarDistBatch& batch) override {
    put_batch(batch);
    repeat();
  }
  void repeat() override {
    check(options_.losses == StarDistLosses::device,
          "stardist3d on a device: a step needs losses of its own (forward and finish take the caller's)");
    begin_pass();
    device_.run(program_, 0, program_.size());
  }
  StarDistStepLoss forward(const StarDistBatch& batch, const StarDistMapsOf<float>& maps) override {
    const bool all = options_.losses == StarDistLosses::host;
    check(options_.losses != StarDistLosses::device, "stardist3d on a device: its losses are its own, a step has no halves");
    check(all || (maps.dist == nullptr && maps.class_logit == nullptr), "stardist3d on a device: only the object probability is the caller's");
    put_batch(batch);
    begin_pass();
    device_.run(program_, 0, forward_end_);
    if (maps.logit) device_.download(maps.logit, program_.at(values_.logit), size_t(sizes_.voxels) * sizeof(float));
    if (maps.class_logit) device_.download(maps.class_logit, program_.at(values_.class_logit), size_t(sizes_.voxels * classes_) * sizeof(float));
    if (maps.dist) get_dist(maps.dist);
    const int64_t now = state().iteration;
    return losses_of(now, now + 1)[0];
  }
  void finish(const StarDistMapsOf<const float>& gradients) override {
    const bool all = options_.losses == StarDistLosses::host;
    check(options_.losses != StarDistLosses::device && gradients.logit && bool(gradients.dist) == all &&
              bool(gradients.class_logit) == (all && classes_ > 0),
          "stardist3d on a device: gradients of exactly those maps are needed whose losses are the caller's");
    const float scale = std::is_same_v<E, f16> ? state().loss_scale : 1;
    put_gradient<float>(gradients.logit, sizes_.voxels, scale, values_.dlogit);
    if (gradients.dist) put_gradient<E>(gradients.dist, sizes_.voxels * options_.net.rays, scale, ddist_);
    if (gradients.class_logit) put_gradient<float>(gradients.class_logit, sizes_.voxels * classes_, scale, values_.dclass_logit);
    device_.run(program_, forward_end_, program_.size());
  }
  std::vector<StarDistStepLoss> losses(int64_t count) override {
    check(count >= 0 && count <= loss_ring, "stardist3d on a device: ", count, " losses asked for (at most ", loss_ring, " are kept)");
    const int64_t done = state().iteration;
    return losses_of(std::max<int64_t>(0, done - count), done);
  }
  OptimizerState state() override { return optimizer_.state(); }
  void restore(const OptimizerState& state) override { optimizer_.restore(state); }
  uint64_t training_passes() const override { return passes_; }
  void set_training_passes(uint64_t passes) override { passes_ = passes; }

 private:
  Value grid_values(const char* name, int64_t channels) { return program_.persistent(name, size_t(sizes_.voxels * channels) * sizeof(float)); }
  Value ring_of(const char* name) { return program_.persistent(name, size_t(loss_ring) * sizeof(float)); }
  std::vector<StarDistStepLoss> losses_of(int64_t first, int64_t end) {
    const std::vector<float> prob = ring(prob_ring_), dist = ring(dist_ring_), prob_class = ring(class_ring_);
    std::vector<StarDistStepLoss> out;
    for (int64_t i = first; i < end; ++i) {
      const auto at = size_t(i % loss_ring);
      const double total = options_.prob_weight * double(prob[at]) + options_.dist_weight * double(dist[at]) +
                           options_.prob_class_weight * double(prob_class[at]);
      out.push_back({float(total), prob[at], dist[at], prob_class[at]});
    }
    return out;
  }
  std::vector<float> ring(Value v) {
    std::vector<float> values(size_t(loss_ring), 0.0f);
    if (v) device_.download(values.data(), program_.at(v), values.size() * sizeof(float));
    return values;
  }

  /// Dropout draws from another place in every pass.
  void begin_pass() {
    ++passes_;
    counters_.advance();
    if (!values_.draws) return;
    const uint64_t position = passes_ << 40;
    device_.upload(program_.at(values_.draws), &position, sizeof position);
  }
  void put_batch(const StarDistBatch& b) {
    const auto given = [&](Value v, const float* from, const char* what, int64_t n) {
      if (!v) return;
      check(from != nullptr, "stardist3d on a device: the batch has no ", what);
      device_.upload(program_.at(v), from, size_t(n) * sizeof(float));
    };
    given(x_, b.x, "x", sizes_.inputs);
    given(prob_, b.prob, "prob", sizes_.voxels);
    given(dist_, b.dist, "dist", sizes_.voxels * options_.net.rays);
    given(mask_, b.mask ? b.mask : b.prob, "mask", sizes_.voxels);
    given(class_, b.prob_class, "prob_class", sizes_.voxels * classes_);
  }
  void get_dist(float* to) {
    const auto n = size_t(sizes_.voxels * options_.net.rays);
    std::vector<E> rounded(n);
    device_.download(rounded.data(), program_.at(values_.dist), n * sizeof(E));
    for (size_t i = 0; i < n; ++i) to[i] = float(rounded[i]);
  }
  template <class T>
  void put_gradient(const float* from, int64_t n, float scale, Value to) {
    std::vector<T> scaled(static_cast<size_t>(n));
    for (size_t i = 0; i < scaled.size(); ++i) scaled[i] = T(from[i] * scale);
    device_.upload(program_.at(to), scaled.data(), scaled.size() * sizeof(T));
  }
  void put_class_weights() {
    if (!class_weights_) return;
    const std::vector<float> w(options_.class_weights.begin(), options_.class_weights.end());
    device_.upload(program_.at(class_weights_), w.data(), w.size() * sizeof(float));
  }

  void add_losses(Value dist) {
    if (options_.losses == StarDistLosses::host) return;
    if (options_.losses == StarDistLosses::device) add_object_loss();
    add_ray_loss(dist);
    if (classes_ > 0) add_class_loss();
  }
  LossRing losses_into(Value ring) const {
    return {program_.template at<float>(ring), loss_ring, program_.template at<OptimizerState>(optimizer_.where())};
  }
  void add_object_loss() {
    prob_ = grid_values("prob target", 1);
    prob_ring_ = ring_of("prob losses");
    auto* const p = &program_;
    const int64_t n = sizes_.voxels;
    const Value state = optimizer_.where(), partials = program_.transient("object loss", size_t(ObjectLossForward::workspace_bytes(n))),
                result = program_.transient("object loss", sizeof(ObjectLossResult));
    program_.template launch<ObjectLossForward>({values_.logit, prob_, partials}, [this, p, n, partials] {
      return ObjectLossForward::Args{n, p->template at<float>(values_.logit), p->template at<float>(prob_), p->template at<double>(partials)};
    });
    program_.template launch<ObjectLossFinish>({partials, result, prob_ring_, state}, [this, p, n, partials, result] {
      return ObjectLossFinish::Args{n, p->template at<double>(partials), p->template at<ObjectLossResult>(result), losses_into(prob_ring_)};
    });
    program_.template launch<ObjectLossBackward>({values_.logit, prob_, result, state, values_.dlogit}, [this, p, n, result, state] {
      return ObjectLossBackward::Args{n, p->template at<float>(values_.logit), p->template at<float>(prob_), p->template at<ObjectLossResult>(result),
                                      options_.prob_weight, p->template at<OptimizerState>(state), p->template at<float>(values_.dlogit)};
    });
  }
  void add_ray_loss(Value dist) {
    const int64_t rays = options_.net.rays, n = sizes_.voxels;
    dist_ = grid_values("dist target", rays);
    mask_ = grid_values("mask", 1);
    dist_ring_ = ring_of("dist losses");
    auto* const p = &program_;
    const Value state = optimizer_.where(), partials = program_.transient("ray loss", size_t(RayLossForward<E>::workspace_bytes(n))),
                result = program_.transient("ray loss", sizeof(RayLossResult));
    program_.template launch<RayLossForward<E>>({dist, dist_, mask_, partials}, [this, p, n, rays, dist, partials] {
      return typename RayLossForward<E>::Args{n, rays, options_.dist_loss, p->template at<E>(dist), p->template at<float>(dist_),
                                              p->template at<float>(mask_), p->template at<double>(partials)};
    });
    program_.template launch<RayLossFinish>({partials, result, dist_ring_, state}, [this, p, n, partials, result] {
      return RayLossFinish::Args{n, p->template at<double>(partials), options_.background_reg, p->template at<RayLossResult>(result),
                                 losses_into(dist_ring_)};
    });
    program_.template launch<RayLossBackward<E>>({dist, dist_, mask_, result, state, ddist_}, [this, p, n, rays, dist, result, state] {
      return typename RayLossBackward<E>::Args{n, rays, options_.dist_loss, p->template at<E>(dist), p->template at<float>(dist_),
                                               p->template at<float>(mask_), p->template at<RayLossResult>(result), options_.background_reg,
                                               options_.dist_weight, p->template at<OptimizerState>(state), p->template at<E>(ddist_)};
    });
  }
  void add_class_loss() {
    class_ = grid_values("class target", classes_);
    class_ring_ = ring_of("class losses");
    if (!options_.class_weights.empty()) class_weights_ = program_.persistent("class weights", size_t(classes_) * sizeof(float));
    auto* const p = &program_;
    const int64_t n = sizes_.voxels;
    const Value state = optimizer_.where(), partials = program_.transient("class loss", size_t(ClassLoss::workspace_bytes(n)));
    program_.template launch<ClassLoss>({values_.class_logit, class_, class_weights_, state, values_.dclass_logit, partials}, [this, p, n, partials, state] {
      return ClassLoss::Args{n, classes_, p->template at<float>(values_.class_logit), p->template at<float>(class_),
                             p->template at<float>(class_weights_), options_.prob_class_weight, p->template at<OptimizerState>(state),
                             p->template at<float>(values_.dclass_logit), p->template at<double>(partials)};
    });
    program_.template launch<FinishSum>({partials, class_ring_, state}, [this, p, n, partials] {
      return FinishSum::Args{ClassLoss::workspace_bytes(n) / int64_t(sizeof(double)), p->template at<double>(partials), 1.0 / double(n),
                             losses_into(class_ring_)};
    });
  }

  StarDist3dTrainingOptions options_;
  StarDist3dSizes sizes_;
  OptimizerSteps<Device, E> optimizer_;
  StarDist3dValues values_;
  Value x_, prob_, dist_, mask_, class_, ddist_, class_weights_, prob_ring_, dist_ring_, class_ring_;
  int64_t classes_ = 0;
  uint64_t passes_ = 0;
  int forward_end_ = 0;
};

template <class Device, class E>
class StarDist3dPredictor : public PlannedNetwork<StarDist3dInference, StarDist3dLayers, Device, E> {
  using Base = PlannedNetwork<StarDist3dInference, StarDist3dLayers, Device, E>;
  using Base::device_, Base::net_, Base::weights_, Base::counters_, Base::program_;

 public:
  /// norm: running statistics, or those of each batch, which then must be full.
  StarDist3dPredictor(Device& device, const StarDist3dShape& shape, int64_t batch, const Extent& tile, NormMode norm, Math math)
      : Base(device, shape, false, 0), one_(net_, 1, tile), batch_(batch), norm_(norm) {
    check<UsageError>(norm != NormMode::training, "stardist3d on a device: a prediction does not train");
    const int64_t classes = shape.classes > 0 ? shape.classes + 1 : 0, voxels = StarDist3dSizes(net_, batch, tile).voxels;
    const auto grid_values = [&](const char* name, int64_t channels) {
      return program_.persistent(name, size_t(voxels * channels) * sizeof(float));
    };
    x_ = program_.persistent("x", size_t(batch * one_.inputs) * sizeof(float));
    prob_ = grid_values("prob", 1);
    logit_ = grid_values("logit", 1);
    dist_ = grid_values("dist", shape.rays);
    if (classes > 0) class_ = grid_values("prob_class", classes);
    StarDist3dValues values;
    values.probability = prob_;
    values.logit = logit_;
    values.class_logit = class_;
    if constexpr (std::is_same_v<E, float>) values.dist = dist_;

    NetworkTape<Device, E> tape(program_, weights_, norm, math);
    const FeatureMap input = tape.input(this->rounded(x_, batch * one_.inputs), batch, tile, shape.in_channels);
    tape.values_of(StarDist3dPlan<Device, E>(tape, net_, values)(input), dist_, {});
    if (classes > 0)
      program_.step(Softmax::name, {class_}, [p = &program_, c = class_, voxels, classes] {
        p->device().template launch<Softmax>({voxels, classes, p->template at<float>(c), p->template at<float>(c)});
      });
    program_.plan();
  }

  void run(int64_t count, const float* x, const StarDistPrediction& to) override {
    check(count > 0 && count <= batch_ && (norm_ == NormMode::running_statistics || count == batch_),
          "stardist3d on a device: a batch of ", count, " where ", batch_, " were planned");
    check(to.prob_class == nullptr || class_, "stardist3d on a device: the network has no classes");
    device_.upload(program_.at(x_), x, size_t(count * one_.inputs) * sizeof(float));
    device_.run(program_, 0, program_.size());
    const auto get_map = [&](float* map, Value from, int64_t channels) {
      if (map) device_.download(map, program_.at(from), size_t(count * one_.voxels * channels) * sizeof(float));
    };
    get_map(to.prob, prob_, 1);
    get_map(to.logit, logit_, 1);
    get_map(to.dist, dist_, net_.shape.rays);
    get_map(to.prob_class, class_, net_.shape.classes + 1);
  }
  void repeat() override { device_.run(program_, 0, program_.size()); }

 private:
  StarDist3dSizes one_;  ///< of one tile
  int64_t batch_;
  NormMode norm_;
  Value x_, prob_, logit_, dist_, class_;
};

}  // namespace voxgrad::cuda
