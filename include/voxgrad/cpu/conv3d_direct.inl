// SPDX-License-Identifier: BSD-3-Clause
// Kernels of conv3d_direct.hpp: weights, ring, forward tile.

/// Weights of block b in reading order [kD][channel block][kH][ci][kw][lanes]. `adjoint`: w is the other way
/// round
/// ([k,Co,Ci], taps mirrored), as the data gradient needs it.
inline void direct_weights(const DirectPlan& p, bool adjoint, const float* w, int64_t b, float* to) {
  const int64_t L = p.lanes(), twice = p.pair ? 2 : 1;
  const int64_t taps = p.kernel[0] * p.kernel[1] * 3;
  const int64_t pitch = adjoint ? p.Ci : 1;
  for (int64_t kd = 0; kd < p.kernel[0]; ++kd)
    for (int64_t c8 = 0; c8 < p.Ci; c8 += 8)
      for (int64_t kh = 0; kh < p.kernel[1]; ++kh)
        for (int64_t ci = c8; ci < c8 + 8 && ci < p.Ci; ++ci)
          for (int64_t kw = 0; kw < 3; ++kw, to += L) {
            const int64_t tap = (kd * p.kernel[1] + kh) * 3 + kw, first = b * p.channels();
            const float* from = adjoint ? w + ((taps - 1 - tap) * p.Co + first) * p.Ci + ci
                                        : w + (tap * p.Ci + ci) * p.Co + first;
            const int64_t have = p.Co - first < p.channels() ? p.Co - first : p.channels();
            for (int64_t c = 0; c < have; ++c)
              for (int64_t t = 0; t < twice; ++t) to[c * twice + t] = from[c * pitch];
            for (int64_t c = have * twice; c < L; ++c) to[c] = 0;
          }
}

inline void zero_floats(float* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = 0;
}

/// One row of 8 channels, `points` wide, from x (pitch Ci, `have` channels), or zeros when x is null; `act` is of
/// these channels.
inline void direct_copy_row(float* to, const float* x, int64_t Ci, int64_t have, int64_t points,
                            const RawAct& act) {
  if (!x) return zero_floats(to, points * 8);
  if (act.centre) {
    // Casts in place: a lambda's return type would forget that the memory is unaligned.
    const Oct centre = *reinterpret_cast<const OctMemory*>(act.centre),
              scale = *reinterpret_cast<const OctMemory*>(act.scale),
              offset = *reinterpret_cast<const OctMemory*>(act.offset);
    for (int64_t i = 0; i < points; ++i) {
      Oct a = (*reinterpret_cast<const OctMemory*>(x + i * Ci) - centre) * scale + offset;
      leaky(a, act.slope);
      *reinterpret_cast<OctMemory*>(to + i * 8) = a;
    }
  } else if (have == 8)
    for (int64_t i = 0; i < points; ++i) __builtin_memcpy(to + i * 8, x + i * Ci, 32);
  else
    for (int64_t i = 0; i < points; ++i)
      for (int64_t c = 0; c < 8; ++c) to[i * 8 + c] = c < have ? x[i * Ci + c] : 0.0f;
}

#if VOXGRAD_LANES == 16
/// Two rows of 8 channels, interleaved; a null row is zeros.
inline void direct_copy_pair(float* to, const float* xa, const float* xb, int64_t Ci, int64_t have,
                             int64_t points, const RawAct& act) {
  if (act.centre) {
    const Half centre = load_half_first(act.centre, 8), scale = load_half_first(act.scale, 8),
               offset = load_half_first(act.offset, 8);
    const auto finished = [&](const float* x) {
      const Half v = (load_half_first(x, 8) - centre) * scale + offset;
      return v > 0.0f ? v : v * act.slope;
    };
    for (int64_t i = 0; i < points; ++i)
      store(to + i * 16,
            interleave(xa ? finished(xa + i * Ci) : Half{}, xb ? finished(xb + i * Ci) : Half{}));
    return;
  }
  for (int64_t i = 0; i < points; ++i) {
    const Half a = xa ? load_half_first(xa + i * Ci, have) : Half{};
    const Half b = xb ? load_half_first(xb + i * Ci, have) : Half{};
    store(to + i * 16, interleave(a, b));
  }
}
#endif

