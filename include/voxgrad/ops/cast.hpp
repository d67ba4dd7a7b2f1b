// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Change of the floating type inside a graph.

#include "voxgrad/autograd/record.hpp"

namespace voxgrad {

/// x in another floating type, x itself when it has that already. The gradient is dy in x's type.
inline Tensor cast(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  return record("cast", x.to(dtype), {x},
                [from = x.dtype()](const Tensor& dy, Grads& grads) { grads.set(0, dy.to(from)); });
}

}  // namespace voxgrad
