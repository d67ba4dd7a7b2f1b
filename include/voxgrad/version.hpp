// SPDX-License-Identifier: BSD-3-Clause
#pragma once

namespace voxgrad {

/// Semantic version; a test compares it with the build's project version.
inline constexpr const char* version = "0.1.0";

}  // namespace voxgrad
