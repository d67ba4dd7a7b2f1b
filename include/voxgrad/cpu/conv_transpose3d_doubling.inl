// SPDX-License-Identifier: BSD-3-Clause
// Kernels of conv_transpose3d_doubling.hpp. Along one axis output 2m takes tap 1 of x[m], output 2m + 1 takes
// tap 2 of x[m] and tap 0 of x[m + 1].

/// The tap by which an output of `parity` meets x[m + next].
[[gnu::always_inline]] inline int64_t doubling_tap(int64_t parity, int64_t next) {
  return parity == 0 ? 1 : next == 0 ? 2 : 0;
}

/// Both parities along W of T points, one vector of channels, depth and row parities as given. `x`: ring
/// slices d and d + 1 (or null) at row h; y, and y_b of the second row of a pair (or null): the first output;
/// `points` of the T exist. Each broadcast feeds three taps.
template <bool pair, int T>
void doubling_tile(const DirectPlan& p, const float* x, const float* x_next, const float* w, Vec bias,
                   int64_t pd, int64_t ph, float* y, float* y_b, int64_t points, int64_t left) {
  constexpr int unit = pair ? 16 : 8, each = pair ? 2 : 1;
  Vec acc[T][2];
#pragma GCC unroll 16
  for (int t = 0; t < T; ++t) acc[t][0] = acc[t][1] = bias;
  for (int64_t dd = 0; dd <= pd; ++dd) {
    const float* slice = dd ? x_next : x;
    if (!slice) continue;
    for (int64_t hh = 0; hh <= ph; ++hh) {
      const int64_t kd = doubling_tap(pd, dd), kh = doubling_tap(ph, hh);
      const float* block = slice + hh * p.row();
      for (int64_t c8 = 0; c8 < p.Ci; c8 += 8, block += p.plane()) {
        const int64_t have = p.Ci - c8 < 8 ? p.Ci - c8 : 8;
        const float* wt = w + (kd * 3 * p.Ci + c8 * 3 + kh * have) * 3 * lanes;
        for (int64_t ci = 0; ci < have; ++ci, wt += 3 * lanes) {
          const Vec w0 = load(wt), w1 = load(wt + lanes), w2 = load(wt + 2 * lanes);
#pragma GCC unroll 17
          for (int t = 0; t <= T; ++t) {
            const Vec b = ring_splat<pair>(block + t * unit + ci * each);
            if (t > 0) acc[t - 1][1] = fma(b, w0, acc[t - 1][1]);
            if (t < T) acc[t][0] = fma(b, w1, acc[t][0]), acc[t][1] = fma(b, w2, acc[t][1]);
          }
        }
      }
    }
  }
#pragma GCC unroll 16
  for (int t = 0; t < T; ++t) {
    if (t >= points) break;
#pragma GCC unroll 2
    for (int q = 0; q < 2; ++q) {
      const int64_t at = (2 * t + q) * p.Co;
#if VOXGRAD_LANES == 16
      if constexpr (pair) {
        store_half_first(y + at, row_a(acc[t][q]), left);
        if (y_b) store_half_first(y_b + at, row_b(acc[t][q]), left);
        continue;
      }
#endif
      store_first(y + at, acc[t][q], left);
    }
  }
  (void)y_b;
}

/// y of input slices [begin, end) of N x D; `ring` holds two slices.
template <bool pair, int T>
void doubling_slices(const DirectPlan& p, const float* x, const float* w, const float* bias, float* y,
                     int64_t begin, int64_t end, float* ring) {
  const int64_t D = p.in[0], H = p.in[1], W = p.in[2];
  int64_t next = 0;  // the first slice of N x D that the ring lacks
  for (int64_t s = begin; s < end; ++s) {
    const int64_t d = s % D, n = s / D;
    for (int64_t i = next > s ? next : s; i <= s + 1 && i < (n + 1) * D; ++i, next = i)
      direct_slice(p, {x, p.Ci}, i, 0, 0, p.in_rows(), p.width(), ring + i % 2 * p.slice());
    for (int64_t h = 0; h < p.half; ++h)
      for (int64_t parity = 0; parity < 4; ++parity)
        for (int64_t b = 0; b < p.blocks(); ++b)
          for (int64_t ow = 0; ow < W; ow += T) {
            const int64_t pd = parity / 2, ph = parity % 2, at = h * p.row() + ow * p.unit;
            const int64_t c = b * p.channels(), second = 4 * p.half * W * p.Co;
            float* to = y + ((((n * D + d) * 2 + pd) * 2 * H + 2 * h + ph) * 2 * W + 2 * ow) * p.Co + c;
            doubling_tile<pair, T>(p, ring + s % 2 * p.slice() + at,
                                   d + 1 < D ? ring + (s + 1) % 2 * p.slice() + at : nullptr,
                                   w + b * p.weight_block(), load(bias + b * lanes), pd, ph, to,
                                   h + p.half < H ? to + second : nullptr, W - ow, p.Co - c);
          }
  }
}

