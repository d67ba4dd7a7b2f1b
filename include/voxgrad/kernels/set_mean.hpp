// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Contract of weighted sums of functions of a logit over sets of voxels: what every positive-unlabeled risk is made of.
// One sweep gives all sums of a risk, a second one its gradient from one number per sum.

#include "voxgrad/kernels/pointwise.hpp"

namespace voxgrad::kernels {

// Functions of a logit z: the value and the derivative. `a` is a parameter that few of them have. The losses are the
// cost of calling a voxel positive whose score is z; calling it negative costs f(-z).
struct SigmoidLoss {
  static constexpr const char* name = "sigmoid";
  template <class T> VOXGRAD_HD static T f(T z, T) { return Sigmoid::f(-z, {}); }
  template <class T> VOXGRAD_HD static T df(T z, T) { return -Sigmoid::f(z, {}) * Sigmoid::f(-z, {}); }
};
struct RampLoss {
  static constexpr const char* name = "ramp";
  template <class T> VOXGRAD_HD static T f(T z, T) { return T(0.5) * (z < T(-1) ? T(2) : z > T(1) ? T(0) : T(1) - z); }
  template <class T> VOXGRAD_HD static T df(T z, T) { return z > T(-1) && z < T(1) ? T(-0.5) : T(0); }
};
struct ZeroOneLoss {  // 1/2 at 0; no gradient
  static constexpr const char* name = "zero_one";
  template <class T> VOXGRAD_HD static T f(T z, T) { return z < T(0) ? T(1) : z > T(0) ? T(0) : T(0.5); }
  template <class T> VOXGRAD_HD static T df(T, T) { return T(0); }
};
struct LogisticLoss {
  static constexpr const char* name = "logistic";
  template <class T> VOXGRAD_HD static T f(T z, T) { return Softplus::f(-z, {}); }
  template <class T> VOXGRAD_HD static T df(T z, T) { return -Sigmoid::f(-z, {}); }
};
struct SquaredLoss {
  static constexpr const char* name = "squared";
  template <class T> VOXGRAD_HD static T f(T z, T) { return T(0.25) * (z - T(1)) * (z - T(1)); }
  template <class T> VOXGRAD_HD static T df(T z, T) { return T(0.5) * (z - T(1)); }
};
struct DoubleHingeLoss {
  static constexpr const char* name = "double_hinge";
  template <class T> VOXGRAD_HD static T f(T z, T) { return z < T(-1) ? -z : z < T(1) ? T(0.5) - T(0.5) * z : T(0); }
  template <class T> VOXGRAD_HD static T df(T z, T) { return z < T(-1) ? T(-1) : z < T(1) ? T(-0.5) : T(0); }
};
struct HingeLoss {
  static constexpr const char* name = "hinge";
  template <class T> VOXGRAD_HD static T f(T z, T) { return z < T(1) ? T(1) - z : T(0); }
  template <class T> VOXGRAD_HD static T df(T z, T) { return z < T(1) ? T(-1) : T(0); }
};
struct BrierLoss {  // the squared error of the probability
  static constexpr const char* name = "brier";
  template <class T> VOXGRAD_HD static T f(T z, T) {
    const T s = Sigmoid::f(-z, {});
    return s * s;
  }
  template <class T> VOXGRAD_HD static T df(T z, T) {
    const T s = Sigmoid::f(-z, {});
    return T(-2) * Sigmoid::f(z, {}) * s * s;
  }
};
struct SavageLoss {  // Brier of the doubled logit
  static constexpr const char* name = "savage";
  template <class T> VOXGRAD_HD static T f(T z, T a) { return BrierLoss::f(z + z, a); }
  template <class T> VOXGRAD_HD static T df(T z, T a) { return T(2) * BrierLoss::df(z + z, a); }
};
struct FocalLoss {  // a: exponent; sigmoid(-z)^a as exp(-a softplus(z)), which never divides by nought
  static constexpr const char* name = "focal";
  template <class T> VOXGRAD_HD static T f(T z, T a) { return std::exp(-a * Softplus::f(z, {})) * Softplus::f(-z, {}); }
  template <class T> VOXGRAD_HD static T df(T z, T a) {
    return -std::exp(-a * Softplus::f(z, {})) * (a * Sigmoid::f(z, {}) * Softplus::f(-z, {}) + Sigmoid::f(-z, {}));
  }
};
struct Score {  // the probability
  static constexpr const char* name = "score";
  template <class T> VOXGRAD_HD static T f(T z, T) { return Sigmoid::f(z, {}); }
  template <class T> VOXGRAD_HD static T df(T z, T) { return Sigmoid::f(z, {}) * Sigmoid::f(-z, {}); }
};
struct ScoreVariance {  // s (1 - s)
  static constexpr const char* name = "score_variance";
  template <class T> VOXGRAD_HD static T f(T z, T) { return Sigmoid::f(z, {}) * Sigmoid::f(-z, {}); }
  template <class T> VOXGRAD_HD static T df(T z, T a) { return f(z, a) * (Sigmoid::f(-z, {}) - Sigmoid::f(z, {})); }
};
struct Entropy {  // of a coin that falls heads with probability s
  static constexpr const char* name = "entropy";
  template <class T> VOXGRAD_HD static T f(T z, T) {
    const T m = z < T(0) ? -z : z;
    return Softplus::f(-m, {}) + m * Sigmoid::f(-m, {});
  }
  template <class T> VOXGRAD_HD static T df(T z, T) { return -z * Sigmoid::f(z, {}) * Sigmoid::f(-z, {}); }
};
struct Logit {
  static constexpr const char* name = "logit";
  template <class T> VOXGRAD_HD static T f(T z, T) { return z; }
  template <class T> VOXGRAD_HD static T df(T, T) { return T(1); }
};
struct ShiftedScore {  // s e^-a: sums of scores below the range of a float, given the largest log score
  static constexpr const char* name = "shifted_score";
  template <class T> VOXGRAD_HD static T f(T z, T a) { return std::exp(-Softplus::f(-z, {}) - a); }
  template <class T> VOXGRAD_HD static T df(T z, T a) { return f(z, a) * Sigmoid::f(-z, {}); }
};

/// All of them; the enumerators below are their places in this list.
using SetFunctionList = List<SigmoidLoss, RampLoss, ZeroOneLoss, LogisticLoss, SquaredLoss, DoubleHingeLoss, HingeLoss, BrierLoss,
                             SavageLoss, FocalLoss, Score, ScoreVariance, Entropy, Logit, ShiftedScore>;
enum class SetFunction : uint8_t {
  sigmoid, ramp, zero_one, logistic, squared, double_hinge, hinge, brier, savage, focal, score, score_variance, entropy, logit,
  shifted_score, count
};

/// A function of the caller's: values and derivatives of n logits, in double. Host memory, called on several threads.
struct OwnFunction {
  void (*evaluate)(const void* self, int64_t n, const double* z, double* f, double* df);
  const void* self;
};

/// One sum: over the voxels whose class is in `set`, of weight * factor * f(z), or f(-z) when negated.
struct SetTerm {
  SetFunction function = SetFunction::sigmoid;
  bool negated = false;
  uint8_t set = 0;                   ///< classes, one bit each; a voxel of class 0 is in no set
  double a = 0;                      ///< parameter of the function
  const void* factor = nullptr;      ///< one number per voxel in the problem's dtype, or none
  const OwnFunction* own = nullptr;  ///< in place of `function`
};

struct SetMeanProblem {
  DType dtype;                   ///< of z, weight, factors and dz
  int64_t groups = 1, size = 0;  ///< every group of `size` consecutive voxels has sums of its own
  int terms = 0;
  const SetTerm* term = nullptr;
  const uint8_t* classes = nullptr;  ///< one bit or none per voxel
  const void* weight = nullptr;      ///< one number per voxel, or none
  const void* z = nullptr;
};

struct SetMeanTable {
  /// sums[group * terms + term], in double and in an order that depends on `size` alone. Returns the index of the first
  /// logit that is not finite (its sums mean nothing), or -1.
  int64_t (*forward)(const SetMeanProblem&, double* sums);
  /// dz = weight * (sum over the terms whose set has the voxel: coefficient[group * terms + term] * factor * slope);
  /// written in full. Terms with coefficient 0 cost nothing.
  void (*backward)(const SetMeanProblem&, const double* coefficient, void* dz);
};
inline constinit Kernels<SetMeanTable> set_mean{"set_mean"};

}  // namespace voxgrad::kernels
