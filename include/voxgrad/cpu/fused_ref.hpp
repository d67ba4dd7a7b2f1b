// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The fused convolution's parts as loops, for any float type: the definition, and the double-precision path.

#include "voxgrad/kernels/fused.hpp"

namespace voxgrad::cpu {

/// y[r * pitch + c] = the finished value of x[r, c].
template <class T>
void pending_value_ref(int64_t begin, int64_t end, const kernels::Pending& p, T* y, int64_t pitch) {
  const T* x = static_cast<const T*>(p.x);
  for (int64_t r = begin; r < end; ++r)
    for (int64_t c = 0; c < p.C; ++c) {
      const double a = p.scale ? p.scale[c] * double(x[r * p.C + c]) + p.shift[c] : double(x[r * p.C + c]);
      y[r * pitch + c] = T(a > 0 ? a : p.slope * a);
    }
}

/// da act' of element i, and its normalised value (z itself without normalisation).
template <class T>
struct PendingElement {
  double da, normalised;
  PendingElement(const kernels::PendingGradient& g, const T* da_in, int64_t i) {
    const int64_t c = i % g.C;
    const double z = double(static_cast<const T*>(g.z)[i]);
    normalised = g.gamma ? (z - g.mean[c]) * g.inv_std[c] : z;
    const double a = g.gamma ? double(static_cast<const T*>(g.gamma)[c]) * normalised + double(static_cast<const T*>(g.beta)[c]) : z;
    da = double(da_in[i]) * (a > 0 ? 1 : g.slope);
  }
};

template <class T>
void pending_sums_ref(const kernels::PendingGradient& g, const T* da) {
  for (int64_t c = 0; c < g.C; ++c) g.sum[c] = g.dot[c] = 0;
  for (int64_t i = 0; i < g.rows * g.C; ++i) {
    const PendingElement<T> e(g, da, i);
    g.sum[i % g.C] += e.da;
    g.dot[i % g.C] += e.da * e.normalised;
  }
}

/// da becomes dz in place.
template <class T>
void pending_gradient_ref(const kernels::PendingGradient& g, T* da) {
  for (int64_t i = 0; i < g.rows * g.C; ++i) {
    const int64_t c = i % g.C;
    const PendingElement<T> e(g, da, i);
    double dz = e.da;
    if (g.gamma) {
      if (g.batch_statistics) dz -= (g.sum[c] + e.normalised * g.dot[c]) / double(g.rows);
      dz *= double(static_cast<const T*>(g.gamma)[c]) * g.inv_std[c];
    }
    da[i] = T(dz);
  }
}

}  // namespace voxgrad::cpu
