// SPDX-License-Identifier: BSD-3-Clause
// Kernels of conv3d_winograd2d.hpp. Points along W as in conv3d_winograd.inl; along H 0, 1, -1 and infinity.
// Position i * 6 + j is point i along H and j along W.

/// Brings channel blocks [begin, end) of slice id of sample n into `slice` of the ring. `rows` holds a row
/// before its transform, then four rows after that along W, [row % 4][6][tile][8].
inline void winograd2d_bring(const Winograd2dPlan& p, const ConvInput& in, int64_t n, int64_t id,
                             int64_t begin, int64_t end, float* rows, float* slice) {
  const int64_t line = p.across() * 8, position = p.position_size();
  float* const lines = rows + p.padded() * 8;
  for (int64_t c = begin; c < end; ++c) {
    float* to = slice + c * p.channel_block();
    for (int64_t r = 0; r < 2 * p.down() + 2; ++r) {
      direct_row(p, in, n * p.in[0] + id, c * 8, r - p.pad[1], p.pad[2], p.padded(), rows);
      for (int64_t t = 0; t < line; t += 8) {
        Oct x[6], y[6];
#pragma GCC unroll 6
        for (int j = 0; j < 6; ++j) x[j] = *reinterpret_cast<const OctMemory*>(rows + t * 4 + j * 8);
        winograd_input(x, y);
#pragma GCC unroll 6
        for (int j = 0; j < 6; ++j) *reinterpret_cast<OctMemory*>(lines + (r % 4 * 6 + j) * line + t) = y[j];
      }
      if (r < 3 || r % 2 == 0) continue;  // rows r - 3 to r make a row of tiles
      for (int64_t j = 0; j < 6; ++j)
        for (int64_t t = 0; t < line; t += 8) {
          Oct x[4];
#pragma GCC unroll 4
          for (int i = 0; i < 4; ++i)
            x[i] = *reinterpret_cast<const OctMemory*>(lines + ((r + 1 + i) % 4 * 6 + j) * line + t);
          float* y = to + j * position + t;
          *reinterpret_cast<OctMemory*>(y) = x[0] - x[2];
          *reinterpret_cast<OctMemory*>(y + 6 * position) = x[1] + x[2];
          *reinterpret_cast<OctMemory*>(y + 12 * position) = x[2] - x[1];
          *reinterpret_cast<OctMemory*>(y + 18 * position) = x[1] - x[3];
        }
      to += line;
    }
    for (int64_t i = 0; i < p.positions; ++i)
      zero_floats(to + i * position, (p.tiles() - p.across() * p.down()) * 8);
  }
}

/// Weights of direct_weights' order (a block of output channels, Ci a multiple of 8) to
/// [position][kD][ci][lanes].
inline void winograd2d_weights(const Winograd2dPlan& p, const float* plain, float* to) {
  const int64_t L = p.lanes(), position = p.position_weights();
  for (int64_t kd = 0; kd < p.kernel[0]; ++kd)
    for (int64_t ci = 0; ci < p.Ci; ++ci, to += L)
      for (int64_t l = 0; l < L; l += lanes) {
        const float* from = plain + ((kd * p.Ci + ci / 8 * 8) * 3 + ci % 8) * 3 * L + l;
        Vec u[3][6];
        for (int64_t kh = 0; kh < 3; ++kh) {
          const float* row = from + kh * 8 * 3 * L;
          winograd_filter(load(row), load(row + L), load(row + 2 * L), u[kh]);
        }
        for (int64_t j = 0; j < 6; ++j) {
          const Vec even = 0.5f * (u[0][j] + u[2][j]), odd = 0.5f * u[1][j];
          store(to + j * position + l, u[0][j]);
          store(to + (6 + j) * position + l, even + odd);
          store(to + (12 + j) * position + l, even - odd);
          store(to + (18 + j) * position + l, u[2][j]);
        }
      }
}