inline void doubling_run(const DirectPlan& p, const float* x, const float* w, const float* bias, float* y,
                         int64_t begin, int64_t end, float* ring) {
#if VOXGRAD_LANES == 16
  (p.pair ? doubling_slices<true, 8> : doubling_slices<false, 8>)(p, x, w, bias, y, begin, end, ring);
#else
  doubling_slices<false, 4>(p, x, w, bias, y, begin, end, ring);
#endif
}

/// The plan's tile.
inline void doubling_tiling(DirectPlan& p) {
  p.vector_lanes = lanes, p.vectors = p.rows = 1;
  p.wide = lanes == 16 ? 8 : 4;
  p.pair = lanes == 16 && p.Co <= 8 && p.in[1] > 1;
  p.unit = p.pair ? 16 : 8;
  p.half = p.pair ? (p.in[1] + 1) / 2 : p.in[1];
}

/// dx of T points from (d, h, ow), NV vectors of channels: a convolution of stride 2 that reads dy [.., A]
/// where it lies. `w` is the packed block [kD][channel block][kH][a][kW], all taps mirrored.
template <int NV, int T, int A>
void halving_tile(const DirectPlan& p, const float* dy, const float* w, const float* zeros, int64_t d,
                  int64_t h, int64_t ow, float* dx) {
  Vec acc[T][NV] = {};
  const int64_t H = 2 * p.out[1], W = 2 * p.out[2];
  for (int64_t kd = 0; kd < 3; ++kd)
    for (int64_t kh = 0; kh < 3; ++kh) {
      const int64_t id = 2 * d - 1 + kd, ih = 2 * h - 1 + kh;
      if (id < 0 || ih < 0) continue;
      const float* row = dy + ((id * H + ih) * W + 2 * ow) * A;
      const float* before = ow > 0 ? row - A : zeros;
      for (int64_t a8 = 0; a8 < A; a8 += 8) {
        const float* wt = w + ((2 - kd) * 3 * A + a8 * 3 + (2 - kh) * 8) * 3 * NV * lanes;
        for (int64_t a = a8; a < a8 + 8; ++a, wt += 3 * NV * lanes) {
          Vec wv[3][NV];
#pragma GCC unroll 3
          for (int k = 0; k < 3; ++k)
#pragma GCC unroll 2
            for (int v = 0; v < NV; ++v) wv[k][v] = load(wt + ((2 - k) * NV + v) * lanes);
          const Vec first = splat(before[a]);
#pragma GCC unroll 2
          for (int v = 0; v < NV; ++v) acc[0][v] = fma(first, wv[0][v], acc[0][v]);
#pragma GCC unroll 16
          for (int t = 0; t < T; ++t) {
            const Vec even = splat(row[2 * t * A + a]), odd = splat(row[(2 * t + 1) * A + a]);
#pragma GCC unroll 2
            for (int v = 0; v < NV; ++v) {
              acc[t][v] = fma(even, wv[1][v], acc[t][v]);
              if (t + 1 < T) acc[t + 1][v] = fma(odd, wv[0][v], acc[t + 1][v]);
              acc[t][v] = fma(odd, wv[2][v], acc[t][v]);
            }
          }
        }
      }
    }
#pragma GCC unroll 16
  for (int t = 0; t < T; ++t)
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) store(dx + t * p.Co + v * lanes, acc[t][v]);
}

template <int NV, int T, int A>
void halving_rows(const DirectPlan& p, const float* dy, const float* w, const float* zeros, float* dx,
                  int64_t begin, int64_t end) {
  for (int64_t s = begin; s < end; ++s) {
    const int64_t h = s % p.out[1], d = s / p.out[1] % p.out[0], n = s / p.out[1] / p.out[0];
    const float* from = dy + n * 8 * p.out[0] * p.out[1] * p.out[2] * A;
    for (int64_t b = 0; b < p.blocks(); ++b)
      for (int64_t ow = 0; ow < p.out[2]; ow += T)
        halving_tile<NV, T, A>(p, from, w + b * p.weight_block(), zeros, d, h, ow,
                               dx + (s * p.out[2] + ow) * p.Co + b * p.channels());
  }
}

/// dx of rows [begin, end) of N x D x H.
inline void halving_run(const DirectPlan& p, const float* dy, const float* w, const float* zeros, float* dx,
                        int64_t begin, int64_t end) {
#if VOXGRAD_LANES == 16
  const auto run = p.vectors == 2 ? p.Ci == 8    ? halving_rows<2, 8, 8>
                                    : p.Ci == 16 ? halving_rows<2, 8, 16>
                                                 : halving_rows<2, 8, 32>
                   : p.Ci == 8 ? halving_rows<1, 16, 8>
                   : p.Ci == 16   ? halving_rows<1, 16, 16>
                                  : halving_rows<1, 16, 32>;
#else
  const auto run = p.Ci == 8    ? halving_rows<1, 8, 8>
                   : p.Ci == 16 ? halving_rows<1, 8, 16>
                                : halving_rows<1, 8, 32>;
#endif
  run(p, dy, w, zeros, dx, begin, end);
}

