// SPDX-License-Identifier: BSD-3-Clause
// Batch normalisation on flat memory. Per-channel numbers are repeated to a period of L floats, a multiple of both
// C and, for small C, the vector; so every loop runs over memory without knowing channels. Each function takes one
// block that starts at a period boundary; `n` floats, the last period possibly cut.

namespace flat {

/// sum[j] = sum over periods of x[j].
inline void period_sums(int64_t n, int64_t L, const float* x, float* sum) {
  for (int64_t j = 0; j < L; ++j) sum[j] = 0;
  for (int64_t start = 0; start < n; start += L, x += L) {
    const int64_t m = n - start < L ? n - start : L;
    int64_t j = 0;
    for (; j + lanes <= m; j += lanes) store(sum + j, load(sum + j) + load(x + j));
    for (; j < m; ++j) sum[j] += x[j];
  }
}

/// sum[j] and square[j]: sums over periods of x[j] - centre[j] and its square.
inline void period_moments(int64_t n, int64_t L, const float* x, const float* centre, float* sum, float* square) {
  for (int64_t j = 0; j < L; ++j) sum[j] = square[j] = 0;
  for (int64_t start = 0; start < n; start += L, x += L) {
    const int64_t m = n - start < L ? n - start : L;
    int64_t j = 0;
    for (; j + lanes <= m; j += lanes) {
      const Vec d = load(x + j) - load(centre + j);
      store(sum + j, load(sum + j) + d);
      store(square + j, load(square + j) + d * d);
    }
    for (; j < m; ++j) {
      const float d = x[j] - centre[j];
      sum[j] += d;
      square[j] += d * d;
    }
  }
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

/// sum[j] += da, dot[j] += da * normalised over periods, where da = dy * act'.
inline void norm_backward_sums(int64_t n, int64_t L, float slope, const NormPeriod& p, const float* x, const float* dy,
                               float* sum, float* dot) {
  for (int64_t j = 0; j < L; ++j) sum[j] = dot[j] = 0;
  for (int64_t start = 0; start < n; start += L, x += L, dy += L) {
    const int64_t m = n - start < L ? n - start : L;
    int64_t j = 0;
    for (; j + lanes <= m; j += lanes) {
      const Vec h = (load(x + j) - load(p.centre + j)) * load(p.inv_std + j) + load(p.rest + j);
      const Vec g = load(dy + j), a = h * load(p.gamma + j) + load(p.beta + j);
      const Vec da = select(a > 0.f, g, g * slope);
      store(sum + j, load(sum + j) + da);
      store(dot + j, load(dot + j) + da * h);
    }
    for (; j < m; ++j) {
      const float h = (x[j] - p.centre[j]) * p.inv_std[j] + p.rest[j];
      const float da = h * p.gamma[j] + p.beta[j] > 0.f ? dy[j] : dy[j] * slope;
      sum[j] += da;
      dot[j] += da * h;
    }
  }
}

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
