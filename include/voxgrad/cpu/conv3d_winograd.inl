// SPDX-License-Identifier: BSD-3-Clause
// Kernels of conv3d_winograd.hpp. Interpolation points 0, 1, -1, 2, -2 and infinity.

/// Input transform: six points of a row to six positions.
template <class U>
[[gnu::always_inline]] inline void winograd_input(const U (&x)[6], U (&y)[6]) {
  const U a = x[4] - 4.0f * x[2], b = x[3] - 4.0f * x[1], c = x[4] - x[2], d = 2.0f * (x[3] - x[1]);
  y[0] = 4.0f * x[0] - 5.0f * x[2] + x[4];
  y[1] = a + b;
  y[2] = a - b;
  y[3] = c + d;
  y[4] = c - d;
  y[5] = 4.0f * x[1] - 5.0f * x[3] + x[5];
}

/// Transposed output transform: four gradients of a row to six positions.
template <class U>
[[gnu::always_inline]] inline void winograd_gradient(const U (&x)[4], U (&y)[6]) {
  const U a = x[0] + x[2], b = x[1] + x[3], c = x[0] + 4.0f * x[2], d = 2.0f * x[1] + 8.0f * x[3];
  y[0] = x[0];
  y[1] = a + b;
  y[2] = a - b;
  y[3] = c + d;
  y[4] = c - d;
  y[5] = x[3];
}

/// A row of 8 channels, `padded` points, to its six positions; U is a register of `unit` floats or a part.
template <class U, class Memory>
[[gnu::always_inline]] inline void winograd_row(const WinogradPlan& p, const float* plain, float* to) {
  constexpr int64_t part = sizeof(U) / sizeof(float);
  const int64_t groups = p.groups(), group = p.group, unit = p.unit, next = p.group_size() - group * unit;
  const int64_t position = p.position_size();
  for (int64_t g = 0; g < groups; ++g, to += next)
    for (int64_t t = 0; t < group; ++t, plain += 4 * unit, to += unit)
      for (int64_t i = 0; i < unit; i += part) {
        U x[6], y[6];
#pragma GCC unroll 6
        for (int j = 0; j < 6; ++j) x[j] = *reinterpret_cast<const Memory*>(plain + j * unit + i);
        winograd_input(x, y);
#pragma GCC unroll 6
        for (int j = 0; j < 6; ++j) *reinterpret_cast<Memory*>(to + j * position + i) = y[j];
      }
}

/// Brings channel blocks [begin, end) of slice id of sample n into `slice` of the ring, row by row: `plain`
/// holds one row before its transform.
inline void winograd_bring(const WinogradPlan& p, const ConvInput& in, int64_t n, int64_t id, int64_t begin,
                           int64_t end, float* plain, float* slice) {
  for (int64_t c = begin; c < end; ++c) {
    float* to = slice + c * p.groups() * p.group_size();
    for (int64_t r = 0; r < p.in_rows(); ++r, to += p.group * p.unit) {
      direct_row(p, in, n * p.in[0] + id, c * 8, r - p.pad[1], p.pad[2], p.padded(), plain);
#if VOXGRAD_LANES == 16
      if (!p.pair) {
        winograd_row<Half, HalfMemory>(p, plain, to);
        continue;
      }
#endif
      winograd_row<Vec, VecMemory>(p, plain, to);
    }
  }
}

/// Filter transform: three taps to six positions.
[[gnu::always_inline]] inline void winograd_filter(Vec a, Vec b, Vec c, Vec (&u)[6]) {
  const Vec even = (a + c) * (-1.0f / 6.0f), odd = b * (1.0f / 6.0f);
  const Vec even2 = a * (1.0f / 24.0f) + c * (1.0f / 6.0f), odd2 = b * (1.0f / 12.0f);
  u[0] = 0.25f * a;
  u[1] = even - odd;
  u[2] = even + odd;
  u[3] = even2 + odd2;
  u[4] = even2 - odd2;
  u[5] = c;
}

/// Output transform: six sums to four outputs plus bias.
[[gnu::always_inline]] inline void winograd_outputs(const Vec (&m)[6], Vec bias, Vec (&out)[4]) {
  const Vec a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], e = m[3] - m[4];
  out[0] = m[0] + a + c + bias;
  out[1] = b + 2.0f * e + bias;
  out[2] = a + 4.0f * c + bias;
  out[3] = b + 8.0f * e + m[5] + bias;
}

