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

/// y[i...] = f(a[i...], b[i...]) with broadcast strides.
template <class F, class T>
void binary_forward_ref(const kernels::BinaryProblem& p, const T* a, const T* b, T* y) {
  int64_t index[Shape::max_rank] = {}, ia = 0, ib = 0;
  for (int64_t i = 0, n = p.out.size(); i < n; ++i) {
    y[i] = F::f(a[ia], b[ib]);
    for (int axis = p.out.rank() - 1; axis >= 0; --axis) {
      ia += p.a_stride[axis];
      ib += p.b_stride[axis];
      if (++index[axis] < p.out[axis]) break;
      ia -= p.a_stride[axis] * p.out[axis];
      ib -= p.b_stride[axis] * p.out[axis];
      index[axis] = 0;
    }
  }
}

}  // namespace voxgrad::cpu
