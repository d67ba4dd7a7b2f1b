// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/cuda/runtime.hpp"

namespace voxgrad::cuda {

bool built() { return true; }

}  // namespace voxgrad::cuda
