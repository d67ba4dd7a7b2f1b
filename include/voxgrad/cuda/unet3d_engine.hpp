// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The engines of cuda/engines.hpp for any device and precision: the plan of a step and the memory around it.

#include <algorithm>
#include <memory>
#include <utility>

#include "voxgrad/cuda/engines.hpp"
#include "voxgrad/cuda/kernels/adam.hpp"
#include "voxgrad/cuda/kernels/advance_step.hpp"
#include "voxgrad/cuda/kernels/crops.hpp"
#include "voxgrad/cuda/kernels/finish_sum.hpp"
#include "voxgrad/cuda/kernels/loss.hpp"
#include "voxgrad/cuda/pass_counters.hpp"
#include "voxgrad/cuda/unet3d_plan.hpp"

namespace voxgrad::cuda {

template <class Device, class E>
class UNet3dTrainer : public UNet3dTraining {
 public:
  UNet3dTrainer(Device& device, const UNet3dTrainingOptions& options, Math math)
      : device_(device), options_(options), net_(options.net),
        weights_(device, net_.learnable, net_.buffers, true, options.optimizer == OptimizerKind::adam ? 2 : 1), counters_(net_.counters), program_(device) {
    const Extent& e = options_.crop;
    const int64_t voxels = options_.batch * e[0] * e[1] * e[2];
    inputs_ = voxels * options_.net.in_channels;
    outputs_ = voxels * options_.net.out_channels;
    x_ = program_.persistent("x", size_t(inputs_) * sizeof(float));
    target_ = program_.persistent("target", size_t(outputs_) * sizeof(float));
    logits_ = program_.persistent("logits", size_t(outputs_) * sizeof(float));
    dlogits_ = program_.persistent("dlogits", size_t(outputs_) * sizeof(float));
    state_ = program_.persistent("optimizer state", sizeof(OptimizerState));
    ring_ = program_.persistent("losses", size_t(loss_ring) * sizeof(float));
    add_input();
    add_forward(math);
    forward_end_ = program_.size();
    add_backward();
    add_update();
    program_.plan();
    set(options.settings, 0);
  }

  void put(std::string_view name, std::span<const float> values, Part part) override {
    if (!counters_.put(name, values)) weights_.upload(name, values, part);
  }
  void get(std::string_view name, std::span<float> values, Part part) override {
    if (!counters_.get(name, values)) weights_.download(name, values, part);
  }
  size_t weight_bytes() const override { return weights_.bytes(); }
  size_t arena_bytes() const override { return program_.arena_bytes() + program_.persistent_bytes(); }

