// SPDX-License-Identifier: BSD-3-Clause
// Max-pooling of 2x2x2 windows: one vector of channels (or one channel) of the eight voxels at a time.

namespace flat {

typedef float Eight __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t EightInts __attribute__((vector_size(32)));
struct OneByOne { typedef float Value; typedef int32_t Index; };
struct EightWide { typedef Eight Value; typedef EightInts Index; };

/// True where v replaces the maximum so far: larger, or NaN as in PyTorch.
template <class V>
[[gnu::always_inline]] inline auto replaces(const V& v, const V& best) { return (v > best) | (v != v); }

/// One output row of oW voxels; row[4] are the input rows at (z, y), (z, y+1), (z+1, y), (z+1, y+1).
template <class Kind, int width>
void pool_row(int64_t oW, int64_t C, const float* const* row, float* y) {
  typedef typename Kind::Value V;
  for (int64_t w = 0; w < oW; ++w)
    for (int64_t c = 0; c < C; c += width) {
      const int64_t at = 2 * w * C + c;
      V best = *reinterpret_cast<const V*>(row[0] + at);
      for (int k = 0; k < 8; ++k) {
        const V v = *reinterpret_cast<const V*>(row[k / 2] + at + (k % 2) * C);
        best = replaces(v, best) ? v : best;
      }
      *reinterpret_cast<V*>(y + w * C + c) = best;
    }
}

/// Writes the 2 oW voxels of all four rows of dx: dy where the maximum is, 0 elsewhere.
template <class Kind, int width>
void pool_row_backward(int64_t oW, int64_t C, const float* const* row, const float* dy, float* const* drow) {
  typedef typename Kind::Value V;
  typedef typename Kind::Index Index;
  for (int64_t w = 0; w < oW; ++w)
    for (int64_t c = 0; c < C; c += width) {
      const int64_t at = 2 * w * C + c;
      const V g = *reinterpret_cast<const V*>(dy + w * C + c);
      V best = *reinterpret_cast<const V*>(row[0] + at);
      Index where{};
#pragma GCC unroll 8
      for (int k = 1; k < 8; ++k) {
        const V v = *reinterpret_cast<const V*>(row[k / 2] + at + (k % 2) * C);
        const auto m = replaces(v, best);
        best = m ? v : best;
        where = m ? Index{} + k : where;
      }
#pragma GCC unroll 8
      for (int k = 0; k < 8; ++k)
        *reinterpret_cast<V*>(drow[k / 2] + at + (k % 2) * C) = where == k ? g : V{};
    }
}

inline void pool_rows(int64_t oW, int64_t C, const float* const* row, float* y) {
  if (C % 8 == 0) pool_row<EightWide, 8>(oW, C, row, y);
  else pool_row<OneByOne, 1>(oW, C, row, y);
}
inline void pool_rows_backward(int64_t oW, int64_t C, const float* const* row, const float* dy, float* const* drow) {
  if (C % 8 == 0) pool_row_backward<EightWide, 8>(oW, C, row, dy, drow);
  else pool_row_backward<OneByOne, 1>(oW, C, row, dy, drow);
}

}  // namespace flat
