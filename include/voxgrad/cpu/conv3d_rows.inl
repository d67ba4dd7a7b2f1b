// SPDX-License-Identifier: BSD-3-Clause
// Kernels of conv3d_rows.hpp.

/// Where a tile of points lies: M of them from `first`, in the order of the plan.
struct RowsTile {
  int64_t n, point[3];
  int64_t count;  ///< points that exist, at most M
};

/// Input rows of the M points for one tap; false when no point meets anything. Points that all meet something
/// lie at equal distances: no look-up for them.
template <int M>
[[gnu::always_inline]] inline bool rows_meet(const RowsPlan& p, const RowsTile& t, const float* line,
                                             int64_t kw, int64_t sample, const float* (&x)[M]) {
  const int32_t* at = p.index[2] + kw * p.out[2] + t.point[2];
  const int64_t step = p.across_samples ? 0 : p.step;
  if (t.count == M && at[0] >= 0 && at[(M - 1) * step] >= 0) {
    const int64_t apart = p.across_samples ? sample : p.in_step * p.A;
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) x[m] = line + at[0] * p.A + m * apart;
    return true;
  }
  bool any = false;
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
    const int64_t i = m < t.count ? at[m * step] : -1;
    any |= i >= 0;
    x[m] = i < 0 ? p.zeros : line + i * p.A + (p.across_samples ? m * sample : 0);
  }
  return any;
}

/// One tile of M points times NV vectors of output channels from c. Each tap is summed on its own first: one chain over
/// all taps of a deep layer (up to 6912 terms) would lose two digits more than a sum of sums.
template <int NV, int M>
void rows_tile(const RowsPlan& p, const RowsTile& t, int64_t c, const float* in, float* out) {
  Vec total[M][NV];
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) {
    const int64_t left = p.B - c - v * lanes;
    const Vec b = p.bias && left > 0 ? load_first(p.bias + c + v * lanes, left) : Vec{};
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) total[m][v] = b;
  }
  const int64_t sample = p.in[0] * p.in[1] * p.in[2] * p.A;
  for (int64_t kd = 0; kd < p.kernel[0]; ++kd) {
    const int64_t id = p.index[0][kd * p.out[0] + t.point[0]];
    if (id < 0) continue;
    for (int64_t kh = 0; kh < p.kernel[1]; ++kh) {
      const int64_t ih = p.index[1][kh * p.out[1] + t.point[1]];
      if (ih < 0) continue;
      const float* line = in + t.n * sample + (id * p.in[1] + ih) * p.in[2] * p.A;
      for (int64_t kw = 0; kw < p.kernel[2]; ++kw) {
        const float* x[M];
        if (!rows_meet(p, t, line, kw, sample, x)) continue;
        const float* w = p.w + ((kd * p.kernel[1] + kh) * p.kernel[2] + kw) * p.A * p.ld + c;
        Vec acc[M][NV] = {};
        for (int64_t a = 0; a < p.A; ++a, w += p.ld) {
          Vec wv[NV];
#pragma GCC unroll 4
          for (int v = 0; v < NV; ++v) wv[v] = load(w + v * lanes);
#pragma GCC unroll 8
          for (int m = 0; m < M; ++m) {
            const Vec b = splat(x[m][a]);
#pragma GCC unroll 4
            for (int v = 0; v < NV; ++v) acc[m][v] = fma(b, wv[v], acc[m][v]);
          }
        }
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
          for (int v = 0; v < NV; ++v) total[m][v] = total[m][v] + acc[m][v];
      }
    }
  }
  const int64_t next = p.across_samples ? p.out[0] * p.out[1] * p.out[2] * p.B : p.step * p.B;
  float* y =
      out + (((t.n * p.out[0] + t.point[0]) * p.out[1] + t.point[1]) * p.out[2] + t.point[2]) * p.B + c;
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v)
      if (m < t.count && p.B - c > v * lanes)
        store_first(y + m * next + v * lanes, total[m][v], p.B - c - v * lanes);
}

/// Calls visit(tile) for the tiles of one group, at most `most` points each.
template <class Visit>
[[gnu::always_inline]] inline void rows_tiles(const RowsPlan& p, int64_t group, int64_t most, Visit&& visit) {
  RowsTile t;
  if (p.across_samples) {
    t.point[2] = group % p.out[2];
    t.point[1] = group / p.out[2] % p.out[1];
    t.point[0] = group / p.out[2] / p.out[1];
    for (t.n = 0; t.n < p.N; t.n += most) {
      t.count = p.N - t.n < most ? p.N - t.n : most;
      visit(t);
    }
    return;
  }
  t.point[1] = group % p.out[1];
  t.point[0] = group / p.out[1] % p.out[0];
  t.n = group / p.out[1] / p.out[0];
  for (int64_t phase = 0; phase < p.step && phase < p.out[2]; ++phase)
    for (t.point[2] = phase; t.point[2] < p.out[2]; t.point[2] += most * p.step) {
      const int64_t left = (p.out[2] - t.point[2] + p.step - 1) / p.step;
      t.count = left < most ? left : most;
      visit(t);
    }
}