  void set(const OptimizerSettings& settings, int64_t step) override {
    OptimizerSettings s = settings;
    s.dynamic_scale = std::is_same_v<E, f16>;
    if (step < 0) {
      device_.upload(program_.at(state_), &s, sizeof s);
      return;
    }
    const OptimizerState fresh = optimizer_state(s, step);
    device_.upload(program_.at(state_), &fresh, sizeof fresh);
  }
  void step(const float* x, const float* target) override {
    check_loss();
    device_.upload(program_.at(x_), x, size_t(inputs_) * sizeof(float));
    device_.upload(program_.at(target_), target, size_t(outputs_) * sizeof(float));
    device_.run(program_, convert_at_, program_.size());
    counters_.advance();
  }
  void hold(const HeldCrops& crops) override {
    const UNet3dShape& s = options_.net;
    check<ShapeError>(s.in_channels == 1 && s.out_channels == 1, "unet3d on a device: a held training set has one channel, the network ",
                      s.in_channels, " and ", s.out_channels);
    for (size_t a = 0; a < 3; ++a)
      check<ShapeError>(crops.extent[a] >= options_.crop[a], "unet3d on a device: held crops of ", crops.extent[a], " are smaller than patches of ",
                        options_.crop[a], " on axis ", a);
    device_.forget(program_.id());  // recorded steps know the memory of the set before
    held_.reset();
    held_ = std::make_unique<Held>(device_, crops);
  }
  void begin_epoch(int64_t epoch, int64_t position, std::span<const int64_t> order) override {
    check(held_ != nullptr && int64_t(order.size()) == held_->crops.count, "unet3d on a device: an order of ", order.size(),
          " crops, held are ", held_ ? held_->crops.count : 0);
    const LoaderPosition at{epoch, position};
    device_.upload(program_.at(position_), &at, sizeof at);
    device_.upload(held_->order, order.data(), order.size_bytes());
    held_->left = held_->crops.count - position;
  }
  void step_held() override {
    check_loss();
    check(held_ != nullptr && held_->left >= options_.batch, "unet3d on a device: ", held_ ? held_->left : 0,
          " crops are left of the epoch, a batch has ", options_.batch);
    held_->left -= options_.batch;
    device_.run(program_, 0, convert_at_);
    device_.run(program_, network_at_, program_.size());
    counters_.advance();
  }
  void repeat() override {
    check_loss();
    device_.run(program_, network_at_, program_.size());
    counters_.advance();
  }
  void wait() override { device_.synchronize(); }
  void forward(const float* x, float* logits) override {
    device_.upload(program_.at(x_), x, size_t(inputs_) * sizeof(float));
    device_.run(program_, convert_at_, forward_end_);
    counters_.advance();
    device_.download(logits, program_.at(logits_), size_t(outputs_) * sizeof(float));
  }
  void finish(const float* dlogits) override {
    const float scale = std::is_same_v<E, f16> ? state().loss_scale : 1;
    if (scale != 1) {
      std::vector<float> scaled(dlogits, dlogits + outputs_);
      for (float& v : scaled) v *= scale;
      device_.upload(program_.at(dlogits_), scaled.data(), size_t(outputs_) * sizeof(float));
    } else {
      device_.upload(program_.at(dlogits_), dlogits, size_t(outputs_) * sizeof(float));
    }
    device_.run(program_, forward_end_, program_.size());
  }
  std::vector<float> losses(int64_t count) override {
    check(count >= 0 && count <= loss_ring, "unet3d on a device: ", count, " losses asked for (at most ", loss_ring, " are kept)");
    std::vector<float> ring(size_t(loss_ring), 0.0f), out;
    device_.download(ring.data(), program_.at(ring_), ring.size() * sizeof(float));
    const int64_t done = state().iteration;
    for (int64_t i = std::max<int64_t>(0, done - count); i < done; ++i) out.push_back(ring[size_t(i % loss_ring)]);
    return out;
  }
  OptimizerState state() override {
    OptimizerState s;
    device_.download(&s, program_.at(state_), sizeof s);
    return s;
  }
  Parameters<Device, E>& weights() { return weights_; }

 private:
  /// A held training set in the device's memory: one crop after the other, and what says where each lies.
  struct Held {
    Held(Device& d, const HeldCrops& c) : device(d), crops(c) {
      const int64_t voxels = c.extent[0] * c.extent[1] * c.extent[2];
      auto* const input = static_cast<float*>(take(size_t(c.count * voxels) * sizeof(float)));
      auto* const target = static_cast<uint8_t*>(take(size_t(c.count * voxels)));
      std::vector<float> one(static_cast<size_t>(voxels));
      std::vector<uint8_t> labels(one.size());
      std::vector<ResidentVolume> all;
      std::vector<CropBox> boxes;
      for (int64_t i = 0; i < c.count; ++i) {
        c.read(i, one.data(), labels.data());
        device.upload(input + i * voxels, one.data(), one.size() * sizeof(float));
        device.upload(target + i * voxels, labels.data(), labels.size());
        ResidentVolume& volume = all.emplace_back(ResidentVolume{input + i * voxels, target + i * voxels, nullptr, nullptr, {}, 0, 1,
                                                                 VoxelType::f32, VoxelType::u8});
        for (size_t a = 0; a < 3; ++a) volume.extent[a] = int32_t(c.extent[a]);
        CropBox& box = boxes.emplace_back(CropBox{int32_t(i), {0, 0, 0}, {}});
        for (size_t a = 0; a < 3; ++a) box.size[a] = int32_t(c.extent[a]);
      }
      volumes = static_cast<ResidentVolume*>(copy(all));
      whole = static_cast<CropBox*>(copy(boxes));
      order = static_cast<int64_t*>(take(size_t(c.count) * sizeof(int64_t)));
    }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    ~Held() {
      for (void* p : owned) device.release(p);
    }
    void* take(size_t bytes) {
      owned.push_back(device.allocate(std::max(bytes, size_t(256))));
      return owned.back();
    }
    template <class T>
    void* copy(const std::vector<T>& from) {
      void* const to = take(from.size() * sizeof(T));
      device.upload(to, from.data(), from.size() * sizeof(T));
      return to;
    }

