// SPDX-License-Identifier: BSD-3-Clause
// Kernels of conv3d_direct.hpp: weight gradient. Outer products of input broadcasts and a window of three
// gradient vectors that rolls along W: 3 taps x 8 channels of sums stay in registers for a whole slice.

/// Ring slice whose channels are row taps: point [r][j] holds x[r + kh - pad, j - left, ci] at channel kh Ci
/// + ci.
inline void weight_fold_slice(const DirectPlan& p, const float* x, int64_t H, int64_t W, int64_t C,
                              int64_t top, int64_t rows, float* to) {
  const int64_t each = p.pair ? 2 : 1;
  zero_floats(to, rows * W * p.unit);
  for (int64_t t = 0; t < each; ++t)
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t kh = 0; kh < p.fold; ++kh) {
        const int64_t h = r + kh - top + t * p.half;
        if (h < 0 || h >= H) continue;
        const float* from = x + h * W * C;
        float* row = to + r * W * p.unit + kh * C * each + t;
        for (int64_t j = 0; j < W; ++j)
          for (int64_t c = 0; c < C; ++c) row[j * p.unit + c * each] = from[j * C + c];
      }
}

/// dy slice [H,W,Co] as [block][row][W + 2 border points][lanes], zeros outside: point q is q + pad - 2.
inline void weight_gradient_slice(const DirectPlan& p, const float* dy, int64_t rows, int64_t width,
                                  float* to) {
  const int64_t H = p.out[1], W = p.out[2];
  for (int64_t c = 0; c < p.Co; c += p.channels())
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t q = 0; q < width; ++q, to += lanes) {
        const int64_t w = q + p.pad[2] - 2;
        const bool inside = w >= 0 && w < W;
        const float* from = dy + (r * W + w) * p.Co + c;
#if VOXGRAD_LANES == 16
        if (p.pair) {
          const Half a = inside && r < p.half ? load_half_first(from, p.Co - c) : Half{};
          const Half b = inside && r < p.half && r + p.half < H
                             ? load_half_first(from + p.half * W * p.Co, p.Co - c)
                             : Half{};
          store(to, interleave(a, b));
          continue;
        }
#endif
        store(to, inside && r < H ? load_first(from, p.Co - c) : Vec{});
      }
}

/// The points that a sum passes: slices of a ring (the first `until_wrap` of them before its end) x lines x
/// points.
struct WeightWalk {
  int64_t slices, until_wrap, x_slice, x_ring, dy_slice;
  int64_t lines, x_line, dy_line, points;
};

/// S [3][C] += sums of x[w] dy[w + pad - kw] over the walk; the sums lie 8 channels apart.
template <bool pair, int C>
void weight_tile(const WeightWalk& walk, const float* x_slice, const float* dy_slice, float* S) {
  constexpr int unit = pair ? 16 : 8, each = pair ? 2 : 1;
  const int64_t points = walk.points;
  Vec acc[3][C] = {};
  for (int64_t s = 0; s < walk.slices; ++s, x_slice += walk.x_slice, dy_slice += walk.dy_slice) {
    if (s == walk.until_wrap) x_slice -= walk.x_ring;
    const float *x = x_slice, *dy = dy_slice;
    for (int64_t l = 0; l < walk.lines; ++l, x += walk.x_line, dy += walk.dy_line) {
      Vec before = load(dy), here = load(dy + lanes);
      const float *xx = x, *yy = dy + 2 * lanes;
      for (int64_t w = 0; w < points; ++w, xx += unit, yy += lanes) {
        const Vec after = load(yy);
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) {
          const Vec b = ring_splat<pair>(xx + c * each);
          acc[0][c] = fma(b, after, acc[0][c]);
          acc[1][c] = fma(b, here, acc[1][c]);
          acc[2][c] = fma(b, before, acc[2][c]);
        }
        before = here;
        here = after;
      }
    }
  }
#pragma GCC unroll 3
  for (int k = 0; k < 3; ++k)
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      float* s = S + (k * 8 + c) * lanes;
      store(s, load(s) + acc[k][c]);
    }
}

/// All sums of 8 channels (or fewer: `have`).
[[gnu::always_inline]] inline void weight_channels(bool pair, int64_t have, const WeightWalk& walk,
                                                   const float* x, const float* dy, float* S) {
#if VOXGRAD_LANES == 16
  if (have <= 3)
    pair ? weight_tile<true, 3>(walk, x, dy, S) : weight_tile<false, 3>(walk, x, dy, S);
  else
    pair ? weight_tile<true, 8>(walk, x, dy, S) : weight_tile<false, 8>(walk, x, dy, S);
#else
  (void)pair;
  if (have <= 3) return weight_tile<false, 3>(walk, x, dy, S);
  weight_tile<false, 4>(walk, x, dy, S);
  if (have > 4) weight_tile<false, 4>(walk, x + 4, dy, S + 4 * lanes);
#endif
}

