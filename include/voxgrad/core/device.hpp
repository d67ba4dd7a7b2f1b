// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Where a tensor lives: "cpu" or "cuda:0".

#include <string>
#include <string_view>

#include "voxgrad/core/error.hpp"

namespace voxgrad {

enum class DeviceKind : unsigned char { cpu, cuda };
inline constexpr int device_kinds = 2;

struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;
  friend bool operator==(const Device&, const Device&) = default;
};

inline std::string name(const Device& d) {
  return d.kind == DeviceKind::cpu ? std::string("cpu") : text("cuda:", d.index);
}

/// Parses "cpu", "cuda" or "cuda:N"; anything else is a UsageError.
inline Device parse_device(std::string_view spec) {
  if (spec == "cpu") return {};
  if (spec == "cuda") return {DeviceKind::cuda, 0};
  if (spec.substr(0, 5) == "cuda:" && spec.size() >= 6 && spec.size() <= 8) {
    int index = 0;
    bool digits = true;
    for (char c : spec.substr(5)) {
      digits = digits && c >= '0' && c <= '9';
      index = index * 10 + (c - '0');
    }
    if (digits) return {DeviceKind::cuda, index};
  }
  throw UsageError(text("device '", spec, "' is not one of cpu, cuda, cuda:N"));
}

}  // namespace voxgrad
