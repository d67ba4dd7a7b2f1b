// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The check that every network makes of its options.

#include <cstdint>

#include "voxgrad/core/error.hpp"

namespace voxgrad::models {

/// A function (key, value, low, high) that throws a UsageError naming network and key unless low <= value <= high.
inline auto option_range(const char* network) {
  return [network](const char* key, int64_t v, int64_t low, int64_t high) {
    check<UsageError>(v >= low && v <= high, network, ": ", key, " is ", v, " (expected ", low, " to ", high, ")");
  };
}

}  // namespace voxgrad::models