inline constexpr int rows_most = VOXGRAD_LANES == 16 ? 8 : 4;  ///< points in a full tile

/// Tasks [begin, end) of blocks x groups, a block being p.vectors vectors of output channels.
inline void rows_run(const RowsPlan& p, const float* in, float* out, int64_t begin, int64_t end) {
  for (int64_t task = begin; task < end; ++task) {
    const int64_t c = task / p.groups() * p.vectors * lanes;
#if VOXGRAD_LANES == 16
    if (p.vectors == 4) {
      rows_tiles(p, task % p.groups(), 4, [&](const RowsTile& t) { rows_tile<4, 4>(p, t, c, in, out); });
      continue;
    }
#endif
    const bool two = c + 2 * lanes <= p.ld;
    rows_tiles(p, task % p.groups(), two ? rows_most : 8, [&](const RowsTile& t) {
      if (t.count > 4)
        two ? rows_tile<2, rows_most>(p, t, c, in, out) : rows_tile<1, 8>(p, t, c, in, out);
      else
        two ? rows_tile<2, 4>(p, t, c, in, out) : rows_tile<1, 4>(p, t, c, in, out);
    });
  }
}

/// The same sum with w [k,B,A], A a multiple of the vector: the vector runs along the summed channels, so
/// that the data gradient of a deep layer reads its weights as they lie. Tasks are blocks of 4 output
/// channels x groups.
inline void rows_dot(const RowsPlan& p, const float* in, float* out, int64_t begin, int64_t end) {
  constexpr int M = 4, Q = VOXGRAD_LANES == 16 ? 4 : 2;
  const int64_t sample = p.in[0] * p.in[1] * p.in[2] * p.A;
  const int64_t next = p.across_samples ? p.out[0] * p.out[1] * p.out[2] * p.B : p.step * p.B;
  for (int64_t task = begin; task < end; ++task)
    rows_tiles(p, task % p.groups(), M, [&](const RowsTile& t) {
      for (int64_t c = task / p.groups() * 4; c < task / p.groups() * 4 + 4; c += Q) {
        Vec acc[M][Q] = {};
        for (int64_t kd = 0; kd < p.kernel[0]; ++kd) {
          const int64_t id = p.index[0][kd * p.out[0] + t.point[0]];
          if (id < 0) continue;
          for (int64_t kh = 0; kh < p.kernel[1]; ++kh) {
            const int64_t ih = p.index[1][kh * p.out[1] + t.point[1]];
            if (ih < 0) continue;
            const float* line = in + t.n * sample + (id * p.in[1] + ih) * p.in[2] * p.A;
            for (int64_t kw = 0; kw < p.kernel[2]; ++kw) {
              const float* x[M];
              if (!rows_meet(p, t, line, kw, sample, x)) continue;
              const float* w = p.w + (((kd * p.kernel[1] + kh) * p.kernel[2] + kw) * p.B + c) * p.A;
              for (int64_t a = 0; a < p.A; a += lanes) {
                Vec wv[Q];
#pragma GCC unroll 4
                for (int q = 0; q < Q; ++q) wv[q] = load(w + q * p.A + a);
#pragma GCC unroll 4
                for (int m = 0; m < M; ++m) {
                  const Vec xv = load(x[m] + a);
#pragma GCC unroll 4
                  for (int q = 0; q < Q; ++q) acc[m][q] = fma(xv, wv[q], acc[m][q]);
                }
              }
            }
          }
        }
        float* y =
            out + (((t.n * p.out[0] + t.point[0]) * p.out[1] + t.point[1]) * p.out[2] + t.point[2]) * p.B + c;
#pragma GCC unroll 4
        for (int m = 0; m < M; ++m)
          if (m < t.count) store_sums(y + m * next, acc[m]);
      }
    });
}

/// Extents and strides of the walk over the points of one tap, outermost first; the samples innermost when
/// rows are short.
struct OuterWalk {
  int64_t extent[4], u[4], v[4], u0, v0;
};

