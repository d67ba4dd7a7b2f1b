// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Sums over sets of voxels as loops, for any float type: the definition, and the double-precision path.

#include "voxgrad/kernels/set_mean.hpp"

namespace voxgrad::cpu {

/// One term on a run of voxels.
template <class T>
struct SetRun {
  int64_t n;
  const T* z;
  const uint8_t* classes;
  const T *weight, *factor;  ///< or null
  uint8_t set;
  bool negated;
  T a;

  bool has(int64_t i) const { return (classes[i] & set) != 0; }
  T scale(int64_t i) const { return (weight ? weight[i] : T(1)) * (factor ? factor[i] : T(1)); }
};

/// Sum over the set of weight * factor * f(+-z). Voxels outside are skipped, not multiplied by 0: their logits may be anything.
template <class F, class T>
double set_sum_ref(const SetRun<T>& r) {
  double total = 0;
  for (int64_t i = 0; i < r.n; ++i)
    if (r.has(i)) total += double(r.scale(i) * F::f(r.negated ? -r.z[i] : r.z[i], r.a));
  return total;
}

/// dz += coefficient * weight * factor * d/dz f(+-z) on the set.
template <class F, class T>
void set_slope_ref(const SetRun<T>& r, T coefficient, T* dz) {
  const T c = r.negated ? -coefficient : coefficient;
  for (int64_t i = 0; i < r.n; ++i)
    if (r.has(i)) dz[i] += c * r.scale(i) * F::df(r.negated ? -r.z[i] : r.z[i], r.a);
}

}  // namespace voxgrad::cpu
