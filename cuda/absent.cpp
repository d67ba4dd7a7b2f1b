// SPDX-License-Identifier: BSD-3-Clause
// The GPU's place in a program that is built without CUDA.
#include "voxgrad/cuda/runtime.hpp"

namespace voxgrad::cuda {

bool built() { return false; }

}  // namespace voxgrad::cuda
