// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Contracts of reductions and of the pointwise losses that end in one number. Sums run in double and in a
// fixed order, so they do not depend on the thread count.

#include "voxgrad/kernels/pointwise.hpp"

namespace voxgrad::kernels {

struct ReduceProblem {
  DType dtype;
  Shape in;
  bool reduced[Shape::max_rank];  ///< which axes of `in` are summed away
};
struct ReduceTable {
  /// y = sum of x over the reduced axes; y holds the kept axes in order.
  void (*sum)(const ReduceProblem&, const void* x, void* y);
};
inline constinit Kernels<ReduceTable> reduce{"sum"};

// Losses between a prediction p and a target t: the term of one element and its derivative to p.
struct Mse {
  static constexpr const char* name = "mse_loss";
  template <class T> VOXGRAD_HD static constexpr T f(T p, T t) { return (p - t) * (p - t); }
  template <class T> VOXGRAD_HD static constexpr T df(T p, T t) { return T(2) * (p - t); }
};
struct MseWithLogits {  // p is a logit; (sigmoid(p) - t)^2
  static constexpr const char* name = "mse_with_logits_loss";
  template <class T> VOXGRAD_HD static T f(T p, T t) { return Mse::f(Sigmoid::f(p, Params{}), t); }
  template <class T> VOXGRAD_HD static T df(T p, T t) {
    const T s = Sigmoid::f(p, Params{});
    return Mse::df(s, t) * (s * (T(1) - s));
  }
};
struct BceWithLogits {  // p is a logit; max(p,0) - p t + log(1 + e^-|p|)
  static constexpr const char* name = "bce_with_logits_loss";
  template <class T> VOXGRAD_HD static T f(T p, T t) { return Softplus::f(p, Params{}) - p * t; }
  template <class T> VOXGRAD_HD static T df(T p, T t) { return Sigmoid::f(p, Params{}) - t; }
};
struct Bce {  // p is a probability; logs are cut at -100 as PyTorch does
  static constexpr const char* name = "bce_loss";
  template <class T> VOXGRAD_HD static T log_cut(T v) {
    const T l = std::log(v);
    return l < T(-100) ? T(-100) : l;
  }
  template <class T> VOXGRAD_HD static T f(T p, T t) { return -(t * log_cut(p) + (T(1) - t) * log_cut(T(1) - p)); }
  template <class T> VOXGRAD_HD static T df(T p, T t) {
    const T v = p * (T(1) - p);
    return (p - t) / (v < T(1e-12) ? T(1e-12) : v);
  }
};
using LossList = List<Mse, MseWithLogits, BceWithLogits, Bce>;

/// Both may be called from any thread, also inside of parallel work.
struct LossTable {
  /// Sum over i of f(p[i], t[i]), in double.
  double (*forward)(DType, int64_t n, const void* p, const void* t);
  /// dp[i] = scale * df(p[i], t[i]).
  void (*backward)(DType, int64_t n, double scale, const void* p, const void* t, void* dp);
};
template <class F>
inline constinit Kernels<LossTable> loss{F::name};

}  // namespace voxgrad::kernels
