// SPDX-License-Identifier: BSD-3-Clause
// Optimiser steps on vectors: every array is read once and written once.

namespace flat {

struct AdamVecs { Vec w, m, v; };

[[gnu::always_inline]] inline AdamVecs adam_step(const AdamNumbers& k, Vec w, Vec g, Vec m, Vec v) {
  g = g + k.decay * w;
  m = k.beta1 * m + k.rest1 * g;
  v = k.beta2 * v + k.rest2 * g * g;
  w = w * k.shrink - k.step_size * (m / (sqrt(v) * k.inv_sqrt_bc2 + k.eps));
  return {w, m, v};
}

/// Elements from the load to the prefetch in front of it: the hardware's own prefetch stops at every page of 4 KiB.
constexpr int ahead = 256;

inline void adam(int64_t n, const AdamNumbers& k, float* w, const float* g, float* m, float* v) {
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    __builtin_prefetch(w + i + ahead);
    __builtin_prefetch(g + i + ahead);
    __builtin_prefetch(m + i + ahead);
    __builtin_prefetch(v + i + ahead);
    const AdamVecs s = adam_step(k, load(w + i), load(g + i), load(m + i), load(v + i));
    store(w + i, s.w);
    store(m + i, s.m);
    store(v + i, s.v);
  }
  if (const int64_t r = n - i; r > 0) {
    const AdamVecs s =
        adam_step(k, load_part(w + i, r), load_part(g + i, r), load_part(m + i, r), load_part(v + i, r));
    store_part(w + i, s.w, r);
    store_part(m + i, s.m, r);
    store_part(v + i, s.v, r);
  }
}

}  // namespace flat