/// Products of one position for M tiles x NV vectors, summed over channels and depth taps [from, to), the
/// first in ring slot `slot`.
template <int NV, int M>
[[gnu::always_inline]] inline void winograd2d_tile(const Winograd2dPlan& p, const float* ring, const float* w,
                                                   int64_t from, int64_t to, int64_t slot, float* sums) {
  Vec acc[M][NV] = {};
  w += from * p.Ci * NV * lanes;
  for (int64_t kd = from; kd < to; ++kd) {
    const float* x = ring + slot * p.ring_slice();
    slot = slot + 1 == p.slots() ? 0 : slot + 1;
    for (int64_t c8 = 0; c8 < p.Ci; c8 += 8, x += p.channel_block(), w += 8 * NV * lanes) {
      fetch_lines<M / 2>(x + M * 8);  // the next tiles
#pragma GCC unroll 8
      for (int ci = 0; ci < 8; ++ci) {
        Vec wv[NV];
#pragma GCC unroll 2
        for (int v = 0; v < NV; ++v) wv[v] = load(w + (ci * NV + v) * lanes);
#pragma GCC unroll 12
        for (int m = 0; m < M; ++m) {
          const Vec b = splat(x[m * 8 + ci]);
#pragma GCC unroll 2
          for (int v = 0; v < NV; ++v) acc[m][v] = fma(b, wv[v], acc[m][v]);
        }
      }
    }
  }
#pragma GCC unroll 12
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) store(sums + (m * NV + v) * lanes, acc[m][v]);
}

/// 24 sums of a tile to its two rows of four outputs, written where they exist.
inline void winograd2d_output(const Winograd2dPlan& p, const ConvOutput& out, int64_t s, int64_t tile,
                              int64_t c, const float* sums, Vec bias) {
  const int64_t apart = p.position_sums(), h = tile / p.across() * 2, ow = tile % p.across() * 4;
  Vec m[2][6];
#pragma GCC unroll 6
  for (int j = 0; j < 6; ++j) {
    const Vec a = load(sums + j * apart), b = load(sums + (6 + j) * apart), d = load(sums + (12 + j) * apart),
              e = load(sums + (18 + j) * apart);
    m[0][j] = a + b + d;
    m[1][j] = b - d - e;
  }
#pragma GCC unroll 2
  for (int r = 0; r < 2; ++r) {
    if (h + r >= p.out[1]) break;
    Vec y[4];
    winograd_outputs(m[r], bias, y);
    const RowTarget to = row_target(out, (s * p.out[1] + h + r) * p.out[2] + ow, c);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
      if (ow + i < p.out[2]) store_target(to, i, y[i]);
  }
}

/// Output slices [begin, end) of N x oD.
inline void winograd2d_run(const Winograd2dPlan& p, const ConvInput& in, const float* w, const float* bias,
                           const ConvOutput& out, int64_t begin, int64_t end, float* rows, float* ring,
                           float* sums) {
  constexpr int M = lanes == 16 ? 8 : 4;
  const int64_t L = p.lanes(), existing = p.across() * p.down(), slots = p.slots();
  int64_t sample = -1, next = 0;  // the ring holds slices of `sample` up to `next`
  for (int64_t s = begin; s < end;) {
    const int64_t n = s / p.out[0], d = s % p.out[0];
    int64_t length = p.out[0] - d < end - s ? p.out[0] - d : end - s;
    if (length > p.window()) length = p.window();
    // Taps of output slice o meet input slices from start(o) up to stop(o).
    const auto start = [&](int64_t o) { return o > p.pad[0] ? o - p.pad[0] : 0; };
    const auto stop = [&](int64_t o) {
      return o - p.pad[0] + p.kernel[0] < p.in[0] ? o - p.pad[0] + p.kernel[0] : p.in[0];
    };
    const int64_t last = stop(d + length - 1);
    struct Taps {
      int64_t from, to, slot;
    } taps[32 / M];  // of the window's slices
    for (int64_t o = 0; o < length; ++o)
      taps[o] = {start(d + o) + p.pad[0] - d - o, stop(d + o) + p.pad[0] - d - o, start(d + o) % slots};
    for (int64_t id = n == sample && next > start(d) ? next : start(d); id < last; ++id)
      winograd2d_bring(p, in, n, id, 0, p.channel_blocks(), rows, ring + id % slots * p.ring_slice());
    sample = n, next = last;
    for (int64_t t0 = 0; t0 < p.tiles(); t0 += p.block) {
      const int64_t t1 = t0 + p.block < p.tiles() ? t0 + p.block : p.tiles();
      for (int64_t b = 0; b < p.blocks(); ++b) {
        for (int64_t i = 0; i < p.positions; ++i) {
          const float* weights = w + (b * p.positions + i) * p.position_weights();
          float* to = sums + i * p.position_sums();
          for (int64_t o = 0; o < length; ++o)
            for (int64_t t = t0; t < t1; t += M, to += M * L)
              winograd2d_tile<2, M>(p, ring + i * p.position_size() + t * 8, weights, taps[o].from,
                                    taps[o].to, taps[o].slot, to);
        }
        const float* from = sums;
        for (int64_t o = 0; o < length; ++o)
          for (int64_t t = t0; t < t1; ++t, from += L)
            for (int64_t l = 0; l < L && t < existing && b * p.channels() + l < p.Co; l += lanes)
              winograd2d_output(p, out, s + o, t, b * p.channels() + l, from + l, load(bias + b * L + l));
      }
    }
    for (int64_t o = 0; o < length; ++o) out.done(s + o);
    s += length;
  }
}

