// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The Gaussian error linear unit, a pointwise functor outside of UnaryList: only Keras models ask for it.

#include "voxgrad/kernels/pointwise.hpp"

namespace voxgrad::kernels {

struct Gelu {
  static constexpr const char* name = "gelu";
  static constexpr Reads reads = Reads::x;
  static constexpr double root_half = 0.70710678118654752, density = 0.39894228040143268;  // of the normal distribution at 0
  template <class T> VOXGRAD_HD static T normal(T x) { return T(0.5) * std::erfc(-x * T(root_half)); }  // 1 + erf cancels below 0
  template <class T> VOXGRAD_HD static T f(T x, Params) { return x * normal(x); }
  template <class T> VOXGRAD_HD static T df(T x, T, Params) { return normal(x) + x * T(density) * std::exp(T(-0.5) * x * x); }
};

}  // namespace voxgrad::kernels
