// SPDX-License-Identifier: BSD-3-Clause
// Kernels of head.hpp: a few dot products per row forward, everything that follows from their gradients backward.

namespace fused {

/// sum[i] = w . the finished row r + i of x, for i < 4.
[[gnu::always_inline]] inline void head_sums(const float* x, int64_t C, const RawAct& act, const float* w, Quad& sum) {
  Quad part[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    Oct v, all = {};
    for (int64_t c = 0; c < C; c += 8) {
      finished(x + i * C, act, c, v);
      all += v * *reinterpret_cast<const OctMemory*>(w + c);
    }
    part[i] = __builtin_shufflevector(all, all, 0, 1, 2, 3) + __builtin_shufflevector(all, all, 4, 5, 6, 7);
  }
  sum = sum_quads(part[0], part[1], part[2], part[3]);
}

/// sum[0] = w . one finished row, summed as head_sums does.
[[gnu::always_inline]] inline void head_row(const float* x, int64_t C, const RawAct& act, const float* w, Quad& sum) {
  Oct v, all = {};
  for (int64_t c = 0; c < C; c += 8) {
    finished(x, act, c, v);
    all += v * *reinterpret_cast<const OctMemory*>(w + c);
  }
  const Quad part = __builtin_shufflevector(all, all, 0, 1, 2, 3) + __builtin_shufflevector(all, all, 4, 5, 6, 7);
  sum = sum_quads(part, part, part, part);
}

/// A 1x1x1 convolution to few channels: y[r, o] = bias[o] + sum over c of a[r, c] w[o, c], rows [begin, end).
inline void head_forward(int64_t begin, int64_t end, int64_t C, int64_t Co, const RawAct& act, const float* x,
                         const float* w, const float* bias, float* y) {
  for (int64_t r = begin; r < end; r += 4)
    for (int64_t o = 0; o < Co; ++o) {
      Quad sum;
      if (r + 4 <= end) {
        head_sums(x + r * C, C, act, w + o * C, sum);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) y[(r + i) * Co + o] = sum[i] + bias[o];
      } else {
        for (int64_t i = r; i < end; ++i) {
          head_row(x + i * C, C, act, w + o * C, sum);
          y[i * Co + o] = sum[0] + bias[o];
        }
      }
    }
}

// Channels taken at once backward. Without AVX, choices between vectors of 8 are made float by float.
#if VOXGRAD_LANES == 4
typedef Quad HeadVec;
typedef QuadMemory HeadMemory;
#else
typedef Oct HeadVec;
typedef OctMemory HeadMemory;
#endif
constexpr int head_lanes = sizeof(HeadVec) / sizeof(float);

/// A vector of channels from c on of head_backward's rows [begin, end): dw[o, c] += a dy[o], da = sum over o of dy[o] w[o],
/// and of da act' the sums alone and times the normalised x.
template <int Co>
[[gnu::always_inline]] inline void head_backward_channels(int64_t begin, int64_t end, int64_t c, const HeadBackward& p,
                                                          const float* x, const float* dy, float* da, double* sums) {
  const HeadVec centre = *reinterpret_cast<const HeadMemory*>(p.act.centre + c),
            scale = *reinterpret_cast<const HeadMemory*>(p.act.scale + c),
            offset = *reinterpret_cast<const HeadMemory*>(p.act.offset + c), one = HeadVec{} + 1.0f,
            slope = HeadVec{} + p.act.slope, mean = *reinterpret_cast<const HeadMemory*>(p.mean + c),
            inv_std = *reinterpret_cast<const HeadMemory*>(p.inv_std + c), rest = *reinterpret_cast<const HeadMemory*>(p.rest + c);
  HeadVec w[Co], dw[Co] = {}, sum = {}, dot = {};
#pragma GCC unroll 4
  for (int o = 0; o < Co; ++o) w[o] = *reinterpret_cast<const HeadMemory*>(p.w + o * p.C + c);
  for (int64_t r = begin; r < end; ++r) {
    const HeadVec z = *reinterpret_cast<const HeadMemory*>(x + r * p.C + c), a = (z - centre) * scale + offset;
    const HeadVec kept = a > 0.0f ? one : slope, finished = a * kept;
    HeadVec d = dy[r * Co] * w[0];
    dw[0] += finished * dy[r * Co];
#pragma GCC unroll 4
    for (int o = 1; o < Co; ++o) {
      d += dy[r * Co + o] * w[o];
      dw[o] += finished * dy[r * Co + o];
    }
    if (da) *reinterpret_cast<HeadMemory*>(da + r * p.C + c) = d;
    d *= kept;
    sum += d;
    dot += d * ((z - mean) * inv_std + rest);
  }
  for (int i = 0; i < head_lanes; ++i) {
    for (int o = 0; o < Co; ++o) sums[o * p.C + c + i] += double(dw[o][i]);
    sums[Co * p.C + c + i] += double(sum[i]);
    sums[(Co + 1) * p.C + c + i] += double(dot[i]);
  }
}

/// Adds to `sums` over rows [begin, end): dw [Co, C], the norm's sum [C] and dot [C], db [Co]; writes da unless it is null.
template <int Co>
inline void head_backward_rows(int64_t begin, int64_t end, const HeadBackward& p, const float* x, const float* dy, float* da,
                               double* sums) {
  constexpr int64_t strip = 256;  // rows summed in float
  for (int64_t from = begin; from < end; from += strip) {
    const int64_t to = from + strip < end ? from + strip : end;
    for (int64_t c = 0; c < p.C; c += head_lanes) head_backward_channels<Co>(from, to, c, p, x, dy, da, sums);
    for (int o = 0; o < Co; ++o) {
      double part[4] = {};
      int64_t r = from;
      for (; r + 4 <= to; r += 4)
        for (int i = 0; i < 4; ++i) part[i] += double(dy[(r + i) * Co + o]);
      for (; r < to; ++r) part[0] += double(dy[r * Co + o]);
      sums[(Co + 2) * p.C + o] += (part[0] + part[1]) + (part[2] + part[3]);
    }
  }
}

inline void head_backward(int64_t begin, int64_t end, int64_t Co, const HeadBackward& p, const float* x, const float* dy,
                          float* da, double* sums) {
  if (Co == 1) head_backward_rows<1>(begin, end, p, x, dy, da, sums);
  else if (Co == 2) head_backward_rows<2>(begin, end, p, x, dy, da, sums);
  else if (Co == 3) head_backward_rows<3>(begin, end, p, x, dy, da, sums);
  else head_backward_rows<4>(begin, end, p, x, dy, da, sums);
}

}  // namespace fused
