// SPDX-License-Identifier: BSD-3-Clause
// Sums in double and losses on vectors.

namespace flat {

/// Sum of n contiguous floats.
inline double sum_run(int64_t n, const float* x) {
  constexpr int half = lanes / 2;
  Wide sum[4] = {};
  int64_t i = 0;
  for (; i + 4 * half <= n; i += 4 * half)
    for (int k = 0; k < 4; ++k) sum[k] += load_wide(x + i + k * half);
  const Wide all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  double total = 0;
  for (int k = 0; k < half; ++k) total += all[k];
  for (; i < n; ++i) total += double(x[i]);
  return total;
}

typedef double UnalignedWide __attribute__((vector_size(4 * VOXGRAD_LANES), aligned(8), may_alias));

/// sum[i] += x[i].
inline void add_to_sums(int64_t n, const float* x, double* sum) {
  constexpr int half = lanes / 2;
  int64_t i = 0;
  for (; i + half <= n; i += half) *reinterpret_cast<UnalignedWide*>(sum + i) += load_wide(x + i);
  for (; i < n; ++i) sum[i] += double(x[i]);
}

/// sum[c] += x[r * stride + c] for all rows r. Narrow contiguous rows go 16 at a time into sums of their own, so that
/// vectors are full and one addition does not wait for the last.
inline void sum_rows(int64_t rows, int64_t stride, int64_t width, const float* x, double* sum) {
  constexpr int64_t group = 16, narrow = 64;
  if (width <= narrow && stride == width && rows >= 2 * group) {
    double sums[group * narrow];
    const int64_t period = group * width;
    for (int64_t i = 0; i < period; ++i) sums[i] = 0;
    for (; rows >= group; rows -= group, x += period) add_to_sums(period, x, sums);
    for (int64_t i = 0; i < period; i += width)
      for (int64_t c = 0; c < width; ++c) sum[c] += sums[i + c];
  }
  for (int64_t r = 0; r < rows; ++r, x += stride) add_to_sums(width, x, sum);
}

[[gnu::always_inline]] inline Vec loss_value(kernels::Mse, Vec p, Vec t) { return (p - t) * (p - t); }
[[gnu::always_inline]] inline Vec loss_slope(kernels::Mse, Vec p, Vec t) { return 2.f * (p - t); }
[[gnu::always_inline]] inline Vec loss_value(kernels::MseWithLogits, Vec p, Vec t) {
  const Vec d = sigmoid(p) - t;
  return d * d;
}
[[gnu::always_inline]] inline Vec loss_slope(kernels::MseWithLogits, Vec p, Vec t) {
  const Vec s = sigmoid(p);
  return 2.f * (s - t) * (s * (1.f - s));
}
[[gnu::always_inline]] inline Vec loss_value(kernels::BceWithLogits, Vec p, Vec t) { return softplus(p) - p * t; }
[[gnu::always_inline]] inline Vec loss_slope(kernels::BceWithLogits, Vec p, Vec t) { return sigmoid(p) - t; }
[[gnu::always_inline]] inline Vec log_cut(Vec v) {
  const Vec l = log(v);
  return select(l < -100.f, splat(-100.f), l);
}
[[gnu::always_inline]] inline Vec loss_value(kernels::Bce, Vec p, Vec t) {
  return -(t * log_cut(p) + (1.f - t) * log_cut(1.f - p));
}
[[gnu::always_inline]] inline Vec loss_slope(kernels::Bce, Vec p, Vec t) {
  const Vec v = p * (1.f - p);
  return (p - t) / select(v < 1e-12f, splat(1e-12f), v);
}

/// Sum of a block's terms: float sums of at most 64 terms per lane, the rest in double.
template <class F>
double loss_block(int64_t n, const float* p, const float* t) {
  double sum = 0;
  int64_t i = 0;
  while (i + lanes <= n) {
    Vec part{};
    for (int k = 0; k < 64 && i + lanes <= n; ++k, i += lanes) part += loss_value(F{}, load(p + i), load(t + i));
    sum += total(part);
  }
  if (const int64_t m = n - i; m > 0) {
    float rest[lanes];
    store_part(rest, loss_value(F{}, load_part(p + i, m), load_part(t + i, m)), m);
    for (int64_t k = 0; k < m; ++k) sum += double(rest[k]);
  }
  return sum;
}

template <class F>
void loss_backward(int64_t n, float scale, const float* p, const float* t, float* dp) {
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) store(dp + i, scale * loss_slope(F{}, load(p + i), load(t + i)));
  if (const int64_t m = n - i; m > 0)
    store_part(dp + i, scale * loss_slope(F{}, load_part(p + i, m), load_part(t + i, m)), m);
}

}  // namespace flat