/// Weights of direct_weights' order (block of output channels `b`) to [position][kD][ci][kH][lanes].
inline void winograd_weights(const WinogradPlan& p, const float* plain, float* to) {
  const int64_t L = p.lanes(), position = p.position_weights();
  for (int64_t kd = 0; kd < p.kernel[0]; ++kd)
    for (int64_t c8 = 0; c8 < p.Ci; c8 += 8)
      for (int64_t kh = 0; kh < 3; ++kh)
        for (int64_t ci = c8; ci < c8 + 8 && ci < p.Ci; ++ci, plain += 3 * L)
          for (int64_t l = 0; l < L; l += lanes) {
            Vec u[6];
            winograd_filter(load(plain + l), load(plain + L + l), load(plain + 2 * L + l), u);
            float* y = to + ((kd * p.Ci + ci) * 3 + kh) * L + l;
            for (int64_t i = 0; i < 6; ++i) store(y + i * position, u[i]);
          }
}

/// acc += C channels of R + 2 rows x T tiles of the ring times their weights [C][kH][NV][lanes].
template <bool pair, int C, int NV, int R, int T>
[[gnu::always_inline]] inline void winograd_channels(const float* x, const float* w, Vec (&acc)[R][T][NV]) {
  constexpr int unit = pair ? 16 : 8, each = pair ? 2 : 1;
#pragma GCC unroll 8
  for (int ci = 0; ci < C; ++ci) {
    Vec wv[3][NV];
#pragma GCC unroll 3
    for (int k = 0; k < 3; ++k)
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) wv[k][v] = load(w + ((ci * 3 + k) * NV + v) * lanes);
#pragma GCC unroll 10
    for (int r = 0; r < R + 2; ++r)
#pragma GCC unroll 4
      for (int t = 0; t < T; ++t) {
        const Vec b = ring_splat<pair>(x + (r * T + t) * unit + ci * each);
#pragma GCC unroll 3
        for (int k = 0; k < 3; ++k)
          if (r - k >= 0 && r - k < R)
#pragma GCC unroll 2
            for (int v = 0; v < NV; ++v) acc[r - k][t][v] = fma(b, wv[k][v], acc[r - k][t][v]);
      }
  }
}

/// Products of one position: R rows x T tiles x NV vectors, summed over depth taps [from, to), the first in
/// ring slot `slot`, and channels, into sums. The ring is larger than L1: while the tile is computed, the
/// next one, `ahead` floats on, is fetched.
template <bool pair, int NV, int R, int T>
[[gnu::always_inline]] inline void winograd_tile(const WinogradPlan& p, const float* ring, const float* w,
                                                 int64_t from, int64_t to, int64_t slot, int64_t ahead,
                                                 float* sums) {
  constexpr int unit = pair ? 16 : 8, each = pair ? 2 : 1, lines = (R + 2) * T * unit / 16;
  Vec acc[R][T][NV] = {};
  const int64_t plane = p.groups() * p.group_size();
  w += from * p.Ci * 3 * NV * lanes;
  for (int64_t kd = from; kd < to; ++kd) {
    const float* x = ring + slot * p.ring_slice();
    slot = slot + 1 == p.kernel[0] ? 0 : slot + 1;
    int64_t left = p.Ci;
    for (; left >= 8; left -= 8, x += plane, w += 8 * 3 * NV * lanes) {
      fetch_lines<lines>(x + ahead);
      winograd_channels<pair, 8, NV, R, T>(x, w, acc);
    }
    for (; left > 0; --left, x += each, w += 3 * NV * lanes) winograd_channels<pair, 1, NV, R, T>(x, w, acc);
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t)
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) store(sums + ((r * T + t) * NV + v) * lanes, acc[r][t][v]);
}

