// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Products of positions and directions in space, in whole numbers or floating point.

#include <array>

namespace voxgrad {

template <class T>
constexpr T dot(const std::array<T, 3>& a, const std::array<T, 3>& b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

/// a - b.
template <class T>
constexpr std::array<T, 3> difference(const std::array<T, 3>& a, const std::array<T, 3>& b) {
  return {a[0] - b[0], a[1] - b[1], a[2] - b[2]};
}

template <class T>
constexpr std::array<T, 3> cross(const std::array<T, 3>& a, const std::array<T, 3>& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

}  // namespace voxgrad
