// SPDX-License-Identifier: BSD-3-Clause
// What the engines of cuda/engines.hpp would take of a card's memory: their plans, made without a card.
#include "voxgrad/cuda/measuring_device.hpp"
#include "voxgrad/cuda/stardist3d_engine.hpp"
#include "voxgrad/cuda/unet3d_engine.hpp"

namespace voxgrad::cuda {
namespace {

template <template <class, class> class Engine, class... Options>
size_t bytes_of(Precision precision, const Options&... options) {
  MeasuringDevice device;
  switch (precision) {
    case Precision::bf16: Engine<MeasuringDevice, bf16>(device, options..., Math::tensor_core); break;
    case Precision::f16: Engine<MeasuringDevice, f16>(device, options..., Math::tensor_core); break;
    case Precision::tf32:
    case Precision::f32: Engine<MeasuringDevice, float>(device, options..., Math::strict); break;
  }
  return device.bytes();
}

}  // namespace

size_t unet3d_training_bytes(Precision precision, const UNet3dTrainingOptions& options) {
  return bytes_of<UNet3dTrainer>(precision, options);
}

size_t unet3d_inference_bytes(Precision precision, const UNet3dShape& shape, int64_t batch, const Extent& tile, NormMode norm) {
  return bytes_of<UNet3dPredictor>(precision, shape, batch, tile, norm);
}

size_t stardist3d_training_bytes(Precision precision, const StarDist3dTrainingOptions& options) {
  return bytes_of<StarDist3dTrainer>(precision, options);
}

size_t stardist3d_inference_bytes(Precision precision, const StarDist3dShape& shape, int64_t batch, const Extent& tile, NormMode norm) {
  return bytes_of<StarDist3dPredictor>(precision, shape, batch, tile, norm);
}

}  // namespace voxgrad::cuda