/// Six sums of a tile to four outputs plus bias, of which `points` exist.
template <bool pair>
[[gnu::always_inline]] inline void winograd_output(const float* sums, int64_t apart, Vec bias,
                                                   const RowTarget& y, const RowTarget& y_b, int64_t points) {
  Vec m[6];
#pragma GCC unroll 6
  for (int i = 0; i < 6; ++i) m[i] = load(sums + i * apart);
  Vec out[4];
  winograd_outputs(m, bias, out);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    if (i >= points) break;
#if VOXGRAD_LANES == 16
    if constexpr (pair) {
      store_half_first(y.y + i * y.pitch, row_a(out[i]), y.left);
      if (y_b.y) store_half_first(y_b.y + i * y_b.pitch, row_b(out[i]), y_b.left);
      continue;
    }
#endif
    store_target(y, i, out[i]);
  }
  (void)y_b;
}

/// Asks for the points of a row that a group of T tiles will write.
template <int NV, int T>
[[gnu::always_inline]] inline void winograd_fetch_output(const ConvOutput& out, int64_t point, int64_t c) {
  const RowTarget to = row_target(out, point, c);
  const int64_t step = to.pitch < 16 ? 2 : 1;
  for (int64_t i = 0; i < 4 * T; i += step)
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) __builtin_prefetch(to.y + i * to.pitch + v * lanes, 1);
}

/// Output slices [begin, end) of N x oD; `plain` holds one row before its transform.
template <bool pair, int NV, int R, int T>
void winograd_slices(const WinogradPlan& p, const ConvInput& in, const float* w, const float* bias,
                     const ConvOutput& out, int64_t begin, int64_t end, float* plain, float* ring) {
  alignas(64) float sums[6 * R * T * NV * lanes];
  constexpr int64_t apart = R * T * NV * lanes;
  int64_t sample = -1, next = 0;  // the ring holds slices of `sample` up to `next`
  for (int64_t s = begin; s < end; ++s) {
    const int64_t n = s / p.out[0], d = s % p.out[0];
    const int64_t first = d - p.pad[0] < 0 ? 0 : d - p.pad[0];
    const int64_t last = d - p.pad[0] + p.kernel[0] < p.in[0] ? d - p.pad[0] + p.kernel[0] : p.in[0];
    for (int64_t id = n == sample && next > first ? next : first; id < last; ++id)
      winograd_bring(p, in, n, id, 0, p.channel_blocks(), plain, ring + id % p.kernel[0] * p.ring_slice());
    sample = n, next = last;
    for (int64_t b = 0; b < p.blocks(); ++b)
      for (int64_t oh = 0; oh < p.out_rows(); oh += R)
        for (int64_t g = 0; g < p.groups(); ++g) {
          const int64_t next_tile = g + 1 < p.groups()      ? p.group_size()
                                    : oh + R < p.out_rows() ? R * T * p.unit - g * p.group_size()
                                                            : 0;
          for (int64_t i = 0; i < 6; ++i) {
            for (int64_t r = oh + i; r < oh + R && r < p.half;
                 r += 6) {  // the outputs' lines, a few at a time
              const int64_t point = (s * p.out[1] + r) * p.out[2] + g * T * 4;
              winograd_fetch_output<NV, T>(out, point, b * p.channels());
              if (pair && r + p.half < p.out[1])
                winograd_fetch_output<NV, T>(out, point + p.half * p.out[2], b * p.channels());
            }
            winograd_tile<pair, NV, R, T>(
                p, ring + i * p.position_size() + g * p.group_size() + oh * T * p.unit,
                w + (b * 6 + i) * p.position_weights(), first + p.pad[0] - d, last + p.pad[0] - d,
                first % p.kernel[0], i < 5 ? p.position_size() : next_tile - 5 * p.position_size(),
                sums + i * apart);
          }
          for (int64_t r = 0; r < R && oh + r < p.half; ++r)
            for (int64_t t = 0; t < T && (g * T + t) * 4 < p.out[2]; ++t)
              for (int64_t v = 0; v < NV; ++v) {
                const int64_t c = b * p.channels() + v * lanes, ow = (g * T + t) * 4;
                if (c >= p.Co) continue;
                const int64_t point = (s * p.out[1] + oh + r) * p.out[2] + ow;
                RowTarget y_b{};
                if (pair && oh + r + p.half < p.out[1]) y_b = row_target(out, point + p.half * p.out[2], c);
                winograd_output<pair>(sums + ((r * T + t) * NV + v) * lanes, apart,
                                      load(bias + b * p.lanes() + v * lanes), row_target(out, point, c), y_b,
                                      p.out[2] - ow);
              }
        }
    out.done(s);
  }
}