    Device& device;
    HeldCrops crops;
    std::vector<void*> owned;
    ResidentVolume* volumes = nullptr;
    CropBox* whole = nullptr;
    int64_t* order = nullptr;
    int64_t left = 0;
  };

  void check_loss() const {
    check(options_.loss != LossKind::host, "unet3d on a device: a step needs a loss of its own (forward and finish take the caller's)");
  }
  /// Two ways to the network's input: patches of the held training set, or the host's batch.
  void add_input() {
    auto* const p = &program_;
    position_ = program_.persistent("loader position", sizeof(LoaderPosition));
    boxes_ = program_.persistent("patches", size_t(options_.batch) * sizeof(PatchBox));
    input_ = x_;
    if constexpr (!std::is_same_v<E, float>) input_ = program_.persistent("x in working precision", size_t(inputs_) * sizeof(E));
    add<DrawPatches>({position_, boxes_}, [this, p] {
      const HeldCrops& c = held_->crops;
      DrawPatches::Args a{};
      a.count = int(options_.batch), a.seed = c.seed;
      a.at = p->template at<LoaderPosition>(position_), a.order = held_->order, a.crops = held_->whole;
      for (size_t i = 0; i < 3; ++i) a.crop[i] = int32_t(c.extent[i]), a.patch[i] = int32_t(options_.crop[i]);
      a.augment = c.augment, a.flip = c.flip, a.random_crop = c.random_crop;
      a.boxes = p->template at<PatchBox>(boxes_);
      return a;
    });
    add<GatherCrops<E, float>>({boxes_, input_, target_}, [this, p] {
      typename GatherCrops<E, float>::Args a{};
      a.count = int(options_.batch);
      for (size_t i = 0; i < 3; ++i) a.crop[i] = int32_t(held_->crops.extent[i]), a.patch[i] = int32_t(options_.crop[i]);
      a.volumes = held_->volumes, a.boxes = p->template at<PatchBox>(boxes_);
      a.x = p->template at<E>(input_), a.target = p->template at<float>(target_);
      return a;
    });
    add<AdvanceLoader>({position_}, [this, p] { return AdvanceLoader::Args{options_.batch, p->template at<LoaderPosition>(position_)}; });
    convert_at_ = program_.size();
    if constexpr (!std::is_same_v<E, float>)
      add<Convert<float, E>>({x_, input_}, [this, p] {
        return typename Convert<float, E>::Args{inputs_, p->template at<float>(x_), p->template at<E>(input_), 1};
      });
    network_at_ = program_.size();
  }
  void add_forward(Math math) {
    tape_ = std::make_unique<NetworkTape<Device, E>>(program_, weights_, NormMode::training, math);
    const FeatureMap input = tape_->input(input_, options_.batch, options_.crop, options_.net.in_channels);
    tape_->head(unet3d_features(*tape_, net_, input), net_.head, logits_, {}, dlogits_);
    if (options_.loss == LossKind::mse) add_loss<kernels::MseWithLogits>();
    if (options_.loss == LossKind::bce) add_loss<kernels::BceWithLogits>();
  }
  template <class F>
  void add_loss() {
    using Loss = LossForward<F, float>;
    const Value partials = program_.transient("loss", size_t(Loss::workspace_bytes(outputs_)));
    auto* const p = &program_;
    add<Loss>({logits_, target_, dlogits_, partials, state_}, [this, p, partials, n = outputs_] {
      return typename Loss::Args{n, p->template at<float>(logits_), p->template at<float>(target_), nullptr, p->template at<float>(dlogits_),
                                 p->template at<double>(partials), 1.0 / double(n), p->template at<OptimizerState>(state_)};
    });
    add<FinishSum>({partials, ring_, state_}, [this, p, partials, n = outputs_] {
      return FinishSum::Args{Loss::partials(n), p->template at<double>(partials), 1.0 / double(n),
                             {p->template at<float>(ring_), loss_ring, p->template at<OptimizerState>(state_)}};
    });
  }
  void add_backward() {
    tape_->backward();
    tape_.reset();
  }
  void add_update() {
    auto* const p = &program_;
    auto* const w = &weights_;
    const int64_t n = net_.learnable.total();
    if constexpr (std::is_same_v<E, f16>)
      add<NonFiniteCheck<float>>({state_}, [=, s = state_] { return NonFiniteCheck<float>::Args{n, w->gradients(), p->template at<OptimizerState>(s)}; });
    add<AdvanceStep>({state_}, [=, s = state_] { return AdvanceStep::Args{p->template at<OptimizerState>(s)}; });
    E* working = nullptr;
    if constexpr (!std::is_same_v<E, float>) working = weights_.workings();
    if (options_.optimizer == OptimizerKind::adam)
      add<AdamArena<E>>({state_}, [=, s = state_] {
        return typename AdamArena<E>::Args{n, w->values(), w->gradients(), w->moments(0), w->moments(1), working, p->template at<OptimizerState>(s)};
      });
    else
      add<SgdArena<E>>({state_}, [=, s = state_, momentum = options_.settings.momentum] {
        return typename SgdArena<E>::Args{n, w->values(), w->gradients(), momentum == 0 ? nullptr : w->moments(0), working,
                                          p->template at<OptimizerState>(s)};
      });
  }
  template <class K, class Make>
  void add(const std::vector<Value>& uses, Make make) {
    program_.step(K::name, uses, [device = &device_, make] { device->template launch<K>(make()); });
  }

