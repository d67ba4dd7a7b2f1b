// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Division of many numbers by one that is known before: a product and a shift (Granlund and Montgomery 1994, theorem 4.2).

#include <bit>
#include <cstdint>

#include "voxgrad/core/host_device.hpp"

namespace voxgrad::cuda {

/// Quotients of numbers below 2^31.
struct Divider {
  uint32_t divisor, factor, shift;

  Divider() = default;
  constexpr explicit Divider(int64_t d)
      : divisor(uint32_t(d)), factor(0), shift(31 + uint32_t(std::bit_width(uint32_t(d) - 1))) {
    factor = uint32_t((uint64_t(1) << shift) / divisor + 1);
  }
  VOXGRAD_HD constexpr uint32_t operator()(uint32_t n) const { return uint32_t(uint64_t(n) * factor >> shift); }
  /// Replaces n by the quotient and returns the remainder.
  VOXGRAD_HD constexpr uint32_t split(uint32_t& n) const {
    const uint32_t q = (*this)(n), r = n - q * divisor;
    n = q;
    return r;
  }
};

}  // namespace voxgrad::cuda
