// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A loop that is unrolled however long its body is, as arrays need that are to stay in registers.

#include <utility>

#include "voxgrad/core/host_device.hpp"

namespace voxgrad::cuda {

/// f(0), f(1), ..., f(N - 1).
template <int N, class F>
VOXGRAD_HD inline void unrolled(const F& f) {
  [&]<int... i>(std::integer_sequence<int, i...>) { (f(i), ...); }(std::make_integer_sequence<int, N>{});
}

}  // namespace voxgrad::cuda
