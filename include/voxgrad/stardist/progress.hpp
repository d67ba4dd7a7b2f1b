// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// How long work reports and is stopped.

#include <cstdint>
#include <functional>

#include "voxgrad/core/error.hpp"

namespace voxgrad::stardist {

/// Thrown when a progress callback returned false.
struct Interrupted : Error { using Error::Error; };

/// Called now and then, on the caller's thread, with (done, of); returns false to stop.
using Progress = std::function<bool(int64_t, int64_t)>;

}  // namespace voxgrad::stardist
