// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Which arithmetic the CPU's float convolutions may use. Winograd's minimal filtering halves the
// multiplications and costs 3 to 4 times the rounding error of the direct sum (docs and tests give figures);
// `direct` forbids it.

#include <cstdlib>
#include <string_view>

#include "voxgrad/core/error.hpp"

namespace voxgrad {

enum class ConvMethod : unsigned char { automatic, direct };

/// The method in force: automatic, or what VOXGRAD_CONV=auto|direct or set_conv_method() say.
inline ConvMethod& conv_method() {
  static ConvMethod method = [] {
    const char* wish = std::getenv("VOXGRAD_CONV");
    const std::string_view text_of = wish ? wish : "";
    check<UsageError>(text_of.empty() || text_of == "auto" || text_of == "direct", "VOXGRAD_CONV is '",
                      text_of, "' (expected auto or direct)");
    return text_of == "direct" ? ConvMethod::direct : ConvMethod::automatic;
  }();
  return method;
}

inline void set_conv_method(ConvMethod method) { conv_method() = method; }

}  // namespace voxgrad
