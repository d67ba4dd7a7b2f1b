// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Dropout (Srivastava et al. 2014), in the form that keeps the mean.

#include "voxgrad/core/parallel.hpp"
#include "voxgrad/ops/pointwise.hpp"

namespace voxgrad {

/// y = x / (1 - rate) where a draw in [0, 1) is at least rate, else 0. Element i takes draw random.position() + i, so the
/// result depends on neither device nor threads; the generator is not advanced. dx = dy times the same factors.
inline Tensor dropout(const Tensor& x, double rate, const Random& random) {
  check<UsageError>(rate >= 0 && rate < 1, "dropout: the rate is ", rate, " (expected from 0 to below 1)");
  if (rate == 0) return x;
  check<DeviceError>(x.device().kind == DeviceKind::cpu, "dropout: only on the cpu so far");
  Tensor factor = empty_like(x);
  visit(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const auto to = factor.mutable_span<T>();
    const T kept = T(1 / (1 - rate));
    parallel_for(x.size(), 4096, [&](int64_t begin, int64_t end) {
      Random draws(random.seed(), random.stream(), random.position() + uint64_t(begin));
      for (int64_t i = begin; i < end; ++i) to[size_t(i)] = draws.uniform() < rate ? T(0) : kept;
    });
  });
  return x * factor;
}

}  // namespace voxgrad
