// SPDX-License-Identifier: BSD-3-Clause
// Kernels of fused.hpp: reading raw values outside of a convolution.

namespace fused {

/// Eight finished channels c.. of the row x.
[[gnu::always_inline]] inline void finished(const float* x, const RawAct& act, int64_t c, Oct& v) {
  v = (*reinterpret_cast<const OctMemory*>(x + c) - *reinterpret_cast<const OctMemory*>(act.centre + c)) *
          *reinterpret_cast<const OctMemory*>(act.scale + c) +
      *reinterpret_cast<const OctMemory*>(act.offset + c);
  v = v > 0.0f ? v : v * act.slope;
}

/// y[r * pitch + c] = the finished x[r, c], C a multiple of 8, rows [begin, end).
inline void copy_finished(int64_t begin, int64_t end, int64_t C, const RawAct& act, const float* x, float* y,
                          int64_t pitch) {
  for (int64_t r = begin; r < end; ++r)
    for (int64_t c = 0; c < C; c += 8) {
      Oct v;
      finished(x + r * C, act, c, v);
      *reinterpret_cast<OctMemory*>(y + r * pitch + c) = v;
    }
}

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

/// Sums over rows [begin, end): dw[o, c] of a[r, c] dy[r, o], and db[o] of dy[r, o].
inline void head_weight(int64_t begin, int64_t end, int64_t C, int64_t Co, const RawAct& act, const float* x,
                        const float* dy, double* dw, double* db) {
  for (int64_t o = 0; o < Co; ++o) {
    for (int64_t c = 0; c < C; c += 8) {
      Oct sum[4] = {}, v;
      int64_t r = begin;
      for (; r + 4 <= end; r += 4)
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          finished(x + (r + i) * C, act, c, v);
          sum[i] += v * dy[(r + i) * Co + o];
        }
      for (; r < end; ++r) {
        finished(x + r * C, act, c, v);
        sum[0] += v * dy[r * Co + o];
      }
      const Oct all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
      for (int i = 0; i < 8; ++i) dw[o * C + c + i] += double(all[i]);
    }
    for (int64_t r = begin; r < end; ++r) db[o] += double(dy[r * Co + o]);
  }
}

}  // namespace fused
