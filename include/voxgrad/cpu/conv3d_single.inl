// SPDX-License-Identifier: BSD-3-Clause
// Weight gradient of conv3d_single.hpp: all sums of a vector of channels stay in registers.

/// S [KD][3][3][lanes] += sums over a slice of x[j] dy[j + pad - kw], for KD depth taps. x: ring slices
/// without left padding; dy: its vector of channels, `left` of them exist.
template <bool pair, int KD>
void single_weight_tile(const DirectPlan& p, const float* const* x, const float* dy, int64_t left, float* S) {
  constexpr int unit = pair ? 2 : 1;
  const int64_t W = p.in[2], oW = p.out[2], row = W * unit;
  Vec acc[KD][3][3] = {};
  for (int64_t r = 0; r < p.half; ++r) {
    const float* a = dy + r * oW * p.Co;
    const auto gradient = [&](int64_t q) {
      if (q < 0 || q >= oW) return Vec{};
#if VOXGRAD_LANES == 16
      if constexpr (pair) {
        const Half second =
            r + p.half < p.out[1] ? load_half_first(a + (p.half * oW + q) * p.Co, left) : Half{};
        return interleave(load_half_first(a + q * p.Co, left), second);
      }
#endif
      return load_first(a + q * p.Co, left);
    };
    Vec before = gradient(p.pad[2] - 2), here = gradient(p.pad[2] - 1);
    const float* xx[KD];
#pragma GCC unroll 3
    for (int kd = 0; kd < KD; ++kd) xx[kd] = x[kd] + r * row;
    for (int64_t j = 0; j < W; ++j) {
      const Vec after = gradient(j + p.pad[2]);
#pragma GCC unroll 3
      for (int kd = 0; kd < KD; ++kd)
#pragma GCC unroll 3
        for (int kh = 0; kh < 3; ++kh) {
          Vec b;
#if VOXGRAD_LANES == 16
          if constexpr (pair)
            b = splat_pair(xx[kd] + kh * row + j * unit);
          else
#endif
            b = splat(xx[kd][kh * row + j]);
          acc[kd][kh][0] = fma(b, after, acc[kd][kh][0]);
          acc[kd][kh][1] = fma(b, here, acc[kd][kh][1]);
          acc[kd][kh][2] = fma(b, before, acc[kd][kh][2]);
        }
      before = here;
      here = after;
    }
  }
#pragma GCC unroll 3
  for (int kd = 0; kd < KD; ++kd)
#pragma GCC unroll 3
    for (int kh = 0; kh < 3; ++kh)
#pragma GCC unroll 3
      for (int kw = 0; kw < 3; ++kw, S += lanes) store(S, load(S) + acc[kd][kh][kw]);
}

/// Sums of one chunk, output slices [begin, end) of N x oD, into S [block][27][lanes]; `ring` holds 3 slices
/// and one of zeros.
inline void single_weight_run(const DirectPlan& p, const float* x, const float* dy, const SliceHook& before,
                              int64_t begin, int64_t end, float* ring, float* S) {
  constexpr int depths = VOXGRAD_LANES == 16 ? 3 : 1;  // 27 sums need 32 registers
  const int64_t slice = p.in_rows() * p.in[2] * p.unit;
  zero_floats(S, p.blocks() * 27 * lanes);
  zero_floats(ring + 3 * slice, slice);
  int64_t sample = -1, next = 0;
  for (int64_t s = begin; s < end; ++s) {
    const int64_t n = s / p.out[0], d = s % p.out[0];
    const int64_t first = d - p.pad[0] < 0 ? 0 : d - p.pad[0];
    const int64_t last = d - p.pad[0] + 3 < p.in[0] ? d - p.pad[0] + 3 : p.in[0];
    for (int64_t id = n == sample && next > first ? next : first; id < last; ++id)
      single_slice(p, x + (n * p.in[0] + id) * p.in[1] * p.in[2], p.pad[1], 0, p.in_rows(), p.in[2],
                   ring + id % 3 * slice);
    sample = n, next = last;
    before(s);
    const float* slices[3];
    for (int64_t kd = 0; kd < 3; ++kd) {
      const int64_t id = d + kd - p.pad[0];
      slices[kd] = ring + (id < 0 || id >= p.in[0] ? 3 : id % 3) * slice;
    }
    for (int64_t b = 0; b < p.blocks(); ++b) {
      const int64_t c = b * p.channels();
      const float* from = dy + s * p.out[1] * p.out[2] * p.Co + c;
      for (int64_t kd = 0; kd < 3; kd += depths) {
        float* sums = S + (b * 27 + kd * 9) * lanes;
#if VOXGRAD_LANES == 16
        if (p.pair) {
          single_weight_tile<true, depths>(p, slices + kd, from, p.Co - c, sums);
          continue;
        }
#endif
        single_weight_tile<false, depths>(p, slices + kd, from, p.Co - c, sums);
      }
    }
  }
}
