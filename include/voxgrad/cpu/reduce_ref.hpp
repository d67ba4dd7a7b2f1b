// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Sums over axes and losses as loops, for any float type: the definition, and the double-precision path.

#include <vector>

#include "voxgrad/kernels/reduce.hpp"

namespace voxgrad::cpu {

/// y[kept...] = sum of x over the reduced axes, in double, in the order of x.
template <class T>
void sum_ref(const kernels::ReduceProblem& p, const T* x, T* y) {
  const int rank = p.in.rank();
  int64_t stride[Shape::max_rank] = {}, index[Shape::max_rank] = {}, outputs = 1;
  for (int axis = rank - 1; axis >= 0; --axis) {
    if (p.reduced[axis]) continue;
    stride[axis] = outputs;
    outputs *= p.in[axis];
  }
  std::vector<double> total(size_t(outputs), 0.0);
  int64_t o = 0;
  for (int64_t i = 0, n = p.in.size(); i < n; ++i) {
    total[size_t(o)] += double(x[i]);
    for (int axis = rank - 1; axis >= 0; --axis) {
      o += stride[axis];
      if (++index[axis] < p.in[axis]) break;
      o -= stride[axis] * p.in[axis];
      index[axis] = 0;
    }
  }
  for (int64_t i = 0; i < outputs; ++i) y[i] = T(total[size_t(i)]);
}

/// Sum over i of f(p[i], t[i]).
template <class F, class T>
double loss_forward_ref(int64_t n, const T* p, const T* t) {
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += double(F::f(p[i], t[i]));
  return total;
}

/// dp[i] = scale * df(p[i], t[i]).
template <class F, class T>
void loss_backward_ref(int64_t n, T scale, const T* p, const T* t, T* dp) {
  for (int64_t i = 0; i < n; ++i) dp[i] = scale * F::df(p[i], t[i]);
}

}  // namespace voxgrad::cpu