/// One row of the ring, `width` points of 8 channels from c: row a of slice `s` of the input (and row a +
/// half, in pairs), shifted right by `left`, zeros where there is nothing.
[[gnu::always_inline]] inline void direct_row(const DirectPlan& p, const ConvInput& in, int64_t s, int64_t c,
                                              int64_t a, int64_t left, int64_t width, float* to) {
  const int which = c < in.C[0] ? 0 : 1;
  if (which == 1) c -= in.C[0];
  const int64_t H = p.in[1], W = p.in[2], C = in.C[which];
  const float* x = in.x[which] + s * H * W * C;
  RawAct act = in.act[which];
  if (act.centre) act.centre += c, act.scale += c, act.offset += c;
  const int64_t have = C - c < 8 ? C - c : 8;
  const int64_t right = left + W < width ? left + W : width;
  const float* xa = a >= 0 && a < H ? x + a * W * C + c : nullptr;
  zero_floats(to, left * p.unit);
#if VOXGRAD_LANES == 16
  const int64_t b = a + p.half;
  const float* xb = b >= 0 && b < H ? x + b * W * C + c : nullptr;
  if (p.pair)
    direct_copy_pair(to + left * 16, xa, xb, C, have, right - left, act);
  else
#endif
    direct_copy_row(to + left * 8, xa, C, have, right - left, act);
  zero_floats(to + right * p.unit, (width - right) * p.unit);
}

/// Copies depth slice s (of N x iD) into the ring: row r of the ring is row r - top of the slice.
inline void direct_slice(const DirectPlan& p, const ConvInput& in, int64_t s, int64_t top, int64_t left,
                         int64_t rows, int64_t width, float* to) {
  for (int64_t c = 0; c < p.Ci; c += 8)
    for (int64_t r = 0; r < rows; ++r, to += width * p.unit)
      direct_row(p, in, s, c, r - top, left, width, to);
}

/// Where the channels from c on of a point go: a vector may straddle the two outputs, 8 lanes to each.
struct RowTarget {
  float *y, *high;            ///< first point of the row; null: no second output in this vector
  int64_t pitch, high_pitch;  ///< floats between points
  int64_t left, high_left;    ///< channels left in each output
};

[[gnu::always_inline]] inline RowTarget row_target(const ConvOutput& out, int64_t point, int64_t c) {
  const int which = c < out.C[0] ? 0 : 1;
  const int64_t C = out.C[which], at = which ? c - out.C[0] : c;
  RowTarget t{out.y[which] + point * C + at, nullptr, C, out.C[1], C - at, out.C[1]};
  if (lanes > 8 && which == 0 && out.y[1] && t.left < lanes) t.high = out.y[1] + point * out.C[1];
  return t;
}

/// Writes a vector of output channels of point i of a row.
[[gnu::always_inline]] inline void store_target(const RowTarget& t, int64_t i, Vec v) {
  store_first(t.y + i * t.pitch, v, t.left);
#if VOXGRAD_LANES == 16
  if (t.high)
    store_half_first(t.high + i * t.high_pitch, __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15),
                     t.high_left);
#endif
}

/// The same for one channel that is read as it is: x [H,W] to points of 1 float, 2 in pairs.
inline void single_slice(const DirectPlan& p, const float* x, int64_t top, int64_t left, int64_t rows,
                         int64_t width, float* to) {
  const int64_t H = p.in[1], W = p.in[2], room = width > left ? width - left : 0,
                points = W < room ? W : room;
  for (int64_t r = 0; r < rows; ++r, to += width * p.unit) {
    zero_floats(to, width * p.unit);
    const int64_t a = r - top;
    const float* xa = a >= 0 && a < H ? x + a * W : nullptr;
    float* y = to + left * p.unit;
#if VOXGRAD_LANES == 16
    if (p.pair) {
      const float* xb = a + p.half >= 0 && a + p.half < H ? x + (a + p.half) * W : nullptr;
      for (int64_t i = 0; i < points; i += 8) {
        const int64_t n = points - i;
        store_first(
            y + 2 * i,
            interleave(xa ? load_half_first(xa + i, n) : Half{}, xb ? load_half_first(xb + i, n) : Half{}),
            2 * n);
      }
      continue;
    }
#endif
    if (xa) __builtin_memcpy(y, xa, size_t(points) * sizeof(float));
  }
}