  Device& device_;
  UNet3dTrainingOptions options_;
  UNet3dLayers net_;
  Parameters<Device, E> weights_;
  PassCounters counters_;
  Program<Device> program_;
  std::unique_ptr<NetworkTape<Device, E>> tape_;
  std::unique_ptr<Held> held_;
  Value x_, input_, target_, logits_, dlogits_, state_, ring_, position_, boxes_;
  int64_t inputs_ = 0, outputs_ = 0;
  int convert_at_ = 0, network_at_ = 0, forward_end_ = 0;  ///< where parts of the program begin; before the first: a held batch
};

template <class Device, class E>
class UNet3dPredictor : public UNet3dInference {
 public:
  /// norm: running statistics, or those of each batch, which then must be full.
  UNet3dPredictor(Device& device, const UNet3dShape& shape, int64_t batch, const Extent& tile, NormMode norm, Math math)
      : device_(device), net_(shape), weights_(device, net_.learnable, net_.buffers, false, 0), counters_(net_.counters), program_(device), batch_(batch), norm_(norm) {
    const int64_t voxels = tile[0] * tile[1] * tile[2];
    inputs_ = voxels * shape.in_channels;
    outputs_ = voxels * shape.out_channels;
    x_ = program_.persistent("x", size_t(batch * inputs_) * sizeof(float));
    probability_ = program_.persistent("probability", size_t(batch * outputs_) * sizeof(float));
    auto* const p = &program_;
    Value x = x_;
    if constexpr (!std::is_same_v<E, float>) {
      x = program_.transient("x in working precision", size_t(batch * inputs_) * sizeof(E));
      program_.step("convert", {x_, x}, [p, from = x_, x, n = batch * inputs_] {
        p->device().template launch<Convert<float, E>>({n, p->template at<float>(from), p->template at<E>(x), 1});
      });
    }
    NetworkTape<Device, E> tape(program_, weights_, norm, math);
    tape.head(unet3d_features(tape, net_, tape.input(x, batch, tile, shape.in_channels)), net_.head, {}, probability_, {});
    program_.plan();
  }

  void put(std::string_view name, std::span<const float> values, Part part) override {
    if (!counters_.put(name, values)) weights_.upload(name, values, part);
  }
  void get(std::string_view name, std::span<float> values, Part part) override {
    if (!counters_.get(name, values)) weights_.download(name, values, part);
  }
  size_t weight_bytes() const override { return weights_.bytes(); }
  size_t arena_bytes() const override { return program_.arena_bytes() + program_.persistent_bytes(); }

  void run(int64_t count, const float* x, float* probability) override {
    check(count > 0 && count <= batch_ && (norm_ == NormMode::running_statistics || count == batch_),
          "unet3d on a device: a batch of ", count, " where ", batch_, " were planned");
    device_.upload(program_.at(x_), x, size_t(count * inputs_) * sizeof(float));
    device_.run(program_, 0, program_.size());
    device_.download(probability, program_.at(probability_), size_t(count * outputs_) * sizeof(float));
  }
  void repeat() override { device_.run(program_, 0, program_.size()); }
  void wait() override { device_.synchronize(); }

 private:
  Device& device_;
  UNet3dLayers net_;
  Parameters<Device, E> weights_;
  PassCounters counters_;
  Program<Device> program_;
  int64_t batch_, inputs_ = 0, outputs_ = 0;
  NormMode norm_;
  Value x_, probability_;
};

}  // namespace voxgrad::cuda