/// Sums of one chunk, output slices [begin, end) of N x oD, into S [block][kD][channel
/// block][kH][3][8][lanes].
inline void weight_run(const DirectPlan& p, const ConvInput& x, const float* dy, const SliceHook& before,
                       int64_t begin, int64_t end, float* ring, float* gradient, float* S) {
  const int64_t W = p.in[2], rows = p.out_rows(), width = W + 2;
  const int64_t kH = p.fold > 1 ? 1 : p.kernel[1], C = p.Ci * p.fold, in_rows = rows + kH - 1;
  const int64_t plane = in_rows * W * p.unit, blocks8 = (C + 7) / 8, slice = blocks8 * plane;
  zero_floats(S, p.blocks() * p.kernel[0] * blocks8 * kH * 24 * lanes);
  int64_t sample = -1, next = 0;
  for (int64_t s = begin; s < end; ++s) {
    const int64_t n = s / p.out[0], d = s % p.out[0];
    const int64_t first = d - p.pad[0] < 0 ? 0 : d - p.pad[0];
    const int64_t last = d - p.pad[0] + p.kernel[0] < p.in[0] ? d - p.pad[0] + p.kernel[0] : p.in[0];
    for (int64_t id = n == sample && next > first ? next : first; id < last; ++id) {
      float* to = ring + id % p.kernel[0] * slice;
      if (p.fold > 1)
        weight_fold_slice(p, x.x[0] + (n * p.in[0] + id) * p.in[1] * W * p.Ci, p.in[1], W, p.Ci, p.pad[1], rows, to);
      else
        direct_slice(p, x, n * p.in[0] + id, p.pad[1], 0, in_rows, W, to);
    }
    sample = n, next = last;
    before(s);
    weight_gradient_slice(p, dy + s * p.out[1] * p.out[2] * p.Co, rows, width, gradient);
    const WeightWalk walk{1, 1, 0, 0, 0, rows, W * p.unit, width * lanes, W};
    float* sums = S;
    for (int64_t b = 0; b < p.blocks(); ++b)
      for (int64_t kd = 0; kd < p.kernel[0]; ++kd)
        for (int64_t c8 = 0; c8 < blocks8; ++c8)
          for (int64_t kh = 0; kh < kH; ++kh, sums += 24 * lanes) {
            const int64_t id = d + kd - p.pad[0];
            if (id < 0 || id >= p.in[0]) continue;
            weight_channels(p.pair, C - c8 * 8, walk,
                            ring + id % p.kernel[0] * slice + c8 * plane + kh * W * p.unit,
                            gradient + b * rows * width * lanes, sums);
          }
  }
}

/// dw of kernel depths and rows [begin, end) of kD x kH from the sums of all chunks, added in their order.
inline void weight_reduce(const DirectPlan& p, const float* S, int64_t chunks, int64_t size, int64_t begin,
                          int64_t end, float* dw) {
  const int64_t kH = p.fold > 1 ? 1 : p.kernel[1], blocks8 = (p.Ci * p.fold + 7) / 8;
  for (int64_t row = begin; row < end; ++row)
    for (int64_t kw = 0; kw < 3; ++kw)
      for (int64_t ci = 0; ci < p.Ci; ++ci)
        for (int64_t b = 0; b < p.blocks(); ++b) {
          const int64_t kd = row / p.kernel[1], kh = row % p.kernel[1];
          const int64_t c = p.fold > 1 ? kh * p.Ci + ci : ci;
          const int64_t at =
              ((((b * p.kernel[0] + kd) * blocks8 + c / 8) * kH + (p.fold > 1 ? 0 : kh)) * 3 + kw) * 8 +
              c % 8;
          Vec sum = load(S + at * lanes);
          for (int64_t i = 1; i < chunks; ++i) sum += load(S + i * size + at * lanes);
          const int64_t co = b * p.channels();
          float* to = dw + ((row * 3 + kw) * p.Ci + ci) * p.Co + co;
#if VOXGRAD_LANES == 16
          if (p.pair) {
            store_half_first(to, row_a(sum) + row_b(sum), p.Co - co);
            continue;
          }
#endif
          store_first(to, sum, p.Co - co);
        }
}
