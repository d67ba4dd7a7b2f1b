// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A matrix [rows, C] that may lie inside a wider one, as one half of a joined tensor does, and how wide it can be read.

#include <cstdint>
#include <type_traits>

#include "voxgrad/cuda/element.hpp"

namespace voxgrad::cuda {

template <class E>
struct Slice {
  E* data;         ///< first channel of the first row; null: absent
  int64_t stride;  ///< elements between rows

  VOXGRAD_HD explicit operator bool() const { return data != nullptr; }
  VOXGRAD_HD E* at(int64_t row, int64_t channel) const { return data + row * stride + channel; }
  /// For reading only.
  template <class To>
    requires(std::is_same_v<To, const E> && !std::is_const_v<E>)
  VOXGRAD_HD operator Slice<To>() const {
    return {data, stride};
  }
};

/// Elements that one access of 16 bytes moves.
template <class E>
inline constexpr int width_of = int(16 / sizeof(E));

/// Whether rows can be read `width` elements at a time. An absent array can.
template <class E>
VOXGRAD_HD bool fits(int width, const E* data, int64_t stride) {
  const auto bytes = uintptr_t(width) * sizeof(E);
  return data == nullptr || (reinterpret_cast<uintptr_t>(data) % (bytes > 16 ? 16 : bytes) == 0 && stride % width == 0);
}
template <class E>
VOXGRAD_HD bool fits(int width, const Slice<E>& s) {
  return fits(width, s.data, s.stride);
}
/// The same of arrays of one value per channel.
template <class... T>
VOXGRAD_HD bool fit(int width, const T*... arrays) {
  return (fits(width, arrays, 0) && ...);
}

}  // namespace voxgrad::cuda