/// Chooses the tiles, after direct_tiling.
inline void winograd2d_tiling(Winograd2dPlan& p) {
  p.vectors = 2, p.rows = 1;
  p.group = lanes == 16 ? 8 : 4;
  p.block = 32;
}

/// dy slice to [24 positions][block][tile][lanes of the block].
inline void winograd2d_gradient_slice(const Winograd2dPlan& p, const float* dy, float* to) {
  const int64_t H = p.out[1], W = p.out[2], L = p.lanes(), position = p.position_gradient();
  for (int64_t b = 0; b < p.blocks(); ++b)
    for (int64_t t = 0; t < p.tiles(); ++t)
      for (int64_t l = 0; l < L; l += lanes, to += lanes) {
        const int64_t c = b * p.channels() + l, h = t / p.across() * 2, ow = t % p.across() * 4;
        Vec y[2][6];
        for (int64_t r = 0; r < 2; ++r) {
          Vec x[4] = {};
          for (int64_t i = 0; i < 4 && ow + i < W && h + r < H && c < p.Co; ++i)
            x[i] = load_first(dy + ((h + r) * W + ow + i) * p.Co + c, p.Co - c);
          winograd_gradient(x, y[r]);
        }
        for (int64_t j = 0; j < 6; ++j) {
          store(to + j * position, y[0][j]);
          store(to + (6 + j) * position, y[0][j] + y[1][j]);
          store(to + (12 + j) * position, y[0][j] - y[1][j]);
          store(to + (18 + j) * position, -y[1][j]);
        }
      }
}

