// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A failed call of the CUDA runtime as an error that names it.

#include <cuda_runtime_api.h>

#include "voxgrad/core/error.hpp"

namespace voxgrad::cuda {

inline void check_cuda(cudaError_t status, const char* call) {
  check<DeviceError>(status == cudaSuccess, call, ": ", cudaGetErrorString(status), " (", cudaGetErrorName(status),
                     "). With CUDA_LAUNCH_BLOCKING=1 the first call that fails is the one that is wrong.");
}

}  // namespace voxgrad::cuda
