// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Trying a convolution plan on the card: how long it takes, and how far its result is from the direct kernel's.

#include "voxgrad/cuda/conv_plan.hpp"
#include "voxgrad/cuda/cuda_device.hpp"

namespace voxgrad::cuda {

/// Median of ten runs in microseconds, after three that do not count.
double time_plan(CudaDevice& device, const CudnnHandle& handle, const ConvSpec& spec, const ConvPlan& plan);

/// ||result - direct|| / ||direct|| on made-up values; NaN when the result has one.
double plan_error(CudaDevice& device, const CudnnHandle& handle, const ConvSpec& spec, const ConvPlan& plan);

}  // namespace voxgrad::cuda
