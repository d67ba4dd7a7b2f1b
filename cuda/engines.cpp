// SPDX-License-Identifier: BSD-3-Clause
// The engines of cuda/engines.hpp on a card: which types stand behind a precision, and what the card must be able to do.
#include "voxgrad/cuda/engines.hpp"

#include <cstdlib>
#include <map>
#include <mutex>
#include <string>

#include "voxgrad/cuda/cuda_device.hpp"
#include "voxgrad/cuda/runtime.hpp"
#include "voxgrad/cuda/stardist3d_engine.hpp"
#include "voxgrad/cuda/unet3d_engine.hpp"

namespace voxgrad::cuda {
namespace {

/// "0" switches something off; unset or anything else leaves it on.
bool on(const char* variable) {
  const char* value = std::getenv(variable);
  return !value || std::string(value) != "0";
}

/// One device per card, as long as somebody uses it, so that plans are chosen once.
std::shared_ptr<CudaDevice> device_of(int card) {
  static std::mutex mutex;
  static std::map<int, std::weak_ptr<CudaDevice>> devices;
  const std::lock_guard lock(mutex);
  std::shared_ptr<CudaDevice> device = devices[card].lock();
  if (device) return device;
  CudaDeviceOptions options;
  options.time_plans = on("VOXGRAD_CUDA_TUNE");
  options.verify_plans = on("VOXGRAD_CUDA_VERIFY");
  options.graphs = on("VOXGRAD_CUDA_GRAPHS");
  devices[card] = device = std::make_shared<CudaDevice>(card, std::move(options));
  return device;
}

struct Card {
  std::shared_ptr<CudaDevice> device;
};
/// An engine together with its device, which must outlive it: the base that comes first.
template <class Engine>
struct OnCard final : private Card, public Engine {
  template <class... Options>
  explicit OnCard(std::shared_ptr<CudaDevice> d, const Options&... options) : Card{std::move(d)}, Engine(*Card::device, options...) {}
};

/// Calls make with the element type and the mathematics of a precision, after checking that the card has them.
template <class Make>
auto with(const CudaDevice& device, int card, Precision precision, const Make& make) {
  const int capability = device.capability();
  check<DeviceError>(capability >= 80 || (precision != Precision::bf16 && precision != Precision::tf32), "cuda:", card,
                     " has compute capability ", capability / 10, ".", capability % 10, ", which has no ", name(precision),
                     " (8.0 and newer have). Use --precision fp16 or fp32.");
  switch (precision) {
    case Precision::bf16: return make(bf16{}, Math::tensor_core);
    case Precision::f16: return make(f16{}, Math::tensor_core);
    case Precision::tf32: return make(float{}, Math::tf32);
    case Precision::f32: break;
  }
  return make(float{}, Math::strict);
}

/// Makes an engine for `batch` samples; when the card has too little memory for it, says how many would fit.
template <class Make>
auto fitting(int64_t batch, const char* what, const Make& make) {
  try {
    return make();
  } catch (const OutOfDeviceMemory& e) {
    const auto fits = int64_t(double(batch) * double(e.free) / double(e.needed) * 0.95);
    throw advise(e, e.needed, text(what, " of ", batch),
                 fits >= 1 && fits < batch ? text("About ", fits, " would fit.") : "Use smaller crops or tiles, or a card with more memory.");
  }
}

}  // namespace

std::unique_ptr<UNet3dTraining> make_unet3d_training(int card, Precision precision, const UNet3dTrainingOptions& options) {
  auto device = device_of(card);
  return with(*device, card, precision, [&](auto zero, Math math) -> std::unique_ptr<UNet3dTraining> {
    return fitting(options.batch, "a training batch", [&] {
      return std::make_unique<OnCard<UNet3dTrainer<CudaDevice, decltype(zero)>>>(device, options, math);
    });
  });
}

std::unique_ptr<UNet3dInference> make_unet3d_inference(int card, Precision precision, const UNet3dShape& shape, int64_t batch,
                                                       const Extent& tile, NormMode norm) {
  auto device = device_of(card);
  return with(*device, card, precision, [&](auto zero, Math math) -> std::unique_ptr<UNet3dInference> {
    return fitting(batch, "a batch of tiles", [&] {
      return std::make_unique<OnCard<UNet3dPredictor<CudaDevice, decltype(zero)>>>(device, shape, batch, tile, norm, math);
    });
  });
}

std::unique_ptr<StarDist3dTraining> make_stardist3d_training(int card, Precision precision, const StarDist3dTrainingOptions& options) {
  auto device = device_of(card);
  return with(*device, card, precision, [&](auto zero, Math math) -> std::unique_ptr<StarDist3dTraining> {
    return fitting(options.batch, "a training batch", [&] {
      return std::make_unique<OnCard<StarDist3dTrainer<CudaDevice, decltype(zero)>>>(device, options, math);
    });
  });
}

std::unique_ptr<StarDist3dInference> make_stardist3d_inference(int card, Precision precision, const StarDist3dShape& shape, int64_t batch,
                                                               const Extent& tile, NormMode norm) {
  auto device = device_of(card);
  return with(*device, card, precision, [&](auto zero, Math math) -> std::unique_ptr<StarDist3dInference> {
    return fitting(batch, "a batch of tiles", [&] {
      return std::make_unique<OnCard<StarDist3dPredictor<CudaDevice, decltype(zero)>>>(device, shape, batch, tile, norm, math);
    });
  });
}

}  // namespace voxgrad::cuda
