// SPDX-License-Identifier: BSD-3-Clause

#include "fma_peak.hpp"

#include <algorithm>

#include "clocks.hpp"
#include "voxgrad/core/parallel.hpp"
#include "voxgrad/simd/isa.hpp"

#define VOXGRAD_INL "fma_peak.inl"
#include "voxgrad/simd/for_each_isa.hpp"

namespace voxgrad::app {

double fma_peak_gflops() {
  auto* run = by_isa(cpu::scalar::fma_chains, cpu::avx2::fma_chains, cpu::avx512::fma_chains);
  const int lanes = current_isa() == Isa::avx512 ? 16 : current_isa() == Isa::avx2 ? 8 : 4;
  const long steps = 500'000;  // some milliseconds
  const double gflop = 2e-9 * double(lanes) * cpu::scalar::peak_chains * double(steps) * threads();
  volatile float sink = 0;
  double best = 1e9;
  for (int trial = 0; trial < 16; ++trial) {
    const auto now = threads() == 1 ? cpu_seconds : wall_seconds;
    const double start = now();
    parallel_for(threads(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) sink = run(steps);
    });
    best = std::min(best, now() - start);
  }
  return gflop / best;
}

}  // namespace voxgrad::app