/// The plan's tile; vectors is 0 where the kernel does not fit.
inline void halving_tiling(DirectPlan& p) {
  const int64_t vectors = lanes == 16 && p.Co % 32 == 0 ? 2 : 1;
  p.vector_lanes = lanes;
  p.wide = lanes == 16 && vectors == 1 ? 16 : 8;
  const bool fits =
      p.Co % (vectors * lanes) == 0 && p.out[2] % p.wide == 0 && (p.Ci == 8 || p.Ci == 16 || p.Ci == 32);
  p.vectors = fits ? vectors : 0;
}

inline constexpr int doubling_channels = VOXGRAD_LANES == 16 ? 8 : 4;  ///< of dy in a tile of weight sums

/// S [3][doubling_channels][lanes] += sums of x[m] dy[2m - 1 + kw] over `rows` rows of W points.
inline void doubling_weight_tile(const float* x, int64_t Ci, int64_t x_row, const float* dy, int64_t Co,
                                 int64_t dy_row, int64_t rows, int64_t W, float* S) {
  constexpr int C = doubling_channels;
  Vec acc[3][C] = {};
  for (int64_t r = 0; r < rows; ++r, x += x_row, dy += dy_row) {
    Vec here = load(x);
    const float *xx = x + Ci, *even = dy, *odd = dy + Co;
    for (int64_t m = 1; m < W; ++m, xx += Ci, even += 2 * Co, odd += 2 * Co) {
      const Vec next = load(xx);
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) {
        acc[1][c] = fma(splat(even[c]), here, acc[1][c]);
        const Vec b = splat(odd[c]);
        acc[2][c] = fma(b, here, acc[2][c]);
        acc[0][c] = fma(b, next, acc[0][c]);
      }
      here = next;
    }
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      acc[1][c] = fma(splat(even[c]), here, acc[1][c]);
      acc[2][c] = fma(splat(odd[c]), here, acc[2][c]);
    }
  }
#pragma GCC unroll 3
  for (int k = 0; k < 3; ++k)
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      float* s = S + (k * C + c) * lanes;
      store(s, load(s) + acc[k][c]);
    }
}

/// Sums of input slices [begin, end) of N x D into S [kD][kH][ci / lanes][co / C][3][C][lanes].
inline void doubling_weight_run(const DirectPlan& p, const float* x, const float* dy, int64_t begin,
                                int64_t end, float* S) {
  constexpr int C = doubling_channels;
  const int64_t D = p.in[0], H = p.in[1], W = p.in[2];
  zero_floats(S, 27 * p.Ci * p.Co);
  for (int64_t s = begin; s < end; ++s) {
    const int64_t n = s / D, d = s % D;
    float* sums = S;
    for (int64_t kd = 0; kd < 3; ++kd)
      for (int64_t kh = 0; kh < 3; ++kh)
        for (int64_t ci = 0; ci < p.Ci; ci += lanes)
          for (int64_t co = 0; co < p.Co; co += C, sums += 3 * C * lanes) {
            const int64_t id = 2 * d - 1 + kd, h = kh == 0 ? 1 : 0;
            if (id < 0) continue;
            doubling_weight_tile(x + (s * H + h) * W * p.Ci + ci, p.Ci, W * p.Ci,
                                 dy + ((n * 2 * D + id) * 2 * H + 2 * h - 1 + kh) * 2 * W * p.Co + co, p.Co,
                                 4 * W * p.Co, H - h, W, sums);
          }
  }
}

/// dw of depth and row taps [begin, end) from the sums of all chunks, added in their order.
inline void doubling_weight_reduce(const DirectPlan& p, const float* S, int64_t chunks, int64_t begin,
                                   int64_t end, float* dw) {
  constexpr int C = doubling_channels;
  const int64_t size = 27 * p.Ci * p.Co;
  S += begin * 3 * p.Ci * p.Co;
  for (int64_t row = begin; row < end; ++row)
    for (int64_t ci = 0; ci < p.Ci; ci += lanes)
      for (int64_t co = 0; co < p.Co; co += C)
        for (int64_t kw = 0; kw < 3; ++kw)
          for (int64_t c = 0; c < C; ++c, S += lanes) {
            Vec sum = load(S);
            for (int64_t i = 1; i < chunks; ++i) sum += load(S + i * size);
            for (int l = 0; l < lanes; ++l) dw[((row * 3 + kw) * p.Ci + ci + l) * p.Co + co + c] = sum[l];
          }
}
