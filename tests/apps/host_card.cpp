// SPDX-License-Identifier: BSD-3-Clause
#include "apps/host_card.hpp"

#include "voxgrad/cuda/host_device.hpp"
#include "voxgrad/cuda/stardist3d_engine.hpp"
#include "voxgrad/cuda/unet3d_engine.hpp"

using namespace voxgrad;
using namespace voxgrad::cuda;

namespace {

HostDevice device;

/// bf16 stands for all 16-bit types but f16, f32 for tf32.
template <class Make>
auto with(Precision precision, const Make& make) {
  if (precision == Precision::bf16) return make(bf16{}, Math::tensor_core);
  if (precision == Precision::f16) return make(f16{}, Math::tensor_core);
  return make(float{}, Math::strict);
}

}  // namespace

std::shared_ptr<const app::Card> host_card(Precision precision, uint64_t free, HostCardLog* log) {
  app::Card card;
  card.name = "cuda:0";
  card.precision = precision;
  card.free_memory = [free] { return free; };
  card.training = [=](const UNet3dTrainingOptions& o) {
    if (log) ++log->training, log->batches.push_back(o.batch);
    return with(precision, [&](auto zero, Math math) -> std::unique_ptr<UNet3dTraining> {
      return std::make_unique<UNet3dTrainer<HostDevice, decltype(zero)>>(device, o, math);
    });
  };
  card.inference = [=](const UNet3dShape& shape, int64_t batch, const Extent& tile, NormMode norm) {
    if (log) ++log->inference;
    return with(precision, [&](auto zero, Math math) -> std::unique_ptr<UNet3dInference> {
      return std::make_unique<UNet3dPredictor<HostDevice, decltype(zero)>>(device, shape, batch, tile, norm, math);
    });
  };
  card.stardist_training = [=](const StarDist3dTrainingOptions& o) {
    if (log) ++log->training, log->batches.push_back(o.batch);
    return with(precision, [&](auto zero, Math math) -> std::unique_ptr<StarDist3dTraining> {
      return std::make_unique<StarDist3dTrainer<HostDevice, decltype(zero)>>(device, o, math);
    });
  };
  card.stardist_inference = [=](const StarDist3dShape& shape, int64_t batch, const Extent& tile, NormMode norm) {
    if (log) ++log->inference;
    return with(precision, [&](auto zero, Math math) -> std::unique_ptr<StarDist3dInference> {
      return std::make_unique<StarDist3dPredictor<HostDevice, decltype(zero)>>(device, shape, batch, tile, norm, math);
    });
  };
  return std::make_shared<const app::Card>(std::move(card));
}