/// Runs the tile that the plan names.
inline void winograd_run(const WinogradPlan& p, const ConvInput& in, const float* w, const float* bias,
                         const ConvOutput& out, int64_t begin, int64_t end, float* plain, float* ring) {
#if VOXGRAD_LANES == 16
  const auto run = p.pair           ? winograd_slices<true, 1, 4, 4>
                   : p.vectors == 2 ? winograd_slices<false, 2, 4, 2>
                   : p.group == 4   ? winograd_slices<false, 1, 4, 4>
                                    : winograd_slices<false, 1, 8, 2>;
#else
  const auto run = winograd_slices<false, 1, 4, 2>;
#endif
  run(p, in, w, bias, out, begin, end, plain, ring);
}

/// Chooses the tile for the plan's extents, after direct_tiling.
inline void winograd_tiling(WinogradPlan& p) {
#if VOXGRAD_LANES == 16
  p.group = p.vectors == 2 || (!p.pair && p.out[2] <= 8) ? 2 : 4;
  p.rows = p.vectors == 1 && p.group == 2 ? 8 : 4;
#else
  p.group = 2, p.rows = 4, p.vectors = 1;
#endif
}

/// dy slice to [position][block][tile][2 zero rows, rows, 2 zero rows][lanes].
inline void winograd_gradient_slice(const WinogradPlan& p, const float* dy, float* to) {
  const int64_t H = p.out[1], W = p.out[2], high = p.in_rows() + 2,
                position = p.blocks() * p.tiles() * high * lanes;
  for (int64_t b = 0; b < p.blocks(); ++b)
    for (int64_t t = 0; t < p.tiles(); ++t)
      for (int64_t q = 0; q < high; ++q, to += lanes) {
        const int64_t r = q - 2, c = b * p.channels();
        Vec x[4] = {}, y[6];
        for (int64_t i = 0; i < 4 && 4 * t + i < W; ++i) {
          const float* from = dy + (r * W + 4 * t + i) * p.Co + c;
#if VOXGRAD_LANES == 16
          if (p.pair) {
            const Half a = r >= 0 && r < p.half ? load_half_first(from, p.Co - c) : Half{};
            const Half z = r >= 0 && r < p.half && r + p.half < H
                               ? load_half_first(from + p.half * W * p.Co, p.Co - c)
                               : Half{};
            x[i] = interleave(a, z);
            continue;
          }
#endif
          x[i] = r >= 0 && r < H ? load_first(from, p.Co - c) : Vec{};
        }
        winograd_gradient(x, y);
        for (int64_t i = 0; i < 6; ++i) store(to + i * position, y[i]);
      }
}

