// SPDX-License-Identifier: BSD-3-Clause
// Multiply-adds in registers only: twelve independent chains, enough to fill two units with a latency of four cycles
// and few enough for sixteen registers.

typedef float PeakVector __attribute__((vector_size(4 * VOXGRAD_LANES)));
inline constexpr int peak_chains = 12;

/// Runs `steps` times 12 vector multiply-adds and returns a number that depends on all of them.
inline float fma_chains(long steps) {
  const PeakVector factor = PeakVector{} + 0.999999f, addend = PeakVector{} + 1e-6f;
  PeakVector a[peak_chains];
#pragma GCC unroll 12
  for (int i = 0; i < peak_chains; ++i) a[i] = PeakVector{} + float(i + 1);
  for (long s = 0; s < steps; ++s) {
#pragma GCC unroll 12
    for (int i = 0; i < peak_chains; ++i) a[i] = a[i] * factor + addend;
  }
  float total = 0;
#pragma GCC unroll 12
  for (int i = 0; i < peak_chains; ++i) total += a[i][0];
  return total;
}
