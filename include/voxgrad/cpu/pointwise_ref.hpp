// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Pointwise ops as loops, for any float type: the definition, and the double-precision path.

#include "voxgrad/kernels/pointwise.hpp"

namespace voxgrad::cpu {

/// y[i] = f(x[i]).
template <class F, class T>
void unary_forward_ref(int64_t n, kernels::Params p, const T* x, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = F::f(x[i], p);
}

/// dx[i] = dy[i] * df(x[i], y[i]).
template <class F, class T>
void unary_backward_ref(int64_t n, kernels::Params p, const T* x, const T* y, const T* dy, T* dx) {
  for (int64_t i = 0; i < n; ++i) dx[i] = dy[i] * F::df(x[i], y[i], p);
}

}  // namespace voxgrad::cpu
