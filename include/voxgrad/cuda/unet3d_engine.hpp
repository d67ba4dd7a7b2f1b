// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The engines of cuda/engines.hpp for any device and precision: the plan of a step and the memory around it.

#include <algorithm>
#include <memory>
#include <utility>

#include "voxgrad/cuda/engines.hpp"
#include "voxgrad/cuda/kernels/crops.hpp"
#include "voxgrad/cuda/kernels/finish_sum.hpp"
#include "voxgrad/cuda/kernels/loss.hpp"
#include "voxgrad/cuda/optimizer_steps.hpp"
#include "voxgrad/cuda/planned_network.hpp"
#include "voxgrad/cuda/unet3d_plan.hpp"

namespace voxgrad::cuda {

template <class Device, class E>
class UNet3dTrainer : public PlannedNetwork<UNet3dTraining, UNet3dLayers, Device, E> {
  using Base = PlannedNetwork<UNet3dTraining, UNet3dLayers, Device, E>;
  using Base::device_, Base::net_, Base::weights_, Base::counters_, Base::program_;

 public:
  UNet3dTrainer(Device& device, const UNet3dTrainingOptions& options, Math math)
      : Base(device, options.net, true, moments_of(options.optimizer)), options_(options), optimizer_(program_, weights_) {
    const Extent& e = options_.crop;
    const int64_t voxels = options_.batch * e[0] * e[1] * e[2];
    inputs_ = voxels * options_.net.in_channels;
    outputs_ = voxels * options_.net.out_channels;
    x_ = program_.persistent("x", size_t(inputs_) * sizeof(float));
    target_ = program_.persistent("target", size_t(outputs_) * sizeof(float));
    logits_ = program_.persistent("logits", size_t(outputs_) * sizeof(float));
    dlogits_ = program_.persistent("dlogits", size_t(outputs_) * sizeof(float));
    ring_ = program_.persistent("losses", size_t(loss_ring) * sizeof(float));
    add_input();
    add_forward(math);
    forward_end_ = program_.size();
    add_backward();
    optimizer_.add(options.optimizer, options.settings);
    program_.plan();
    optimizer_.set(options.settings, 0);
  }

  void set(const OptimizerSettings& settings, int64_t step) override { optimizer_.set(settings, step); }
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
  OptimizerState state() override { return optimizer_.state(); }
  void restore(const OptimizerState& state) override { optimizer_.restore(state); }

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
    program_.template launch<DrawPatches>({position_, boxes_}, [this, p] {
      const HeldCrops& c = held_->crops;
      DrawPatches::Args a{};
      a.count = int(options_.batch), a.seed = c.seed;
      a.at = p->template at<LoaderPosition>(position_), a.order = held_->order, a.crops = held_->whole;
      for (size_t i = 0; i < 3; ++i) a.crop[i] = int32_t(c.extent[i]), a.patch[i] = int32_t(options_.crop[i]);
      a.augment = c.augment, a.flip = c.flip, a.random_crop = c.random_crop;
      a.boxes = p->template at<PatchBox>(boxes_);
      return a;
    });
    program_.template launch<GatherCrops<E, float>>({boxes_, input_, target_}, [this, p] {
      typename GatherCrops<E, float>::Args a{};
      a.count = int(options_.batch);
      for (size_t i = 0; i < 3; ++i) a.crop[i] = int32_t(held_->crops.extent[i]), a.patch[i] = int32_t(options_.crop[i]);
      a.volumes = held_->volumes, a.boxes = p->template at<PatchBox>(boxes_);
      a.x = p->template at<E>(input_), a.target = p->template at<float>(target_);
      return a;
    });
    program_.template launch<AdvanceLoader>({position_}, [this, p] { return AdvanceLoader::Args{options_.batch, p->template at<LoaderPosition>(position_)}; });
    convert_at_ = program_.size();
    if constexpr (!std::is_same_v<E, float>) this->convert(x_, input_, inputs_);
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
    program_.template launch<Loss>({logits_, target_, dlogits_, partials, optimizer_.where()}, [this, p, partials, n = outputs_] {
      return typename Loss::Args{n, p->template at<float>(logits_), p->template at<float>(target_), nullptr, p->template at<float>(dlogits_),
                                 p->template at<double>(partials), 1.0 / double(n), p->template at<OptimizerState>(optimizer_.where())};
    });
    program_.template launch<FinishSum>({partials, ring_, optimizer_.where()}, [this, p, partials, n = outputs_] {
      return FinishSum::Args{Loss::partials(n), p->template at<double>(partials), 1.0 / double(n),
                             {p->template at<float>(ring_), loss_ring, p->template at<OptimizerState>(optimizer_.where())}};
    });
  }
  void add_backward() {
    tape_->backward();
    tape_.reset();
  }

  UNet3dTrainingOptions options_;
  OptimizerSteps<Device, E> optimizer_;
  std::unique_ptr<NetworkTape<Device, E>> tape_;
  std::unique_ptr<Held> held_;
  Value x_, input_, target_, logits_, dlogits_, ring_, position_, boxes_;
  int64_t inputs_ = 0, outputs_ = 0;
  int convert_at_ = 0, network_at_ = 0, forward_end_ = 0;  ///< where parts of the program begin; before the first: a held batch
};

template <class Device, class E>
class UNet3dPredictor : public PlannedNetwork<UNet3dInference, UNet3dLayers, Device, E> {
  using Base = PlannedNetwork<UNet3dInference, UNet3dLayers, Device, E>;
  using Base::device_, Base::net_, Base::weights_, Base::counters_, Base::program_;

 public:
  /// norm: running statistics, or those of each batch, which then must be full.
  UNet3dPredictor(Device& device, const UNet3dShape& shape, int64_t batch, const Extent& tile, NormMode norm, Math math)
      : Base(device, shape, false, 0), batch_(batch), norm_(norm) {
    const int64_t voxels = tile[0] * tile[1] * tile[2];
    inputs_ = voxels * shape.in_channels;
    outputs_ = voxels * shape.out_channels;
    x_ = program_.persistent("x", size_t(batch * inputs_) * sizeof(float));
    probability_ = program_.persistent("probability", size_t(batch * outputs_) * sizeof(float));
    logits_ = program_.persistent("logits", size_t(batch * outputs_) * sizeof(float));
    NetworkTape<Device, E> tape(program_, weights_, norm, math);
    tape.head(unet3d_features(tape, net_, tape.input(this->rounded(x_, batch * inputs_), batch, tile, shape.in_channels)), net_.head, logits_, probability_,
              {});
    program_.plan();
  }

  void run(int64_t count, const float* x, float* probability) override { pass(count, x, probability_, probability); }
  void logits(int64_t count, const float* x, float* logits) override { pass(count, x, logits_, logits); }
  void repeat() override { device_.run(program_, 0, program_.size()); }

 private:
  void pass(int64_t count, const float* x, Value result, float* to) {
    check(count > 0 && count <= batch_ && (norm_ == NormMode::running_statistics || count == batch_),
          "unet3d on a device: a batch of ", count, " where ", batch_, " were planned");
    device_.upload(program_.at(x_), x, size_t(count * inputs_) * sizeof(float));
    device_.run(program_, 0, program_.size());
    device_.download(to, program_.at(result), size_t(count * outputs_) * sizeof(float));
  }

  int64_t batch_, inputs_ = 0, outputs_ = 0;
  NormMode norm_;
  Value x_, probability_, logits_;
};

}  // namespace voxgrad::cuda
