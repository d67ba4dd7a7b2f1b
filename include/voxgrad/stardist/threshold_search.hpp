// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The probability threshold with the best score, for scores that are costly to compute: a golden-section search.

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "voxgrad/core/error.hpp"

namespace voxgrad::stardist {

struct ThresholdSearch {
  double threshold = 0;  ///< the best, within [max_prob / 2, max_prob]
  double end = 0;        ///< where the search ended before that: the value that the Python package stores
  double score = 0;
  std::vector<std::pair<double, double>> evaluated;  ///< (threshold, score) in the order of evaluation
};

/// Points and values of a bracket in order: the middle one is not above the others.
struct Bracket {
  std::array<double, 3> x, f;
};

/// Walks downhill from two points with growing steps until the function rises again; parabolas speed it up. The rules,
/// constants and limits are those of scipy.optimize.bracket, so that the same points are tried.
/// Errors: Error when the function still falls after 1000 steps.
template <class F>
Bracket bracket_minimum(F&& f, double xa, double xb) {
  constexpr double golden = 1.618034, tiny = 1e-21, limit = 110;
  double fa = f(xa), fb = f(xb);
  if (fa < fb) std::swap(xa, xb), std::swap(fa, fb);
  double xc = xb + golden * (xb - xa), fc = f(xc);
  for (int steps = 0; fc < fb; ++steps) {
    check<Error>(steps <= 1000, "threshold search: the score has no maximum");
    const double p = (xb - xa) * (fb - fc), q = (xb - xc) * (fb - fa), value = q - p;
    const double twice = 2 * (std::abs(value) < tiny ? tiny : value);
    double w = xb - ((xb - xc) * q - (xb - xa) * p) / twice, fw = 0;
    const double farthest = xb + limit * (xc - xb);
    if ((w - xc) * (xb - w) > 0) {
      fw = f(w);
      if (fw < fc) return {{xb, w, xc}, {fb, fw, fc}};
      if (fw > fb) return {{xa, xb, w}, {fa, fb, fw}};
      w = xc + golden * (xc - xb), fw = f(w);
    } else if ((w - farthest) * (farthest - xc) >= 0) {
      w = farthest, fw = f(w);
    } else if ((w - farthest) * (xc - w) > 0) {
      fw = f(w);
      if (fw < fc) {
        xb = xc, fb = fc, xc = w, fc = fw;
        w = xc + golden * (xc - xb), fw = f(w);
      }
    } else {
      w = xc + golden * (xc - xb), fw = f(w);
    }
    xa = xb, fa = fb, xb = xc, fb = fc, xc = w, fc = fw;
  }
  return {{xa, xb, xc}, {fa, fb, fc}};
}

/// Maximises score(threshold) where max_prob is the largest predicted probability. The score is asked for each threshold
/// once, and never outside of [max_prob / 2, max_prob], though the search runs over all numbers: these are the rules of the
/// Python package (minimize_scalar(method="golden") of SciPy up to 1.10 on clipped arguments), so that the same
/// thresholds are tried. Stops when the bracket is narrower than tolerance * (sum of its inner points).
/// Errors: UsageError for max_prob or tolerance outside of (0, 1], or a score that is not a number.
template <class Score>
ThresholdSearch search_threshold(Score&& score, double max_prob, double tolerance = 1e-2, int max_steps = 20) {
  check<UsageError>(max_prob > 0 && max_prob <= 1, "threshold search: the largest probability is ", max_prob,
                    " (expected above 0, up to 1). Did the network predict anything?");
  check<UsageError>(tolerance > 0 && tolerance <= 1, "threshold search: tolerance ", tolerance, " (expected above 0, up to 1)");
  ThresholdSearch found;
  const auto f = [&](double x) {
    const double t = std::clamp(x, max_prob / 2, max_prob);
    for (const auto& [known, value] : found.evaluated)
      if (known == t) return -value;
    const double value = double(score(t));
    check<UsageError>(!std::isnan(value), "threshold search: the score at ", t, " is not a number");
    found.evaluated.emplace_back(t, value);
    return -value;
  };
  const Bracket start = bracket_minimum(f, max_prob / 2, max_prob);
  constexpr double ratio = 0.61803399, rest = 1 - ratio;
  double x0 = start.x[0], x3 = start.x[2], x1 = start.x[1], x2 = start.x[1];
  if (std::abs(x3 - start.x[1]) > std::abs(start.x[1] - x0)) x2 = start.x[1] + rest * (x3 - start.x[1]);
  else x1 = start.x[1] - rest * (start.x[1] - x0);
  double f1 = f(x1), f2 = f(x2);
  for (int step = 0; step < max_steps && std::abs(x3 - x0) > tolerance * (std::abs(x1) + std::abs(x2)); ++step) {
    if (f2 < f1) {
      x0 = x1, x1 = x2, f1 = f2;
      x2 = ratio * x1 + rest * x3, f2 = f(x2);
    } else {
      x3 = x2, x2 = x1, f2 = f1;
      x1 = ratio * x2 + rest * x0, f1 = f(x1);
    }
  }
  found.end = f1 < f2 ? x1 : x2;
  found.score = -std::min(f1, f2);
  found.threshold = std::clamp(found.end, max_prob / 2, max_prob);
  return found;
}

}  // namespace voxgrad::stardist
