// SPDX-License-Identifier: BSD-3-Clause
// Matrix product of packed panels: a tile of c lives in registers over the whole sum.

namespace flat {

/// c tile [6][2 lanes] = sum over k of a[k][6] b[k][2 lanes]; c has room for the whole tile.
inline void matmul_tile(int64_t K, const float* a, const float* b, float* c) {
  Vec sum[matmul_rows][2] = {};
  for (int64_t k = 0; k < K; ++k, a += matmul_rows, b += 2 * lanes) {
    const Vec b0 = load(b), b1 = load(b + lanes);
#pragma GCC unroll 6
    for (int i = 0; i < matmul_rows; ++i) {
      sum[i][0] += a[i] * b0;
      sum[i][1] += a[i] * b1;
    }
  }
#pragma GCC unroll 6
  for (int i = 0; i < matmul_rows; ++i) {
    store(c + 2 * lanes * i, sum[i][0]);
    store(c + 2 * lanes * i + lanes, sum[i][1]);
  }
}

}  // namespace flat
