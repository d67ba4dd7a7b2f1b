// SPDX-License-Identifier: BSD-3-Clause
// Kernels of fused.hpp: reading raw values outside of a convolution.

namespace fused {

typedef float Four __attribute__((vector_size(16)));
typedef float FourMemory __attribute__((vector_size(16), aligned(4), may_alias));
[[gnu::always_inline]] inline Four four(const float* p) { return *reinterpret_cast<const FourMemory*>(p); }

/// Eight finished channels, as two halves, from x.
[[gnu::always_inline]] inline void finished(const float* x, const PoolAct& act, int64_t c, Four& low, Four& high) {
  low = (four(x) - four(act.centre + c)) * four(act.scale + c) + four(act.offset + c);
  high = (four(x + 4) - four(act.centre + c + 4)) * four(act.scale + c + 4) + four(act.offset + c + 4);
  low = low > 0.0f ? low : low * act.slope;
  high = high > 0.0f ? high : high * act.slope;
}

/// y[r * pitch + c] = the finished x[r, c], C a multiple of 8, rows [begin, end).
inline void copy_finished(int64_t begin, int64_t end, int64_t C, const PoolAct& act, const float* x, float* y,
                          int64_t pitch) {
  for (int64_t r = begin; r < end; ++r)
    for (int64_t c = 0; c < C; c += 8) {
      Four low, high;
      finished(x + r * C + c, act, c, low, high);
      *reinterpret_cast<FourMemory*>(y + r * pitch + c) = low;
      *reinterpret_cast<FourMemory*>(y + r * pitch + c + 4) = high;
    }
}

/// A 1x1x1 convolution to few channels: y[r, o] = bias[o] + sum over c of a[r, c] w[o, c], rows [begin, end).
inline void head_forward(int64_t begin, int64_t end, int64_t C, int64_t Co, const PoolAct& act, const float* x,
                         const float* w, const float* bias, float* y) {
  int64_t r = begin;
  for (; r + 4 <= end; r += 4)
    for (int64_t o = 0; o < Co; ++o) {
      Four sum[4] = {};
      for (int64_t c = 0; c < C; c += 8) {
        const Four wl = four(w + o * C + c), wh = four(w + o * C + c + 4);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          Four low, high;
          finished(x + (r + i) * C + c, act, c, low, high);
          sum[i] += low * wl + high * wh;
        }
      }
      const Four s = sum_quads(sum[0], sum[1], sum[2], sum[3]);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) y[(r + i) * Co + o] = s[i] + bias[o];
    }
  for (; r < end; ++r)
    for (int64_t o = 0; o < Co; ++o) {
      Four sum = {}, low, high;
      for (int64_t c = 0; c < C; c += 8) {
        finished(x + r * C + c, act, c, low, high);
        sum += low * four(w + o * C + c) + high * four(w + o * C + c + 4);
      }
      y[r * Co + o] = sum_quads(sum, sum, sum, sum)[0] + bias[o];
    }
}

/// dw[o, c] += sums over rows [begin, end) of a[r, c] dy[r, o], for one block of 8 channels c and one o.
inline void head_weight(int64_t begin, int64_t end, int64_t C, int64_t Co, const PoolAct& act, const float* x,
                        const float* dy, double* dw, double* db) {
  for (int64_t o = 0; o < Co; ++o) {
    for (int64_t c = 0; c < C; c += 8) {
      Four l[2] = {}, h[2] = {}, low, high;
      int64_t r = begin;
      for (; r + 2 <= end; r += 2)
#pragma GCC unroll 2
        for (int i = 0; i < 2; ++i) {
          const float g = dy[(r + i) * Co + o];
          finished(x + (r + i) * C + c, act, c, low, high);
          l[i] += low * g;
          h[i] += high * g;
        }
      for (; r < end; ++r) {
        finished(x + r * C + c, act, c, low, high);
        l[0] += low * dy[r * Co + o];
        h[0] += high * dy[r * Co + o];
      }
      const Four a = l[0] + l[1], b = h[0] + h[1];
      for (int i = 0; i < 4; ++i) dw[o * C + c + i] += double(a[i]), dw[o * C + c + 4 + i] += double(b[i]);
    }
    for (int64_t r = begin; r < end; ++r) db[o] += double(dy[r * Co + o]);
  }
}

}  // namespace fused
