// SPDX-License-Identifier: BSD-3-Clause
// Kernels of conv3d_winograd2d.hpp. Points along W as in conv3d_winograd.inl; along H 0, 1, -1 and infinity.
// Position i * 6 + j is point i along H and j along W.

/// Brings slice id of sample n into `slice` of the ring. `rows` holds a row before its transform, then four
/// rows after that along W, [row % 4][6][tile][8].
inline void winograd2d_bring(const Winograd2dPlan& p, const ConvInput& in, int64_t n, int64_t id, float* rows,
                             float* slice) {
  const int64_t line = p.across() * 8, position = p.position_size();
  float* const lines = rows + p.padded() * 8;
  for (int64_t c = 0; c < p.channel_blocks(); ++c) {
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
      winograd2d_bring(p, in, n, id, rows, ring + id % slots * p.ring_slice());
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
