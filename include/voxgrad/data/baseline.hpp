// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Asymmetrically reweighted penalised least squares (arPLS): the slow baseline under a trace with peaks.
// Baek, Park, Ahn, Choo, Analyst 2015, 140, 250.

#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

namespace voxgrad::data {

/// lambda * D D^T for the second-difference operator D, as its three diagonals (row i: d[i], and the entries
/// one and two to the right). n >= 3.
inline std::array<std::vector<double>, 3> second_difference_penalty(size_t n, double lambda) {
  std::array<std::vector<double>, 3> k{std::vector<double>(n), std::vector<double>(n),
                                       std::vector<double>(n)};
  const double stencil[3] = {1, -2, 1};
  for (size_t j = 0; j + 2 < n; ++j)
    for (size_t a = 0; a < 3; ++a)
      for (size_t b = a; b < 3; ++b) k[b - a][j + a] += lambda * stencil[a] * stencil[b];
  return k;
}

/// Solves (diag(w) + K) z = w*y for the five-diagonal K of second_difference_penalty, by L D L^T.
inline std::vector<double> solve_penalised(const std::array<std::vector<double>, 3>& k,
                                           const std::vector<double>& w, const std::vector<double>& y) {
  const size_t n = y.size();
  std::vector<double> d(n), l1(n), l2(n), z(n);  // l1[i] = L(i,i-1), l2[i] = L(i,i-2)
  for (size_t i = 0; i < n; ++i) {
    l2[i] = i >= 2 ? k[2][i - 2] / d[i - 2] : 0;
    l1[i] = i >= 1 ? (k[1][i - 1] - (i >= 2 ? l2[i] * d[i - 2] * l1[i - 1] : 0)) / d[i - 1] : 0;
    d[i] = w[i] + k[0][i] - (i >= 1 ? l1[i] * l1[i] * d[i - 1] : 0) - (i >= 2 ? l2[i] * l2[i] * d[i - 2] : 0);
    z[i] = w[i] * y[i] - (i >= 1 ? l1[i] * z[i - 1] : 0) - (i >= 2 ? l2[i] * z[i - 2] : 0);
  }
  for (size_t i = 0; i < n; ++i) z[i] /= d[i];
  for (size_t i = n; i-- > 0;) {
    if (i + 1 < n) z[i] -= l1[i + 1] * z[i + 1];
    if (i + 2 < n) z[i] -= l2[i + 2] * z[i + 2];
  }
  return z;
}

/// Baseline of y. lambda: stiffness; ratio: relative change of the weights that ends the rounds (at most
/// 100). Traces of fewer than 3 points, where stiffness has no meaning, come back as they are. A round
/// without spread among the points below the baseline counts as converged.
inline std::vector<double> arpls_baseline(const std::vector<double>& y, double lambda, double ratio) {
  const size_t n = y.size();
  if (n < 3) return y;
  const auto k = second_difference_penalty(n, lambda);
  std::vector<double> w(n, 1.0), z;
  for (int round = 0; round < 100; ++round) {
    z = solve_penalised(k, w, y);
    double sum = 0, squares = 0;
    int64_t below = 0;
    for (size_t i = 0; i < n; ++i)
      if (y[i] < z[i]) sum += y[i] - z[i], ++below;
    const double mean = below > 0 ? sum / double(below) : 0;
    for (size_t i = 0; i < n; ++i)
      if (y[i] < z[i]) squares += (y[i] - z[i] - mean) * (y[i] - z[i] - mean);
    const double sigma = below > 0 ? std::sqrt(squares / double(below)) : 0;
    if (!(sigma > 0)) return z;
    double change = 0, norm = 0;
    for (size_t i = 0; i < n; ++i) {
      const double next = 1 / (1 + std::exp(2 * (y[i] - z[i] - (2 * sigma - mean)) / sigma));
      change += (w[i] - next) * (w[i] - next);
      norm += w[i] * w[i];
      w[i] = next;
    }
    if (std::sqrt(change) / std::sqrt(norm) < ratio) return z;
  }
  return z;
}

}  // namespace voxgrad::data
