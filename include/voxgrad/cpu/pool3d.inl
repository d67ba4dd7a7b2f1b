// SPDX-License-Identifier: BSD-3-Clause
// Max-pooling of 2x2x2 windows: one vector of channels (or one channel) of the eight voxels at a time.

namespace flat {

/// Channels per step where C is a multiple of 8: a vector of at most 8 floats, in registers and in memory.
constexpr int pool_width = lanes < 8 ? lanes : 8;
struct PoolVector {
  typedef float Value __attribute__((vector_size(4 * pool_width)));
  typedef int32_t Index __attribute__((vector_size(4 * pool_width)));
  typedef float Memory __attribute__((vector_size(4 * pool_width), aligned(4), may_alias));
};
struct PoolOne {
  typedef float Value;
  typedef int32_t Index;
  typedef float Memory;
};

/// One output row of oW voxels; row[4] are the input rows at (z, y), (z, y+1), (z+1, y), (z+1, y+1). A voxel
/// replaces the maximum so far where it is larger, or NaN as in PyTorch.
template <class Kind, int width>
void pool_row(int64_t oW, int64_t C, const float* const* row, float* y) {
  typedef typename Kind::Value V;
  typedef typename Kind::Memory M;
  for (int64_t w = 0; w < oW; ++w)
    for (int64_t c = 0; c < C; c += width) {
      const int64_t at = 2 * w * C + c;
      V best = *reinterpret_cast<const M*>(row[0] + at);
      for (int k = 0; k < 8; ++k) {
        const V v = *reinterpret_cast<const M*>(row[k / 2] + at + (k % 2) * C);
        best = ((v > best) | (v != v)) ? v : best;
      }
      *reinterpret_cast<M*>(y + w * C + c) = best;
    }
}

/// Writes the 2 oW voxels of all four rows of dx: dy where the maximum is, 0 elsewhere.
template <class Kind, int width>
void pool_row_backward(int64_t oW, int64_t C, const float* const* row, const float* dy, float* const* drow) {
  typedef typename Kind::Value V;
  typedef typename Kind::Memory M;
  typedef typename Kind::Index Index;
  for (int64_t w = 0; w < oW; ++w)
    for (int64_t c = 0; c < C; c += width) {
      const int64_t at = 2 * w * C + c;
      const V g = *reinterpret_cast<const M*>(dy + w * C + c);
      V best = *reinterpret_cast<const M*>(row[0] + at);
      Index where{};
#pragma GCC unroll 8
      for (int k = 1; k < 8; ++k) {
        const V v = *reinterpret_cast<const M*>(row[k / 2] + at + (k % 2) * C);
        const auto m = (v > best) | (v != v);
        best = m ? v : best;
        where = m ? Index{} + k : where;
      }
#pragma GCC unroll 8
      for (int k = 0; k < 8; ++k)
        *reinterpret_cast<M*>(drow[k / 2] + at + (k % 2) * C) = where == k ? g : V{};
    }
}

inline void pool_rows(int64_t oW, int64_t C, const float* const* row, float* y) {
  if (C % 8 == 0) pool_row<PoolVector, pool_width>(oW, C, row, y);
  else pool_row<PoolOne, 1>(oW, C, row, y);
}
inline void pool_rows_backward(int64_t oW, int64_t C, const float* const* row, const float* dy, float* const* drow) {
  if (C % 8 == 0) pool_row_backward<PoolVector, pool_width>(oW, C, row, dy, drow);
  else pool_row_backward<PoolOne, 1>(oW, C, row, dy, drow);
}

}  // namespace flat
