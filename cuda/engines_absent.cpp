// SPDX-License-Identifier: BSD-3-Clause
// The engines of a program that is built without CUDA: there are none.
#include "voxgrad/cuda/engines.hpp"

namespace voxgrad::cuda {
namespace {

[[noreturn]] void refuse() { throw DeviceError("this program was built without CUDA. Use --device cpu."); }

}  // namespace

std::unique_ptr<UNet3dTraining> make_unet3d_training(int, Precision, const UNet3dTrainingOptions&) { refuse(); }
std::unique_ptr<UNet3dInference> make_unet3d_inference(int, Precision, const UNet3dShape&, int64_t, const Extent&, NormMode) { refuse(); }
std::unique_ptr<StarDist3dTraining> make_stardist3d_training(int, Precision, const StarDist3dTrainingOptions&) { refuse(); }
std::unique_ptr<StarDist3dInference> make_stardist3d_inference(int, Precision, const StarDist3dShape&, int64_t, const Extent&, NormMode) { refuse(); }

}  // namespace voxgrad::cuda