template <bool pair>
[[gnu::always_inline]] inline Vec ring_splat(const float* p) {
#if VOXGRAD_LANES == 16
  if constexpr (pair) return splat_pair(p);
#endif
  return splat(*p);
}

/// Outputs of `R` rows x `T` points x NV vectors at row oh, point ow of slice d; w and bias are those of the
/// block. `single`: the ring holds one channel.
template <bool pair, int NV, int R, int T, bool single>
void direct_tile(const DirectPlan& p, const float* ring, const float* w, const float* bias,
                 const ConvOutput& out, int64_t s, int64_t c, int64_t oh, int64_t ow) {
  const int64_t d = s % p.out[0];
  constexpr int each = pair ? 2 : 1, unit = single ? each : 8 * each;
  Vec acc[R][T][NV];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (int t = 0; t < T; ++t)
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) acc[r][t][v] = load(bias + v * lanes);
  const int64_t row = p.row(), plane = p.plane();
  for (int64_t kd = 0; kd < p.kernel[0]; ++kd) {
    const int64_t id = d + kd - p.pad[0];
    if (id < 0 || id >= p.in[0]) {
      w += p.kernel[1] * p.Ci * 3 * NV * lanes;
      continue;
    }
    const float* block = ring + id % p.kernel[0] * p.slice() + oh * row + ow * unit;
    for (int64_t c8 = 0; c8 < p.Ci; c8 += 8, block += plane) {
      const int64_t have = single ? 1 : p.Ci - c8 < 8 ? p.Ci - c8 : 8;
      const float* x = block;
      for (int64_t kh = 0; kh < p.kernel[1]; ++kh, x += row)
        for (int64_t ci = 0; ci < have; ++ci, w += 3 * NV * lanes) {
          Vec wv[3][NV];
#pragma GCC unroll 3
          for (int k = 0; k < 3; ++k)
#pragma GCC unroll 2
            for (int v = 0; v < NV; ++v) wv[k][v] = load(w + (k * NV + v) * lanes);
#pragma GCC unroll 4
          for (int r = 0; r < R; ++r)
#pragma GCC unroll 18
            for (int j = 0; j < T + 2; ++j) {
              const Vec b = ring_splat<pair>(x + r * row + j * unit + ci * each);
#pragma GCC unroll 3
              for (int k = 0; k < 3; ++k)
                if (j - k >= 0 && j - k < T)
#pragma GCC unroll 2
                  for (int v = 0; v < NV; ++v) acc[r][j - k][v] = fma(b, wv[k][v], acc[r][j - k][v]);
            }
        }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    if (oh + r >= p.half) break;
    const int64_t point = (s * p.out[1] + oh + r) * p.out[2] + ow;
    RowTarget to[NV] = {}, b{};
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v)
      if (c + v * lanes < p.Co) to[v] = row_target(out, point, c + v * lanes);
    if (pair && oh + r + p.half < p.out[1]) b = row_target(out, point + p.half * p.out[2], c);
#pragma GCC unroll 16
    for (int t = 0; t < T; ++t) {
      if (ow + t >= p.out[2]) continue;
#if VOXGRAD_LANES == 16
      if constexpr (pair) {
        store_half_first(to[0].y + t * to[0].pitch, row_a(acc[r][t][0]), to[0].left);
        if (b.y) store_half_first(b.y + t * b.pitch, row_b(acc[r][t][0]), b.left);
        continue;
      }
#endif
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v)
        if (c + v * lanes < p.Co) store_target(to[v], t, acc[r][t][v]);
    }
  }
}

