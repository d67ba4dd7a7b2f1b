// SPDX-License-Identifier: BSD-3-Clause
// Batch normalisation on flat memory. Per-channel numbers are repeated to a period of L floats, a multiple of both
// C and, for small C, the vector; so every loop runs over memory without knowing channels. Each function takes one
// block that starts at a period boundary; `n` floats, the last period possibly cut.

namespace flat {

/// Walks the columns of a period: four vectors at a time, so that their sums stay in registers while
/// all periods pass by, then one vector, then one float.
template <class Wide4, class Wide1, class One>
[[gnu::always_inline]] inline void for_columns(int64_t L, Wide4&& four, Wide1&& vector, One&& one) {
  int64_t j = 0;
  for (; j + 4 * lanes <= L; j += 4 * lanes) four(j);
  for (; j + lanes <= L; j += lanes) vector(j);
  for (; j < L; ++j) one(j);
}

/// sum[j..] = sum over `periods` whole periods of x[j..], `count` vectors wide.
template <int count>
[[gnu::always_inline]] inline void column_sums(int64_t periods, int64_t L, const float* x, float* sum) {
  Vec s[count] = {};
  for (int64_t p = 0; p < periods; ++p, x += L)
#pragma GCC unroll 4
    for (int k = 0; k < count; ++k) s[k] += load(x + k * lanes);
#pragma GCC unroll 4
  for (int k = 0; k < count; ++k) store(sum + k * lanes, s[k]);
}

/// sum[j] = sum over periods of x[j].
inline void period_sums(int64_t n, int64_t L, const float* x, float* sum) {
  const int64_t periods = n / L;
  for_columns(
      L, [&](int64_t j) { column_sums<4>(periods, L, x + j, sum + j); },
      [&](int64_t j) { column_sums<1>(periods, L, x + j, sum + j); },
      [&](int64_t j) {
        sum[j] = 0;
        for (int64_t p = 0; p < periods; ++p) sum[j] += x[p * L + j];
      });
  for (int64_t j = 0; j < n - periods * L; ++j) sum[j] += x[periods * L + j];
}

template <int count>
[[gnu::always_inline]] inline void column_moments(int64_t periods, int64_t L, const float* x, const float* centre, float* sum,
                                                  float* square) {
  Vec s[count] = {}, q[count] = {}, c[count];
#pragma GCC unroll 4
  for (int k = 0; k < count; ++k) c[k] = load(centre + k * lanes);
  for (int64_t p = 0; p < periods; ++p, x += L)
#pragma GCC unroll 4
    for (int k = 0; k < count; ++k) {
      const Vec d = load(x + k * lanes) - c[k];
      s[k] += d;
      q[k] += d * d;
    }
#pragma GCC unroll 4
  for (int k = 0; k < count; ++k) {
    store(sum + k * lanes, s[k]);
    store(square + k * lanes, q[k]);
  }
}

/// sum[j] and square[j]: sums over periods of x[j] - centre[j] and its square.
inline void period_moments(int64_t n, int64_t L, const float* x, const float* centre, float* sum, float* square) {
  const int64_t periods = n / L;
  const auto add = [&](int64_t j, int64_t p) {
    const float d = x[p * L + j] - centre[j];
    sum[j] += d;
    square[j] += d * d;
  };
  for_columns(
      L, [&](int64_t j) { column_moments<4>(periods, L, x + j, centre + j, sum + j, square + j); },
      [&](int64_t j) { column_moments<1>(periods, L, x + j, centre + j, sum + j, square + j); },
      [&](int64_t j) {
        sum[j] = square[j] = 0;
        for (int64_t p = 0; p < periods; ++p) add(j, p);
      });
  for (int64_t j = 0; j < n - periods * L; ++j) add(j, periods);
}

/// y = act(scale * (x - centre) + offset).
inline void norm_forward(int64_t n, int64_t L, float slope, const float* x, const float* centre, const float* scale,
                         const float* offset, float* y) {
  for (int64_t start = 0; start < n; start += L, x += L, y += L) {
    const int64_t m = n - start < L ? n - start : L;
    int64_t j = 0;
    for (; j + lanes <= m; j += lanes) {
      const Vec a = (load(x + j) - load(centre + j)) * load(scale + j) + load(offset + j);
      store(y + j, select(a > 0.f, a, a * slope));
    }
    for (; j < m; ++j) {
      const float a = (x[j] - centre[j]) * scale[j] + offset[j];
      y[j] = a > 0.f ? a : a * slope;
    }
  }
}

template <int count>
[[gnu::always_inline]] inline void column_backward_sums(int64_t periods, int64_t L, int64_t j, float slope,
                                                        const NormPeriod& p, const float* x, const float* dy, float* sum,
                                                        float* dot) {
  Vec s[count] = {}, d[count] = {}, centre[count], inv_std[count], rest[count], gamma[count], beta[count];
#pragma GCC unroll 4
  for (int k = 0; k < count; ++k) {
    const int64_t at = j + k * lanes;
    centre[k] = load(p.centre + at);
    inv_std[k] = load(p.inv_std + at);
    rest[k] = load(p.rest + at);
    gamma[k] = load(p.gamma + at);
    beta[k] = load(p.beta + at);
  }
  for (int64_t i = 0; i < periods; ++i)
#pragma GCC unroll 4
    for (int k = 0; k < count; ++k) {
      const int64_t at = i * L + j + k * lanes;
      const Vec h = (load(x + at) - centre[k]) * inv_std[k] + rest[k], g = load(dy + at);
      const Vec da = select(h * gamma[k] + beta[k] > 0.f, g, g * slope);
      s[k] += da;
      d[k] += da * h;
    }
#pragma GCC unroll 4
  for (int k = 0; k < count; ++k) {
    store(sum + j + k * lanes, s[k]);
    store(dot + j + k * lanes, d[k]);
  }
}

/// sum[j] = sum of da, dot[j] = sum of da * normalised over periods, where da = dy * act'.
inline void norm_backward_sums(int64_t n, int64_t L, float slope, const NormPeriod& p, const float* x, const float* dy,
                               float* sum, float* dot) {
  const int64_t periods = n / L;
  const auto add = [&](int64_t j, int64_t i) {
    const float h = (x[i * L + j] - p.centre[j]) * p.inv_std[j] + p.rest[j], g = dy[i * L + j];
    const float da = h * p.gamma[j] + p.beta[j] > 0.f ? g : g * slope;
    sum[j] += da;
    dot[j] += da * h;
  };
  for_columns(
      L, [&](int64_t j) { column_backward_sums<4>(periods, L, j, slope, p, x, dy, sum, dot); },
      [&](int64_t j) { column_backward_sums<1>(periods, L, j, slope, p, x, dy, sum, dot); },
      [&](int64_t j) {
        sum[j] = dot[j] = 0;
        for (int64_t i = 0; i < periods; ++i) add(j, i);
      });
  for (int64_t j = 0; j < n - periods * L; ++j) add(j, periods);
}

/// dx of whole periods and the cut one.
inline void norm_backward_data(int64_t n, int64_t L, float slope, const NormPeriod& p, const float* x, const float* dy,
                               float* dx) {
  for (int64_t start = 0; start < n; start += L, x += L, dy += L, dx += L) {
    const int64_t m = n - start < L ? n - start : L;
    int64_t j = 0;
    for (; j + lanes <= m; j += lanes) {
      const Vec h = (load(x + j) - load(p.centre + j)) * load(p.inv_std + j) + load(p.rest + j);
      const Vec g = load(dy + j), a = h * load(p.gamma + j) + load(p.beta + j);
      const Vec da = select(a > 0.f, g, g * slope);
      store(dx + j, load(p.k + j) * (da - load(p.mean_da + j) - h * load(p.mean_dot + j)));
    }
    for (; j < m; ++j) {
      const float h = (x[j] - p.centre[j]) * p.inv_std[j] + p.rest[j];
      const float da = h * p.gamma[j] + p.beta[j] > 0.f ? dy[j] : dy[j] * slope;
      dx[j] = p.k[j] * (da - p.mean_da[j] - h * p.mean_dot[j]);
    }
  }
}

}  // namespace flat
