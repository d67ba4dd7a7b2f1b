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
};

class UNet3dInference : public DeviceNetwork {
 public:
  /// probability [count, tile, out_channels] of x [count, tile, in_channels], count at most the planned batch.
  virtual void run(int64_t count, const float* x, float* probability) = 0;
  /// The pass again over the whole batch that lies on the device, without copies.
  virtual void repeat() = 0;
  virtual void wait() = 0;
};

/// The engines of a card (cuda/cuda_engines.cpp), or a DeviceError that says why there are none. Errors besides: DeviceError for
/// a card that cannot do the precision, and, with what was needed and what was free, for one with too little memory.
std::unique_ptr<UNet3dTraining> make_unet3d_training(int card, Precision precision, const UNet3dTrainingOptions& options);
std::unique_ptr<UNet3dInference> make_unet3d_inference(int card, Precision precision, const UNet3dShape& shape, int64_t batch,
                                                       const Extent& tile, NormMode norm);

}  // namespace voxgrad::cuda