/// Output slices [begin, end) of N x oD; `ring` holds kernel[0] slices.
template <bool pair, int NV, int R, int T, bool single = false>
void direct_slices(const DirectPlan& p, const ConvInput& in, const float* w, const float* bias,
                   const ConvOutput& out, int64_t begin, int64_t end, float* ring) {
  int64_t sample = -1, next = 0;  // the ring holds slices of `sample` up to `next`
  for (int64_t s = begin; s < end; ++s) {
    const int64_t n = s / p.out[0], d = s % p.out[0];
    const int64_t first = d - p.pad[0] < 0 ? 0 : d - p.pad[0];
    const int64_t last = d - p.pad[0] + p.kernel[0] < p.in[0] ? d - p.pad[0] + p.kernel[0] : p.in[0];
    for (int64_t id = n == sample && next > first ? next : first; id < last; ++id)
      if constexpr (single)
        single_slice(p, in.x[0] + (n * p.in[0] + id) * p.in[1] * p.in[2], p.pad[1], p.pad[2], p.in_rows(),
                     p.width(), ring + id % p.kernel[0] * p.slice());
      else
        direct_slice(p, in, n * p.in[0] + id, p.pad[1], p.pad[2], p.in_rows(), p.width(),
                     ring + id % p.kernel[0] * p.slice());
    sample = n, next = last;
    for (int64_t b = 0; b < p.blocks(); ++b) {
      const int64_t c = b * p.channels();
      for (int64_t oh = 0; oh < p.out_rows(); oh += R)
        for (int64_t ow = 0; ow < p.out[2]; ow += T)
          direct_tile<pair, NV, R, T, single>(p, ring, w + b * p.weight_block(), bias + b * p.lanes(), out, s,
                                              c, oh, ow);
    }
    out.done(s);
  }
}

/// Runs the tile that the plan names.
inline void direct_run(const DirectPlan& p, const ConvInput& in, const float* w, const float* bias,
                       const ConvOutput& out, int64_t begin, int64_t end, float* ring) {
#if VOXGRAD_LANES == 16
  const auto run = p.pair ? (p.wide == 16 ? direct_slices<true, 1, 1, 16> : direct_slices<true, 1, 2, 8>)
                   : p.vectors == 2 ? direct_slices<false, 2, 1, 8>
                   : p.wide == 16   ? direct_slices<false, 1, 1, 16>
                                    : direct_slices<false, 1, 2, 8>;
#elif VOXGRAD_LANES == 8
  const auto run = p.vectors == 2 ? direct_slices<false, 2, 1, 4> : direct_slices<false, 1, 1, 8>;
#else
  const auto run = p.vectors == 2 ? direct_slices<false, 2, 1, 4> : direct_slices<false, 1, 1, 4>;
#endif
  run(p, in, w, bias, out, begin, end, ring);
}

/// direct_run for a plan of single_tiling.
inline void single_run(const DirectPlan& p, const ConvInput& in, const float* w, const float* bias,
                       const ConvOutput& out, int64_t begin, int64_t end, float* ring) {
#if VOXGRAD_LANES == 16
  const auto run = p.pair ? direct_slices<true, 1, 1, 16, true> : direct_slices<false, 1, 1, 16, true>;
#else
  const auto run = direct_slices<false, 1, 1, 8, true>;
#endif
  run(p, in, w, bias, out, begin, end, ring);
}

/// Chooses the tile for one input channel, after direct_tiling.
inline void single_tiling(DirectPlan& p) {
  p.vectors = p.rows = 1;
  p.wide = lanes == 16 ? 16 : 8;
  p.unit = p.pair ? 2 : 1;
}

/// Chooses the tile for the plan's extents.
inline void direct_tiling(DirectPlan& p) {
  p.vector_lanes = lanes;
  p.pair = lanes == 16 && p.Co <= 8 && p.out[1] > 1;
  p.vectors = !p.pair && p.Co > lanes ? 2 : 1;
  p.rows = 1;
#if VOXGRAD_LANES == 16
  p.wide = p.vectors == 2 || p.out[2] <= 8 || (p.out[2] > 16 && p.out[2] <= 24) ? 8 : 16;
  if (p.vectors == 1 && p.wide == 8) p.rows = 2;
#elif VOXGRAD_LANES == 8
  p.wide = p.vectors == 2 ? 4 : 8;
#else
  p.wide = 4;
#endif
  p.unit = p.pair ? 16 : 8;
  p.half = p.pair ? (p.out[1] + 1) / 2 : p.out[1];
}
