// SPDX-License-Identifier: BSD-3-Clause
// Matrix products of pointwise convolutions: c[M][N] = start + a[M][K] b[K][N], a read where it lies (any strides), b in
// panels of two vectors. A tile is as many rows as registers hold sums for.

inline constexpr int point_rows = lanes == 16 ? 12 : 6, point_panel = 2 * lanes;

/// `rows` rows by one panel of which `columns` are real. Starts from `start`: a row of bias, or with `add` from c itself.
template <int rows>
[[gnu::always_inline]] inline void point_tile(int64_t K, const float* a, int64_t a_row, int64_t a_step, const float* panel,
                                              const float* start, bool add, float* c, int64_t c_row, int64_t columns) {
  Vec sum[rows][2];
  const int64_t second = columns > lanes ? columns - lanes : 0;  // real columns of the second vector
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r) {
    sum[r][0] = sum[r][1] = Vec{};
    if (add || start != nullptr) {
      const float* from = add ? c + r * c_row : start;
      sum[r][0] = load_first(from, columns);
      if (second > 0) sum[r][1] = load_first(from + lanes, second);
    }
  }
  for (int64_t k = 0; k < K; ++k, a += a_step, panel += point_panel) {
    const Vec b0 = load(panel), b1 = load(panel + lanes);
#pragma GCC unroll 12
    for (int r = 0; r < rows; ++r) {
      const Vec x = splat(a[r * a_row]);
      sum[r][0] = fma(x, b0, sum[r][0]);
      sum[r][1] = fma(x, b1, sum[r][1]);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r) {
    store_first(c + r * c_row, sum[r][0], columns);
    if (second > 0) store_first(c + r * c_row + lanes, sum[r][1], second);
  }
}

/// All M rows and N columns. `a_step` is 1 (rows of a are contiguous) or a_row is: both have their own loop.
inline void point_product(int64_t M, int64_t K, int64_t N, const float* a, int64_t a_row, int64_t a_step, const float* panels,
                          const float* start, bool add, float* c) {
  const int64_t block = 4 * point_rows;  // rows of a that stay in the first cache while the panels pass by
  for (int64_t m0 = 0; m0 < M; m0 += block)
    for (int64_t n = 0; n < N; n += point_panel) {
      const int64_t m1 = M - m0 < block ? M : m0 + block, columns = N - n;
      const float* const panel = panels + n * K;
      const float* const from = start != nullptr ? start + n : nullptr;
      int64_t m = m0;
      for (; m + point_rows <= m1; m += point_rows)
        point_tile<point_rows>(K, a + m * a_row, a_row, a_step, panel, from, add, c + m * N + n, N, columns);
      for (; m + 4 <= m1; m += 4)
        point_tile<4>(K, a + m * a_row, a_row, a_step, panel, from, add, c + m * N + n, N, columns);
      for (; m < m1; ++m) point_tile<1>(K, a + m * a_row, a_row, a_step, panel, from, add, c + m * N + n, N, columns);
    }
}

/// b[K][N] with element (k, n) at from[k * k_stride + n * n_stride], into panels [N / point_panel][K][point_panel], zero
/// behind the last column.
inline void point_pack(int64_t K, int64_t N, const float* from, int64_t k_stride, int64_t n_stride, float* to) {
  for (int64_t n = 0; n < N; n += point_panel) {
    const int64_t held = N - n < point_panel ? N - n : point_panel;
    for (int64_t k = 0; k < K; ++k, to += point_panel) {
      const float* row = from + k * k_stride + n * n_stride;
      if (n_stride == 1 && held == point_panel) {
        store(to, load(row));
        store(to + lanes, load(row + lanes));
      } else {
        for (int64_t i = 0; i < point_panel; ++i) to[i] = i < held ? row[i * n_stride] : 0.0f;
      }
    }
  }
}
