// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Where a subcommand computes, and what this machine has to offer beside its processors.

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "json_text.hpp"
#include "voxgrad/cuda/runtime.hpp"

namespace voxgrad::app {

/// The CUDA devices as the choice sees them; tests make their own.
struct Cards {
  int count = 0;
  std::string reason;  ///< why there are none
  std::function<cuda::DeviceInfo(int)> info;
};
Cards cards_here();

struct DeviceChoice {
  std::string device;  ///< "cpu" or "cuda:N"
  std::string reason;  ///< why this one
  bool surprising = false;  ///< a card that could be used is not: to be said without being asked
};

/// Whether a subcommand computes on a GPU. unproven: it can, but no run of it on a GPU is on record; such a path is taken by name only.
enum class GpuPath : uint8_t { none, unproven, proven };
GpuPath gpu_path(const std::string& command);

/// `wanted` is auto, cpu, cuda or cuda:N; `where` it was said, for messages ("--device ", "VOXGRAD_DEVICE=").
/// auto: the first card where the path is proven, else the CPU. UsageError: another word. DeviceError: cuda was asked for and cannot be had; never
/// a fallback.
DeviceChoice choose_device(const std::string& wanted, const std::string& where, const std::string& command, GpuPath path, const Cards& cards);

/// What of the GPU's side is there, found where, or why not: rows of a name and a text.
std::vector<std::pair<std::string, std::string>> gpu_rows();
/// The same for programs.
Fields gpu_fields();

}  // namespace voxgrad::app