/// S [C][NV][lanes] += sums of x[tile] dy[tile] over the walk's slices and points, here tiles.
template <int NV, int C>
void winograd2d_weight_tile(const WeightWalk& walk, const float* x_slice, const float* dy_slice, float* S) {
  const int64_t tiles = walk.points;
  Vec acc[C][NV] = {};
  for (int64_t s = 0; s < walk.slices; ++s, x_slice += walk.x_slice, dy_slice += walk.dy_slice) {
    if (s == walk.until_wrap) x_slice -= walk.x_ring;
    const float *x = x_slice, *dy = dy_slice;
    for (int64_t t = 0; t < tiles; ++t, x += 8, dy += NV * lanes) {
      Vec y[NV];
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) y[v] = load(dy + v * lanes);
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) {
        const Vec b = splat(x[c]);
#pragma GCC unroll 2
        for (int v = 0; v < NV; ++v) acc[c][v] = fma(b, y[v], acc[c][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c)
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v, S += lanes) store(S, load(S) + acc[c][v]);
}

/// Sums of one chunk, output slices [begin, end), into S [channel block][block][kD][position][8][lanes of the
/// block], of its channel blocks [c_begin, c_end), as winograd_weight_run does.
inline void winograd2d_weight_run(const Winograd2dPlan& p, const ConvInput& x, const float* dy,
                                  const SliceHook& before, int64_t begin, int64_t end, int64_t c_begin,
                                  int64_t c_end, float* rows, float* ring, float* gradient, float* S) {
  const int64_t L = p.lanes(), slots = p.slots(), gradient_slice = p.positions * p.position_gradient();
  const int64_t block_sums = p.blocks() * p.kernel[0] * p.positions * 8 * L;
  zero_floats(S + c_begin * block_sums, (c_end - c_begin) * block_sums);
  int64_t sample = -1, next = 0;
  for (int64_t s = begin; s < end;) {
    const int64_t n = s / p.out[0], d = s % p.out[0];
    int64_t length = p.out[0] - d < end - s ? p.out[0] - d : end - s;
    if (length > p.window()) length = p.window();
    const int64_t first = d - p.pad[0] < 0 ? 0 : d - p.pad[0];
    const int64_t reach = d + length - 1 - p.pad[0] + p.kernel[0], last = reach < p.in[0] ? reach : p.in[0];
    for (int64_t id = n == sample && next > first ? next : first; id < last; ++id)
      winograd2d_bring(p, x, n, id, c_begin, c_end, rows, ring + id % slots * p.ring_slice());
    sample = n, next = last;
    for (int64_t i = 0; i < length; ++i) {
      before(s + i);
      winograd2d_gradient_slice(p, dy + (s + i) * p.out[1] * p.out[2] * p.Co, gradient + i * gradient_slice);
    }
    for (int64_t b = 0; b < p.blocks(); ++b)
      for (int64_t i = 0; i < p.positions; ++i)
        for (int64_t c8 = c_begin; c8 < c_end; ++c8)
          for (int64_t kd = 0; kd < p.kernel[0]; ++kd) {
            // Output d + j meets input shift + j.
            const int64_t shift = d + kd - p.pad[0], from = shift < 0 ? -shift : 0;
            const int64_t to = shift + length > p.in[0] ? p.in[0] - shift : length;
            if (to <= from) continue;
            const int64_t slot = (shift + from) % slots;
            const WeightWalk walk{
                to - from, slots - slot,         p.ring_slice(), slots * p.ring_slice(), gradient_slice, 1, 0,
                0,         p.across() * p.down()};
            const float* from_x =
                ring + slot * p.ring_slice() + i * p.position_size() + c8 * p.channel_block();
            const float* from_dy =
                gradient + from * gradient_slice + i * p.position_gradient() + b * p.tiles() * L;
            float* sums = S + (((c8 * p.blocks() + b) * p.kernel[0] + kd) * p.positions + i) * 8 * L;
            constexpr int C = lanes == 16 ? 8 : 4;  // 16 sums need more than 16 registers
            for (int c = 0; c < 8; c += C)
              winograd2d_weight_tile<2, C>(walk, from_x + c, from_dy, sums + c * L);
          }
    s += length;
  }
}

/// dw of channel blocks x kernel depths [begin, end): the chunks' sums added in order, then from 24 positions
/// to nine taps.
inline void winograd2d_weight_reduce(const Winograd2dPlan& p, const float* S, int64_t chunks, int64_t size,
                                     int64_t begin, int64_t end, float* dw) {
  const int64_t L = p.lanes();
  for (int64_t task = begin; task < end; ++task)
    for (int64_t b = 0; b < p.blocks(); ++b)
      for (int64_t at = 0; at < 8 * L; at += lanes) {
        const int64_t c8 = task / p.kernel[0], kd = task % p.kernel[0], co = b * p.channels() + at % L;
        if (co >= p.Co) continue;
        const float* sums = S + ((c8 * p.blocks() + b) * p.kernel[0] + kd) * p.positions * 8 * L + at;
        Vec m[3][6];
        for (int64_t j = 0; j < 6; ++j) {
          Vec u[4];
          for (int64_t i = 0; i < 4; ++i) {
            const float* from = sums + (i * 6 + j) * 8 * L;
            u[i] = load(from);
            for (int64_t k = 1; k < chunks; ++k) u[i] += load(from + k * size);
          }
          const Vec even = 0.5f * (u[1] + u[2]);
          m[0][j] = u[0] + even;
          m[1][j] = 0.5f * (u[1] - u[2]);
          m[2][j] = even + u[3];
        }
        for (int64_t kh = 0; kh < 3; ++kh) {
          Vec taps[3];
          winograd_taps(m[kh], taps);
          for (int64_t kw = 0; kw < 3; ++kw)
            store_first(dw + (((kd * 3 + kh) * 3 + kw) * p.Ci + c8 * 8 + at / L) * p.Co + co, taps[kw],
                        p.Co - co);
        }
      }
}
