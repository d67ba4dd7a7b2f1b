// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Jet: a number and its derivatives with respect to K others, carried along by arithmetic. Functions of a logit are written
// on Jet<1>, risks on a Jet with one place per mean, and neither needs a derivative by hand.

#include <array>
#include <cmath>

namespace voxgrad::pu {

template <int K>
struct Jet {
  double v = 0;                 ///< the value
  std::array<double, K> d = {};  ///< its derivatives

  constexpr Jet() = default;
  constexpr Jet(double value) : v(value) {}  // NOLINT: numbers are jets without derivatives
  /// The i-th variable itself.
  static constexpr Jet variable(double value, int i = 0, double derivative = 1) {
    Jet j(value);
    j.d[size_t(i)] = derivative;
    return j;
  }
  constexpr double value() const { return v; }

  /// g(this), given g and g' there.
  constexpr Jet chain(double value, double slope) const {
    Jet j(value);
    for (size_t k = 0; k < size_t(K); ++k) j.d[k] = d[k] == 0 ? 0 : slope * d[k];  // 0 * infinity is no derivative
    return j;
  }

  friend constexpr Jet operator+(const Jet& a, const Jet& b) {
    Jet j(a.v + b.v);
    for (size_t k = 0; k < size_t(K); ++k) j.d[k] = a.d[k] + b.d[k];
    return j;
  }
  friend constexpr Jet operator-(const Jet& a, const Jet& b) { return a + -b; }
  friend constexpr Jet operator-(const Jet& a) { return a.chain(-a.v, -1); }
  friend constexpr Jet operator*(const Jet& a, const Jet& b) {
    Jet j(a.v * b.v);
    for (size_t k = 0; k < size_t(K); ++k) j.d[k] = a.d[k] * b.v + b.d[k] * a.v;
    return j;
  }
  friend constexpr Jet operator/(const Jet& a, const Jet& b) { return a * b.chain(1 / b.v, -1 / (b.v * b.v)); }
  constexpr Jet& operator+=(const Jet& b) { return *this = *this + b; }
  constexpr Jet& operator-=(const Jet& b) { return *this = *this - b; }
  constexpr Jet& operator*=(const Jet& b) { return *this = *this * b; }
  /// Comparisons are of values.
  friend constexpr bool operator<(const Jet& a, const Jet& b) { return a.v < b.v; }
  friend constexpr bool operator>(const Jet& a, const Jet& b) { return a.v > b.v; }
  friend constexpr bool operator<=(const Jet& a, const Jet& b) { return a.v <= b.v; }
  friend constexpr bool operator>=(const Jet& a, const Jet& b) { return a.v >= b.v; }

  friend Jet exp(const Jet& a) { return a.chain(std::exp(a.v), std::exp(a.v)); }
  friend Jet log(const Jet& a) { return a.chain(std::log(a.v), 1 / a.v); }
  friend Jet log1p(const Jet& a) { return a.chain(std::log1p(a.v), 1 / (1 + a.v)); }
  friend Jet sqrt(const Jet& a) { return a.chain(std::sqrt(a.v), 0.5 / std::sqrt(a.v)); }
  friend Jet tanh(const Jet& a) { return a.chain(std::tanh(a.v), 1 - std::tanh(a.v) * std::tanh(a.v)); }
  friend Jet pow(const Jet& a, double p) { return a.chain(std::pow(a.v, p), p * std::pow(a.v, p - 1)); }
  friend Jet abs(const Jet& a) { return a.chain(std::abs(a.v), a.v > 0 ? 1 : a.v < 0 ? -1 : 0); }
  /// The larger one; the first of equals.
  friend constexpr Jet max(const Jet& a, const Jet& b) { return a.v < b.v ? b : a; }
  friend constexpr Jet min(const Jet& a, const Jet& b) { return b.v < a.v ? b : a; }
  /// 1 / (1 + e^-a) and log(1 + e^a), without overflow.
  friend Jet sigmoid(const Jet& a) {
    const double e = std::exp(-std::abs(a.v)), s = (a.v < 0 ? e : 1) / (1 + e);
    return a.chain(s, s * ((a.v < 0 ? 1 : e) / (1 + e)));
  }
  friend Jet softplus(const Jet& a) {
    const double e = std::exp(-std::abs(a.v));
    return a.chain((a.v > 0 ? a.v : 0) + std::log1p(e), (a.v < 0 ? e : 1) / (1 + e));
  }
};

/// Of a function of one logit.
using Dual = Jet<1>;
/// Of a risk: one derivative per sum, which is what a sweep that writes the gradient needs.
inline constexpr int max_terms = 16;
using Value = Jet<max_terms>;

}  // namespace voxgrad::pu
