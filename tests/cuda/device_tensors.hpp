// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Small helpers for tensors that came from a device.

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "voxgrad/cuda/engines.hpp"

namespace voxgrad::cuda::test {

/// ||a - b|| / ||b||.
inline double distance(std::span<const float> a, std::span<const float> b) {
  double d = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    d += (double(a[i]) - double(b[i])) * (double(a[i]) - double(b[i]));
    size += double(b[i]) * double(b[i]);
  }
  return std::sqrt(d / std::max(size, 1e-30));
}

inline std::vector<float> got(DeviceNetwork& device, const std::string& name, size_t size, Part part) {
  std::vector<float> v(size);
  device.get(name, v, part);
  return v;
}

}  // namespace voxgrad::cuda::test