inline OuterWalk outer_walk(const OuterPlan& p, int64_t tap) {
  const int64_t k[3] = {tap / p.kernel[2] / p.kernel[1], tap / p.kernel[2] % p.kernel[1], tap % p.kernel[2]};
  int64_t placed[4], reached[4], extent[4], placed0 = 0, reached0 = 0;  // samples, then D, H, W, in points
  placed[0] = p.placed[0] * p.placed[1] * p.placed[2];
  reached[0] = p.reached[0] * p.reached[1] * p.reached[2];
  extent[0] = p.N;
  for (int a = 0; a < 3; ++a) {
    const int64_t first = p.range[a][2 * k[a]], last = p.range[a][2 * k[a] + 1];
    const int64_t pitch_p = a == 0 ? p.placed[1] * p.placed[2] : a == 1 ? p.placed[2] : 1;
    const int64_t pitch_r = a == 0 ? p.reached[1] * p.reached[2] : a == 1 ? p.reached[2] : 1;
    extent[a + 1] = last > first ? last - first : 0;
    placed[a + 1] = pitch_p;
    reached[a + 1] = pitch_r * p.stride[a];
    placed0 += first * pitch_p;
    reached0 += (first * p.stride[a] + k[a] * p.dilation[a] - p.padding[a]) * pitch_r;
  }
  const bool samples_inside = extent[3] < p.N;
  OuterWalk walk;
  for (int i = 0; i < 4; ++i) {
    const int from = samples_inside ? (i + 1) % 4 : i;
    walk.extent[i] = extent[from];
    walk.u[i] = (p.u_reached ? reached : placed)[from] * p.U;
    walk.v[i] = (p.u_reached ? placed : reached)[from] * p.V;
  }
  walk.u0 = (p.u_reached ? reached0 : placed0) * p.U;
  walk.v0 = (p.u_reached ? placed0 : reached0) * p.V;
  return walk;
}

/// M channels of U times NV vectors of V, for one tap.
template <int NV, int M>
void outer_tile(const OuterPlan& p, const OuterWalk& s, const float* u0, const float* v0, int64_t left,
                float* dw) {
  Vec total[M][NV] = {};
  for (int64_t i0 = 0; i0 < s.extent[0]; ++i0) {
    Vec acc[M][NV] = {};  // one outermost slice at a time: partial sums keep long sums accurate
    for (int64_t i1 = 0; i1 < s.extent[1]; ++i1)
      for (int64_t i2 = 0; i2 < s.extent[2]; ++i2) {
        const float* u = u0 + i0 * s.u[0] + i1 * s.u[1] + i2 * s.u[2];
        const float* v = v0 + i0 * s.v[0] + i1 * s.v[1] + i2 * s.v[2];
        for (int64_t i3 = 0; i3 < s.extent[3]; ++i3, u += s.u[3], v += s.v[3]) {
          Vec vv[NV];
#pragma GCC unroll 2
          for (int j = 0; j < NV; ++j) vv[j] = NV == 2 ? load(v + j * lanes) : load_first(v, left);
#pragma GCC unroll 8
          for (int m = 0; m < M; ++m) {
            const Vec b = splat(u[m]);
#pragma GCC unroll 2
            for (int j = 0; j < NV; ++j) acc[m][j] = fma(b, vv[j], acc[m][j]);
          }
        }
      }
    for (int m = 0; m < M; ++m)
      for (int j = 0; j < NV; ++j) total[m][j] += acc[m][j];
  }
  for (int m = 0; m < M; ++m)
    for (int j = 0; j < NV; ++j) {
      float* y = dw + m * p.u_stride + j * lanes * p.v_stride;
      if (p.v_stride == 1)
        store_first(y, total[m][j], left - j * lanes);
      else
        for (int l = 0; l < lanes && l < left - j * lanes; ++l) y[l * p.v_stride] = total[m][j][l];
    }
}

/// Tasks [begin, end) of taps x blocks of 8 broadcast channels.
inline void outer_run(const OuterPlan& p, int64_t begin, int64_t end) {
  constexpr int wide = VOXGRAD_LANES == 16 ? 2 : 1;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t tap = task / p.u_blocks(), first = task % p.u_blocks() * 8;
    const int64_t last = first + 8 < p.U ? first + 8 : p.U;
    const OuterWalk walk = outer_walk(p, tap);
    for (int64_t c = 0; c < p.V;) {
      const int64_t left = p.V - c;
      const bool two = wide == 2 && left >= 2 * lanes;
      const float* v = p.v + walk.v0 + c;
      for (int64_t ch = first; ch < last;) {
        const float* u = p.u + walk.u0 + ch;
        float* dw = p.dw + tap * p.U * p.V + ch * p.u_stride + c * p.v_stride;
        const bool full = last - ch == 8;
        if (two)
          full ? outer_tile<2, 8>(p, walk, u, v, left, dw) : outer_tile<2, 1>(p, walk, u, v, left, dw);
        else
          full ? outer_tile<1, 8>(p, walk, u, v, left, dw) : outer_tile<1, 1>(p, walk, u, v, left, dw);
        ch += full ? 8 : 1;
      }
      c += two ? 2 * lanes : lanes;
    }
  }
}