/// Sums of one chunk, output slices [begin, end), into S [channel block][block][kD][position][3][8][lanes],
/// of its channel blocks [c_begin, c_end). Runs of up to p.window slices are transformed and then summed, so
/// that sums stay in registers for long.
inline void winograd_weight_run(const WinogradPlan& p, const ConvInput& x, const float* dy,
                                const SliceHook& before, int64_t begin, int64_t end, int64_t c_begin,
                                int64_t c_end, float* plain, float* ring, float* gradient, float* S) {
  const int64_t high = p.in_rows() + 2, slots = p.kernel[0] - 1 + p.window;
  const int64_t column = high * lanes, gradient_slice = 6 * p.blocks() * p.tiles() * column;
  // Without pairs the rows of padding are zeros for all lanes: left out.
  const int64_t top = p.pair ? 0 : p.pad[1] < p.in_rows() ? p.pad[1] : p.in_rows();
  const int64_t bottom = p.pair || p.pad[1] + p.in[1] > p.in_rows() ? p.in_rows() : p.pad[1] + p.in[1];
  const int64_t column_sums = p.blocks() * p.kernel[0] * 6 * 24 * lanes;  // of a channel block
  zero_floats(S + c_begin * column_sums, (c_end - c_begin) * column_sums);
  int64_t sample = -1, next = 0;
  for (int64_t s = begin; s < end;) {
    const int64_t n = s / p.out[0], d = s % p.out[0];
    int64_t length = p.out[0] - d < end - s ? p.out[0] - d : end - s;
    if (length > p.window) length = p.window;
    const int64_t first = d - p.pad[0] < 0 ? 0 : d - p.pad[0];
    const int64_t reach = d + length - 1 - p.pad[0] + p.kernel[0], last = reach < p.in[0] ? reach : p.in[0];
    for (int64_t id = n == sample && next > first ? next : first; id < last; ++id)
      winograd_bring(p, x, n, id, c_begin, c_end, plain, ring + id % slots * p.ring_slice());
    sample = n, next = last;
    for (int64_t i = 0; i < length; ++i) {
      before(s + i);
      winograd_gradient_slice(p, dy + (s + i) * p.out[1] * p.out[2] * p.Co, gradient + i * gradient_slice);
    }
    for (int64_t b = 0; b < p.blocks(); ++b)
      for (int64_t i = 0; i < 6; ++i)  // one position's gradient stays in L1 while channels and depths pass
        for (int64_t c8 = c_begin; c8 < c_end; ++c8)
          for (int64_t kd = 0; kd < p.kernel[0]; ++kd) {
            // Output d + j meets input shift + j.
            const int64_t shift = d + kd - p.pad[0], from = shift < 0 ? -shift : 0;
            const int64_t to = shift + length > p.in[0] ? p.in[0] - shift : length;
            if (to <= from) continue;
            const int64_t slot = (shift + from) % slots;
            const WeightWalk walk{to - from,      slots - slot, p.ring_slice(), slots * p.ring_slice(),
                                  gradient_slice, p.tiles(),    p.group_size(), column,
                                  bottom - top};
            weight_channels(
                p.pair, p.Ci - c8 * 8, walk,
                ring + slot * p.ring_slice() + i * p.position_size() + c8 * p.groups() * p.group_size() +
                    top * p.unit,
                gradient + from * gradient_slice + (i * p.blocks() + b) * p.tiles() * column + top * lanes,
                S + (((c8 * p.blocks() + b) * p.kernel[0] + kd) * 6 + i) * 24 * lanes);
          }
    s += length;
  }
}

/// Transposed filter transform: the sums of six positions to three taps.
[[gnu::always_inline]] inline void winograd_taps(const Vec (&m)[6], Vec (&taps)[3]) {
  const Vec even = (m[1] + m[2]) * (1.0f / 6.0f), far = (m[3] + m[4]) * (1.0f / 24.0f);
  taps[0] = 0.25f * m[0] - even + far;
  taps[1] = (m[2] - m[1]) * (1.0f / 6.0f) + (m[3] - m[4]) * (1.0f / 12.0f);
  taps[2] = 4.0f * far - even + m[5];
}

/// dw of channel blocks x kernel depths [begin, end): the chunks' sums added in order, then from six
/// positions to three taps.
inline void winograd_weight_reduce(const WinogradPlan& p, const float* S, int64_t chunks, int64_t size,
                                   int64_t begin, int64_t end, float* dw) {
  for (int64_t task = begin; task < end; ++task)
    for (int64_t b = 0; b < p.blocks(); ++b) {
      const int64_t c8 = task / p.kernel[0], kd = task % p.kernel[0], co = b * p.channels();
      const float* sums = S + ((c8 * p.blocks() + b) * p.kernel[0] + kd) * 6 * 24 * lanes;
      for (int64_t kh = 0; kh < 3; ++kh)
        for (int64_t c = 0; c < 8 && c8 * 8 + c < p.Ci; ++c) {
          Vec m[6];
          for (int64_t i = 0; i < 6; ++i) {
            const float* at = sums + ((i * 3 + kh) * 8 + c) * lanes;
            m[i] = load(at);
            for (int64_t k = 1; k < chunks; ++k) m[i] += load(at + k * size);
          }
          Vec taps[3];
          winograd_taps(m, taps);
          for (int64_t kw = 0; kw < 3; ++kw) {
            float* to = dw + (((kd * 3 + kh) * 3 + kw) * p.Ci + c8 * 8 + c) * p.Co + co;
#if VOXGRAD_LANES == 16
            if (p.pair) {
              store_half_first(to, row_a(taps[kw]) + row_b(taps[kw]), p.Co - co);
              continue;
            }
#endif
            store_first(to, taps[kw], p.Co - co);
          }
        }
    }
}
