// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Inputs for the kernels' tests: numbers that do not repeat, matrices that lie inside wider ones, and what f32 sums allow.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "emulated.hpp"
#include "voxgrad/cuda/kernels/slice.hpp"

namespace voxgrad::cuda::test {

/// Uniform numbers in [low, high), the same for the same seed.
class Numbers {
 public:
  explicit Numbers(uint32_t seed) : state_(seed * 2654435761u + 12345u) {}
  float operator()(float low = -1, float high = 1) {
    state_ = state_ * 1664525u + 1013904223u;
    return low + (high - low) * float(state_ >> 8) / 16777216.0f;
  }

 private:
  uint32_t state_;
};

template <class T>
void fill(Guarded<T>& to, Numbers& numbers, float low = -1, float high = 1) {
  for (size_t i = 0; i < to.size(); ++i) to[i] = T(numbers(low, high));
}

/// Rows of C channels that start `before` channels into rows of `stride`.
template <class E>
struct Matrix {
  int64_t rows, C, stride, before;
  Guarded<E> all;

  Matrix(int64_t rows_, int64_t C_, int64_t stride_ = 0, int64_t before_ = 0)
      : rows(rows_), C(C_), stride(stride_ == 0 ? C_ : stride_), before(before_), all(size_t(rows_ * stride)) {}
  Matrix(int64_t rows_, int64_t C_, Numbers& numbers, float low = -1, float high = 1) : Matrix(rows_, C_) { fill(all, numbers, low, high); }

  Slice<E> slice() { return {all.data() + before, stride}; }
  Slice<const E> read() { return slice(); }
  float operator()(int64_t row, int64_t c) { return float(all[size_t(row * stride + before + c)]); }
  /// Whether nothing beside the rows' own channels was written: those were all bits set.
  bool beside_untouched() {
    const auto* bytes = reinterpret_cast<const unsigned char*>(all.data());
    for (int64_t i = 0; i < rows * stride; ++i) {
      const int64_t c = i % stride - before;
      if (c >= 0 && c < C) continue;
      for (size_t b = 0; b < sizeof(E); ++b)
        if (bytes[size_t(i) * sizeof(E) + b] != 0xff) return false;
    }
    return true;
  }
  /// As a plain array [rows, C] of floats.
  std::vector<float> values() {
    std::vector<float> v;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < C; ++c) v.push_back((*this)(r, c));
    return v;
  }
};

/// The largest error of rounding a value of this size to E.
template <class E>
float rounding(float v) {
  const float relative = element_of<E> == Element::f32 ? 6e-8f : element_of<E> == Element::bf16 ? 0.00390626f : 0.000488282f;
  return relative * std::fabs(v) + (element_of<E> == Element::f16 ? 6e-8f : 1e-38f);
}

/// Compares with a reference that was computed in double: the rounding of E and `slack` of f32 arithmetic are allowed.
template <class E>
void require_near(float got, double expected, double slack) {
  INFO(got << " is not " << expected);
  const double allowed = double(rounding<E>(float(expected))) * 1.01 + slack;
  if (!(std::abs(double(got) - expected) <= allowed)) REQUIRE(std::abs(double(got) - expected) <= allowed);
}

struct Rows {
  int64_t rows, C;
};
/// One row, odd numbers, channels that fill no pack, one that fill more than a block, several runs of rows.
inline const Rows awkward[] = {{1, 1}, {1, 8}, {7, 3}, {5, 8}, {257, 4}, {1000, 8}, {333, 24}, {70, 97}, {100, 96}, {9001, 16}, {3, 2056}, {40, 300}};

}  // namespace voxgrad::cuda::test
