// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Shape: up to six extents, no heap. Activations are [N, D, H, W, C]; convolution weights [kD, kH, kW, Ci, Co].

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>

#include "voxgrad/core/error.hpp"

namespace voxgrad {

class Shape {
 public:
  static constexpr int max_rank = 6;

  Shape() = default;  ///< rank 0: a scalar
  Shape(std::initializer_list<int64_t> extents) { assign(extents.begin(), extents.end()); }
  template <class It>
  Shape(It first, It last) { assign(first, last); }

  int rank() const { return rank_; }
  /// Extent of an axis; negative axes count from the end.
  int64_t operator[](int axis) const { return extents_[size_t(axis < 0 ? axis + rank_ : axis)]; }
  void set(int axis, int64_t extent) { extents_[size_t(axis < 0 ? axis + rank_ : axis)] = extent; }
  const int64_t* begin() const { return extents_.data(); }
  const int64_t* end() const { return extents_.data() + rank_; }

  /// Number of elements; 1 for a scalar.
  int64_t size() const {
    int64_t n = 1;
    for (int64_t e : *this) n *= e;
    return n;
  }

  friend bool operator==(const Shape& a, const Shape& b) {
    return a.rank_ == b.rank_ && std::equal(a.begin(), a.end(), b.begin());
  }

  friend std::ostream& operator<<(std::ostream& out, const Shape& s) {
    if (s.rank_ == 0) return out << "scalar";
    for (int i = 0; i < s.rank_; ++i) out << (i ? "x" : "") << s[i];
    return out;
  }

 private:
  template <class It>
  void assign(It first, It last) {
    check<ShapeError>(last - first <= max_rank, "shape: rank ", last - first, " is above ", max_rank);
    for (; first != last; ++first) {
      check<ShapeError>(*first >= 0, "shape: negative extent ", *first);
      extents_[size_t(rank_++)] = int64_t(*first);
    }
  }

  std::array<int64_t, max_rank> extents_{};
  int rank_ = 0;
};

/// The shape both operands stretch to when extents of 1 (or missing leading axes) repeat; NumPy's rule.
inline Shape broadcast(const Shape& a, const Shape& b, const char* op) {
  Shape out = a.rank() >= b.rank() ? a : b;
  for (int i = 1; i <= out.rank(); ++i) {
    const int64_t ea = i <= a.rank() ? a[-i] : 1, eb = i <= b.rank() ? b[-i] : 1;
    check<ShapeError>(ea == eb || ea == 1 || eb == 1, op, ": shapes ", a, " and ", b, " do not broadcast");
    out.set(-i, ea == 1 ? eb : ea);
  }
  return out;
}

/// Output extent of a convolution along one axis; at most 0 when the kernel does not fit.
constexpr int64_t conv_extent(int64_t in, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
  const int64_t span = in + 2 * padding - dilation * (kernel - 1) - 1;
  return span < 0 ? 0 : span / stride + 1;
}

}  // namespace voxgrad
