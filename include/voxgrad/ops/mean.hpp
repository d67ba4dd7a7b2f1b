// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Mean over axes: a sum and a factor.

#include "voxgrad/ops/pointwise.hpp"

namespace voxgrad {

/// Mean over the given axes (all when none are given). NaN for an empty tensor.
inline Tensor mean(const Tensor& x, std::initializer_list<int> axes = {}) {
  const Tensor total = sum(x, axes);
  return total * (double(total.size()) / double(x.size()));
}

}  // namespace voxgrad
