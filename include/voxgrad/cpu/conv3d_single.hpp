// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Convolutions of a single input channel, as the first layer of a network: the ring of conv3d_direct.hpp
// would carry seven empty channels. Its points hold one float here (or the two of a pair of rows); the
// forward tile is conv3d_direct's.

#include "voxgrad/cpu/conv3d_direct.hpp"

#define VOXGRAD_INL "voxgrad/cpu/conv3d_single.inl"
#include "voxgrad/simd/for_each_isa.hpp"

namespace voxgrad::cpu {

/// True where the ring of one channel serves: nothing is applied to the input on the way.
inline bool single_takes(const DirectPlan& p, const ConvInput& in) {
  return p.Ci == 1 && in.C[0] == 1 && !in.act[0].centre;
}

/// dw [27,1,Co] of a kernel of 3 x 3 x 3 from the sums of all chunks [block][27][lanes], added in their
/// order.
inline void single_weight_reduce(const DirectPlan& p, const float* S, int64_t chunks, float* dw) {
  const int64_t each = p.pair ? 2 : 1, size = p.blocks() * 27 * p.vector_lanes;
  for (int64_t k = 0; k < 27; ++k)
    for (int64_t co = 0; co < p.Co; ++co) {
      const float* at = S + (co / p.channels() * 27 + k) * p.vector_lanes + co % p.channels() * each;
      float sums[2] = {0, 0};
      for (int64_t i = 0; i < chunks; ++i)
        for (int64_t t = 0; t < each; ++t) sums[t] += at[i * size + t];
      dw[k * p.Co + co] = sums[0] + sums[1];
    }
}

}  // namespace voxgrad::cpu