/// sum[c] += the points [begin, end) of dy, in double from short sums in float.
inline void bias_run(const float* dy, int64_t C, int64_t begin, int64_t end, double* sum) {
  for (int64_t c = 0; c < C; c += lanes) {
    const int64_t left = C - c;
    for (int64_t first = begin; first < end; first += 256) {
      const int64_t last = first + 256 < end ? first + 256 : end;
      Vec part[4] = {};
      int64_t o = first;
      for (; o + 4 <= last; o += 4)
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) part[i] += load_first(dy + (o + i) * C + c, left);
      for (; o < last; ++o) part[0] += load_first(dy + o * C + c, left);
      const Vec all = (part[0] + part[1]) + (part[2] + part[3]);
      for (int l = 0; l < lanes && l < left; ++l) sum[c + l] += double(all[l]);
    }
  }
}

/// to[c * to_pitch + r] = from[r * from_pitch + c] for r < rows, c < columns.
inline void transpose_run(const float* from, int64_t from_pitch, float* to, int64_t to_pitch, int64_t rows,
                          int64_t columns) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    int64_t c = 0;
    for (; c + 4 <= columns; c += 4) {
      const float* f = from + r * from_pitch + c;
      const Quad a = load_quad(f), b = load_quad(f + from_pitch), d = load_quad(f + 2 * from_pitch),
                 e = load_quad(f + 3 * from_pitch);
      const Quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5),
                 de = __builtin_shufflevector(d, e, 0, 4, 1, 5);
      const Quad AB = __builtin_shufflevector(a, b, 2, 6, 3, 7),
                 DE = __builtin_shufflevector(d, e, 2, 6, 3, 7);
      float* y = to + c * to_pitch + r;
      store_quad(y, __builtin_shufflevector(ab, de, 0, 1, 4, 5));
      store_quad(y + to_pitch, __builtin_shufflevector(ab, de, 2, 3, 6, 7));
      store_quad(y + 2 * to_pitch, __builtin_shufflevector(AB, DE, 0, 1, 4, 5));
      store_quad(y + 3 * to_pitch, __builtin_shufflevector(AB, DE, 2, 3, 6, 7));
    }
    for (; c < columns; ++c)
      for (int64_t i = 0; i < 4; ++i) to[c * to_pitch + r + i] = from[(r + i) * from_pitch + c];
  }
  for (; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) to[c * to_pitch + r] = from[r * from_pitch + c];
}

/// out[o,b] = bias[b] + sum over a of in[o,a] w[b,a], A a multiple of 4, for points [begin, end).
inline void narrow_to_few(const float* in, const float* w, const float* bias, float* out, int64_t A,
                          int64_t B, int64_t begin, int64_t end) {
  for (int64_t b = 0; b < B; ++b, w += A) {
    const float start = bias ? bias[b] : 0.0f;
    int64_t o = begin;
    for (; o + 4 <= end; o += 4) {
      Quad v[4] = {};
      for (int64_t a = 0; a < A; a += 4)
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) v[i] += load_quad(in + (o + i) * A + a) * load_quad(w + a);
      const Quad sums = start + sum_quads(v[0], v[1], v[2], v[3]);
      for (int i = 0; i < 4; ++i) out[(o + i) * B + b] = sums[i];
    }
    for (; o < end; ++o) {
      Quad v = {};
      for (int64_t a = 0; a < A; a += 4) v += load_quad(in + o * A + a) * load_quad(w + a);
      out[o * B + b] = start + sum_quads(v, v, v, v)[0];  // the same order of sums as above
    }
  }
}

/// out[o,b] = bias[b] + sum over a of in[o,a] w[a,b], B a multiple of 4, for points [begin, end).
inline void narrow_from_few(const float* in, const float* w, const float* bias, float* out, int64_t A,
                            int64_t B, int64_t begin, int64_t end) {
  for (int64_t o = begin; o < end; ++o)
    for (int64_t b = 0; b < B; b += 4) {
      Quad v = bias ? load_quad(bias + b) : Quad{};
      for (int64_t a = 0; a < A; ++a) v += in[o * A + a] * load_quad(w + a * B + b);
      store_quad(out + o * B + b, v);
    }
}
