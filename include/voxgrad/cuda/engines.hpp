// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Networks on a card as programs use them: training steps and forward passes, planned once for a batch and an extent and
// then repeated without allocations. Precision and device are behind the interfaces; a program that is built with CUDA has
// the functions at the end, any other throws a DeviceError from them.

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/cuda/kernels/optimizer_state.hpp"
#include "voxgrad/kernels/ray_loss.hpp"

namespace voxgrad::cuda {

using Extent = std::array<int64_t, 3>;  ///< D, H, W

/// How activations and weights are stored and multiplied; masters, statistics, gradients and moments are f32 in all.
/// bf16, f16: 16-bit storage on tensor cores, f16 with a dynamic loss scale; tf32: f32 storage, products of 10-bit
/// mantissas; f32: strict.
enum class Precision : uint8_t { bf16, f16, tf32, f32 };

constexpr const char* name(Precision p) {
  return p == Precision::bf16 ? "bf16" : p == Precision::f16 ? "fp16" : p == Precision::tf32 ? "tf32" : "fp32";
}
/// "bf16", "fp16", "tf32" or "fp32"; anything else is a UsageError.
inline Precision parse_precision(std::string_view word) {
  for (const Precision p : {Precision::bf16, Precision::f16, Precision::tf32, Precision::f32})
    if (word == name(p)) return p;
  throw UsageError(text("precision '", word, "' is not one of bf16, fp16, tf32, fp32"));
}

/// The options of models::UNet3d, one for one.
struct UNet3dShape {
  int64_t in_channels = 1, out_channels = 1, layers = 5, width = 8, dilations = 1, first_kernel = 3;
  bool batch_norm = true, leaky_relu = true;
};

/// What of models::StarDist3dOptions the network depends on; fields that the backbones share hold those of the one that is
/// chosen. Activations go by their Keras names.
struct StarDist3dShape {
  int64_t in_channels = 1, rays = 96, classes = 0;  ///< classes: without background; 0: no class head
  Extent grid{1, 1, 1};
  bool resnet = false;              ///< else the U-Net
  int64_t filters = 32, convs = 2;  ///< channels of the first level; convolutions per level or block
  Extent kernel{3, 3, 3};
  std::string activation = "relu";
  bool batch_norm = false;
  int64_t features = 128;  ///< channels between backbone and heads; 0: no such layer
  int64_t depth = 2;       ///< this and the next four: of the U-Net
  Extent pool{2, 2, 2};
  std::string last_activation = "relu", prefix{};
  double dropout = 0;
  int64_t blocks = 4;  ///< of the ResNet
};

/// What of a parameter is meant.
enum class Part : uint8_t { value, gradient, first_moment, second_moment };

/// Where batch norm takes its numbers from. training also updates the running ones and plans gradients.
enum class NormMode : uint8_t { training, batch_statistics, running_statistics };

/// host: the caller computes loss and gradient from logits.
enum class LossKind : uint8_t { mse, bce, host };
enum class OptimizerKind : uint8_t { adam, sgd };

struct UNet3dTrainingOptions {
  UNet3dShape net{};
  int64_t batch = 1;
  Extent crop{32, 32, 32};
  LossKind loss = LossKind::mse;
  OptimizerKind optimizer = OptimizerKind::adam;
  OptimizerSettings settings{};  ///< dynamic_scale is set for f16 whatever it says
};

/// Weights of a network on a device, by the engine's names and in its order.
class DeviceNetwork {
 public:
  virtual ~DeviceNetwork() = default;
  /// Errors: Error for an unknown name, ShapeError for another size.
  virtual void put(std::string_view name, std::span<const float> values, Part part = Part::value) = 0;
  virtual void get(std::string_view name, std::span<float> values, Part part = Part::value) = 0;
  /// Memory of the device: weights and moments, and what the steps need.
  virtual size_t weight_bytes() const = 0;
  virtual size_t arena_bytes() const = 0;
};

/// A training set that lies on the device whole: crops of one extent, of which each step cuts its patches there, flipped
/// and placed as data::Loader does it.
struct HeldCrops {
  int64_t count = 0;
  Extent extent{};
  uint64_t seed = 0;
  bool augment = true, flip = false, random_crop = false;  ///< as in data::LoaderOptions and data::AugmentOptions
  /// Input and target of crop i, extent voxels each.
  std::function<void(int64_t i, float* input, uint8_t* target)> read;
  size_t bytes() const { return size_t(count * extent[0] * extent[1] * extent[2]) * (sizeof(float) + 1); }
};

/// Losses of this many last steps stay on the device.
inline constexpr int64_t loss_ring = 1024;

class UNet3dTraining : public DeviceNetwork {
 public:
  /// Settings of the steps to come. `step`: how many were taken before; -1: as many as it counted.
  virtual void set(const OptimizerSettings& settings, int64_t step = -1) = 0;
  /// One whole step on x [batch, crop, in_channels] and target [batch, crop, out_channels]; not for LossKind::host.
  virtual void step(const float* x, const float* target) = 0;
  /// Takes a training set; one input channel, one output, extent at least the patch. Errors: those of reading and of memory.
  virtual void hold(const HeldCrops& crops) = 0;
  /// The next step_held() takes patches from this position on of an epoch in this order of crops.
  virtual void begin_epoch(int64_t epoch, int64_t position, std::span<const int64_t> order) = 0;
  /// One whole step on the next patches of the held training set; nothing is copied.
  virtual void step_held() = 0;
  /// The step again on the batch that lies on the device.
  virtual void repeat() = 0;
  /// Waits until everything that was asked for is done.
  virtual void wait() = 0;
  /// The same in two halves around the caller's loss: logits of x, then a step from their gradient.
  virtual void forward(const float* x, float* logits) = 0;
  virtual void finish(const float* dlogits) = 0;
  /// Losses of the last `count` steps, oldest first; waits for them. At most loss_ring.
  virtual std::vector<float> losses(int64_t count) = 0;
  /// Numbers of the optimiser as they stand; waits.
  virtual OptimizerState state() = 0;
  /// Those of another engine or run instead, its loss scale included.
  virtual void restore(const OptimizerState& state) = 0;
};

class UNet3dInference : public DeviceNetwork {
 public:
  /// probability [count, tile, out_channels] of x [count, tile, in_channels], count at most the planned batch.
  virtual void run(int64_t count, const float* x, float* probability) = 0;
  /// The same before the sigmoid, for losses.
  virtual void logits(int64_t count, const float* x, float* logits) = 0;
  /// The pass again over the whole batch that lies on the device, without copies.
  virtual void repeat() = 0;
  virtual void wait() = 0;
};

/// Whose the losses are. device: all of them are computed there; host_object: that of the object probability is the
/// caller's, as positive-unlabeled risks are; host: all are the caller's.
enum class StarDistLosses : uint8_t { device, host_object, host };

/// Weights and kinds of losses as models::StarDistLossOptions has them.
struct StarDist3dTrainingOptions {
  StarDist3dShape net{};
  int64_t batch = 1;
  Extent crop{32, 32, 32};  ///< multiples of grid, and of pool^depth * grid with the U-Net
  StarDistLosses losses = StarDistLosses::device;
  double prob_weight = 1, dist_weight = 0.2, background_reg = 1e-4, prob_class_weight = 1;
  kernels::RayError dist_loss = kernels::RayError::mae;
  std::vector<double> class_weights{};  ///< background first; empty: 1 for each
  uint64_t dropout_seed = 0;            ///< models::StarDist3d::dropout_seed()
  OptimizerKind optimizer = OptimizerKind::adam;
  OptimizerSettings settings{};  ///< dynamic_scale is set for f16 whatever it says
};

/// x [batch, crop, in_channels] and, on the grid, what losses on the device need (models::StarDistTargets): prob and mask
/// [.., 1], dist [.., rays], prob_class [.., classes + 1]. mask null: prob serves.
struct StarDistBatch {
  const float *x, *prob = nullptr, *dist = nullptr, *mask = nullptr, *prob_class = nullptr;
};
/// Maps on the grid or their gradients, null where not wanted or not the caller's: logit [.., 1], dist [.., rays],
/// class_logit [.., classes + 1].
template <class T>
struct StarDistMapsOf {
  T *logit, *dist = nullptr, *class_logit = nullptr;
};
struct StarDistStepLoss {
  float total, prob, dist, prob_class;  ///< 0 for what is the caller's or absent; total: weighted
};

class StarDist3dTraining : public DeviceNetwork {
 public:
  /// As UNet3dTraining.
  virtual void set(const OptimizerSettings& settings, int64_t step = -1) = 0;
  virtual void step(const StarDistBatch& batch) = 0;
  virtual void repeat() = 0;
  virtual void wait() = 0;
  /// A step in two halves around losses of the caller's: dist and class_logit are given and taken where all losses are.
  /// forward() returns the device's own losses.
  virtual StarDistStepLoss forward(const StarDistBatch& batch, const StarDistMapsOf<float>& maps) = 0;
  virtual void finish(const StarDistMapsOf<const float>& gradients) = 0;
  /// Losses of the last `count` steps, oldest first; waits for them. At most loss_ring.
  virtual std::vector<StarDistStepLoss> losses(int64_t count) = 0;
  virtual OptimizerState state() = 0;
  /// Those numbers of another engine or run instead, its loss scale included.
  virtual void restore(const OptimizerState& state) = 0;
  /// Forward passes so far, which decide what dropout draws (models::StarDist3d::training_passes()).
  virtual uint64_t training_passes() const = 0;
  virtual void set_training_passes(uint64_t passes) = 0;
};

/// Maps on the grid, null where not wanted: prob and logit [.., 1], dist [.., rays], prob_class [.., classes + 1].
struct StarDistPrediction {
  float *prob, *dist = nullptr, *prob_class = nullptr, *logit = nullptr;
};

class StarDist3dInference : public DeviceNetwork {
 public:
  /// Maps of x [count, tile, in_channels], count at most the planned batch.
  virtual void run(int64_t count, const float* x, const StarDistPrediction& to) = 0;
  /// The pass again over the whole batch that lies on the device, without copies.
  virtual void repeat() = 0;
  virtual void wait() = 0;
};

/// The engines of a card (cuda/cuda_engines.cpp), or a DeviceError that says why there are none. Errors besides: DeviceError for
/// a card that cannot do the precision, and, with what was needed and what was free, for one with too little memory.
std::unique_ptr<UNet3dTraining> make_unet3d_training(int card, Precision precision, const UNet3dTrainingOptions& options);
std::unique_ptr<UNet3dInference> make_unet3d_inference(int card, Precision precision, const UNet3dShape& shape, int64_t batch,
                                                       const Extent& tile, NormMode norm);
std::unique_ptr<StarDist3dTraining> make_stardist3d_training(int card, Precision precision, const StarDist3dTrainingOptions& options);
std::unique_ptr<StarDist3dInference> make_stardist3d_inference(int card, Precision precision, const StarDist3dShape& shape, int64_t batch,
                                                               const Extent& tile, NormMode norm);

/// Bytes of a card's memory that such an engine takes, without what its convolutions need beside their tensors (up to some
/// 10 MiB). Needs no card.
size_t unet3d_training_bytes(Precision precision, const UNet3dTrainingOptions& options);
size_t unet3d_inference_bytes(Precision precision, const UNet3dShape& shape, int64_t batch, const Extent& tile, NormMode norm);
size_t stardist3d_training_bytes(Precision precision, const StarDist3dTrainingOptions& options);
size_t stardist3d_inference_bytes(Precision precision, const StarDist3dShape& shape, int64_t batch, const Extent& tile, NormMode norm);

}  // namespace voxgrad::cuda
