// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The end of a sum: partials of blocks, added in double and in a fixed order, into a place of a ring of losses.

#include "voxgrad/cuda/kernels/block_sum.hpp"
#include "voxgrad/cuda/kernels/optimizer_state.hpp"

namespace voxgrad::cuda {

/// `size` losses of the last steps: that of step i stands at i % size.
struct LossRing {
  float* values;
  int64_t size;
  const OptimizerState* state;  ///< whose iteration counts; null: the first place
  VOXGRAD_HD void put(double loss) const { values[state ? state->iteration % size : 0] = float(loss); }
};

/// ring <- scale * sum of partial.
struct FinishSum {
  static constexpr const char* name = "finish_sum";
  static constexpr int threads = 256, phases = 3;
  struct Args {
    int64_t count;
    const double* partial;
    double scale;
    LossRing ring;
  };
  using Shared = BlockSum<threads>;
  using Thread = Nothing;

  static int64_t blocks(const Args&) { return 1; }

  template <int phase>
  VOXGRAD_HD static void run(const Args& a, At at, Shared& s, Thread&) {
    if constexpr (phase == 0) s.put(at.thread, strided_sum(a.partial, a.count, 1, at.thread, threads));
    if constexpr (phase == 1) s.fold(at.thread);
    if constexpr (phase == 2)
      if (at.thread == 0) a.ring.put(a.scale * s.total());
  }
};

}  // namespace voxgrad::cuda
