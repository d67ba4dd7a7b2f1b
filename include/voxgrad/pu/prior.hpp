// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Class priors: which share of voxels is positive. All estimators on scores look for the largest share of positives that could hide in
// U, so they are upper bounds, which equal the prior where some scores belong to positives alone. Use held-out events: a network's
// scores of the voxels it was trained on are too high, and the estimate then too low.

#include <optional>

#include "voxgrad/pu/scores.hpp"

namespace voxgrad::pu {

// ---- which prior is which: `prior` is that of everything, alpha the share of everything that is labelled

/// Share of positives among the unlabeled voxels alone. Errors: UsageError unless alpha <= prior < 1.
inline double prior_of_unlabeled(double prior, double alpha) {
  check<UsageError>(prior > 0 && prior < 1 && alpha >= 0 && alpha <= prior, "prior_of_unlabeled: prior is ", prior, ", alpha is ", alpha,
                    " (expected 0 <= alpha <= prior < 1: labelled voxels are positive)");
  return (prior - alpha) / (1 - alpha);
}
/// Share of positives in everything, given that among the unlabeled. Errors: UsageError for values outside 0 to 1.
inline double prior_of_everything(double prior_u, double alpha) {
  check<UsageError>(prior_u >= 0 && prior_u <= 1 && alpha >= 0 && alpha <= 1, "prior_of_everything: prior_u is ", prior_u, ", alpha is ",
                    alpha, " (expected 0 to 1)");
  return alpha + (1 - alpha) * prior_u;
}
/// Prior of batches of one event-centred crop (positive share `centred`) to `ratio` random crops (positive share `random`).
/// Errors: UsageError.
inline double mixture_prior(double ratio, double centred, double random) {
  check<UsageError>(ratio >= 0 && std::isfinite(ratio), "mixture_prior: ratio is ", ratio, " (expected 0 or above)");
  for (double p : {centred, random})
    check<UsageError>(p >= 0 && p <= 1, "mixture_prior: a positive share is ", p, " (expected 0 to 1)");
  const double a = 1 / (1 + ratio);
  return a * centred + (1 - a) * random;
}

/// An estimate of the prior, with what is known of its uncertainty.
struct PriorEstimate {
  double prior = 0, low = 0, high = 1;  ///< clipped to [0, 1]
  double threshold = 0;                 ///< the score at which it was read, where there is one
  double raw = 0;                       ///< before clipping
};
inline PriorEstimate clipped(double raw, double low, double high, double threshold = 0) {
  const auto clip = [](double v) { return std::min(1.0, std::max(0.0, v)); };
  return {clip(raw), clip(low), clip(high), threshold, raw};
}

/// How far a share may be from its true value, for a choice of threshold. The published bound is the same at every threshold, about
/// 1 / sqrt(n): with 60 events 0.18, beside which a prior of 0.005 is nothing, and the lowest threshold wins. Bernstein's bound shrinks with
/// the share.
enum class BbeBound : uint8_t {
  uniform,  ///< as published
  relative  ///< for rare positives and few events
};

struct BbeOptions {
  double gamma = 0.01, delta = 0.1;  ///< as published; the interval holds with probability 1 - delta
  double effective_positives = 0;    ///< independent values: held-out events, crops times (crop volume / correlation volume);
  double effective_unlabeled = 0;    ///< 0 takes every voxel for one, which leaves nothing but noise in the top bins
  BbeBound bound = BbeBound::uniform;
};
struct BbePoint {
  double threshold, ratio, bound;  ///< q_U / q_P at or above the threshold, and its upper confidence bound
  double low = 0;                  ///< the lower one
};

/// Bernstein's bound on the distance of a share q, measured on n independent values, from the true one; each side holds with 1 - delta / 4.
inline double bernstein(double q, double n, double delta) {
  const double l = std::log(4 / delta);
  return std::sqrt(2 * std::max(0.0, q * (1 - q)) * l / n) + l / (3 * n);
}

/// Best-bin estimation (Garg et al. 2021): the ratio of the shares of U and of P above a threshold, at the threshold with the lowest upper
/// bound. Estimates the prior among U. curve, if given, receives every candidate. Errors: UsageError without enough scores.
inline PriorEstimate bbe(const ScoreTable& t, const BbeOptions& o = {}, std::vector<BbePoint>* curve = nullptr) {
  check_scores("bbe", t);
  check<UsageError>(o.delta > 0 && o.delta < 1 && o.gamma >= 0, "bbe: delta is ", o.delta, ", gamma is ", o.gamma,
                    " (expected delta in (0, 1), gamma 0 or above)");
  const double n_p = o.effective_positives > 0 ? o.effective_positives : t.positive;
  const double n_u = o.effective_unlabeled > 0 ? o.effective_unlabeled : t.unlabeled;
  const double width = (1 + o.gamma) * (std::sqrt(std::log(4 / o.delta) / (2 * n_u)) + std::sqrt(std::log(4 / o.delta) / (2 * n_p)));
  double p = 0, u = 0;
  std::optional<BbePoint> best;
  for (const ScoreRow& r : t.rows) {
    p += r.positive;
    u += r.unlabeled;
    if (r.unlabeled == 0 || p < 2 || u < 2) continue;
    const double q_p = p / t.positive, q_u = u / t.unlabeled, ratio = q_u / q_p;
    BbePoint point{r.threshold, ratio, ratio + width / q_p, ratio - width / q_p};
    if (o.bound == BbeBound::relative) {
      const double off_p = bernstein(q_p, n_p, o.delta), off_u = bernstein(q_u, n_u, o.delta);
      if (q_p <= off_p) continue;
      point.bound = (q_u + off_u) / (q_p - off_p);
      point.low = (q_u - off_u) / std::min(1.0, q_p + off_p);
    }
    if (curve) curve->push_back(point);
    if (!best || point.bound < best->bound) best = point;
  }
  check<UsageError>(best.has_value(), "bbe: no threshold has two labelled and two unlabeled voxels at or above it",
                    o.bound == BbeBound::relative ? ", or there are too few events" : "");
  return clipped(best->ratio, best->low, best->bound, best->threshold);
}

/// What a network trained to tell labelled from unlabeled (a proper loss, no resampling of crops) says of the label frequency c, the share
/// of positives that are labelled (Elkan and Noto 2008): the prior of everything is alpha / c.
struct ElkanNoto {
  double c1, c2, c3;          ///< mean score of P; sum of scores of P over that of all; largest score (an extreme value: avoid)
  double prior1, prior2, prior3;
  double prior_u;             ///< mean score of U over that of P: too high unless negatives score 0
  bool clipped;               ///< a prior above 1 was cut
};
/// Errors: UsageError without scores, or with labelled scores of 0.
inline ElkanNoto elkan_noto(const ScoreTable& t) {
  check_scores("elkan_noto", t);
  const double g_p = t.mean_positive() * t.positive, g_u = t.mean_unlabeled() * t.unlabeled;
  check<UsageError>(g_p > 0, "elkan_noto: scores: the mean score of the labelled voxels is ", g_p / t.positive, " (expected above 0)");
  ElkanNoto e{g_p / t.positive, g_p / (g_p + g_u), t.rows.front().score, 0, 0, 0, (g_u / t.unlabeled) / (g_p / t.positive), false};
  for (auto [c, prior] : {std::pair{e.c1, &e.prior1}, std::pair{e.c2, &e.prior2}, std::pair{e.c3, &e.prior3}}) {
    e.clipped = e.clipped || t.alpha() / c > 1;
    *prior = std::min(1.0, t.alpha() / c);
  }
  return e;
}

struct Tice {
  double c, prior;  ///< a lower bound of the label frequency, and alpha / c: an upper estimate of the prior of everything
  double delta, threshold;
};
/// TIcE on the axis of scores (Bekker and Davis 2018): the purest tail of the scores of one set, less its uncertainty. per_unit: voxels that
/// make one independent value. Errors: UsageError without scores or without a tail of ten values that has a label.
inline Tice tice(const ScoreTable& t, double per_unit = 1) {
  check_scores("tice", t);
  check<UsageError>(std::isfinite(per_unit) && per_unit >= 1, "tice: per_unit is ", per_unit, " (expected 1 or above)");
  const double n = (t.positive + t.unlabeled) / per_unit;
  Tice result{0.5, 0, std::max(0.025, 1 / (1 + 0.004 * n)), 0};
  for (int round = 0; round < 2; ++round) {
    double best = 0, p = 0, k = 0, at = 0;
    for (const ScoreRow& r : t.rows) {
      p += r.positive / per_unit;
      k += (r.positive + r.unlabeled) / per_unit;
      if (k < 10) continue;
      const double bound = p / k - std::sqrt(result.c * (1 - result.c) * (1 - result.delta) / (result.delta * k));
      if (bound > best) best = bound, at = r.threshold;
    }
    check<UsageError>(best > 0, "tice: scores: no tail of ten values says that any positive is labelled (too few, or not separated)");
    result.c = best;
    result.threshold = at;
  }
  result.prior = std::min(1.0, t.alpha() / result.c);
  return result;
}

struct ShiftedPrior {
  double prior;
  int iterations;
  bool converged;
};
/// The prior of U under which calibrated probabilities, made for prior `from`, average to it (Saerens et al. 2002): for another movie.
/// Errors: UsageError for a prior outside (0, 1), or scores outside 0 to 1.
inline ShiftedPrior shift_prior(const ScoreTable& t, double from, int most = 10000) {
  check<UsageError>(t.unlabeled > 0, "shift_prior: scores: no unlabeled voxel");
  check<UsageError>(from > 0 && from < 1, "shift_prior: from is ", from, " (expected above 0 and below 1)");
  check<UsageError>(t.rows.front().score <= 1 && t.rows.back().score >= 0, "shift_prior: scores: from ", t.rows.back().score, " to ",
                    t.rows.front().score, " (expected probabilities)");
  ShiftedPrior s{from, 0, false};
  while (s.iterations < most && !s.converged) {
    const double up = s.prior / from, down = (1 - s.prior) / (1 - from);
    double total = 0;
    for (const ScoreRow& r : t.rows) {
      const double yes = up * r.score, no = down * (1 - r.score);
      if (yes + no > 0) total += r.unlabeled * yes / (yes + no);
    }
    const double next = total / t.unlabeled;
    s.converged = std::abs(next - s.prior) < 1e-12;
    s.prior = next;
    ++s.iterations;
  }
  return s;
}

struct PeL1 {
  double prior;
  std::vector<double> objective;  ///< for each share of the grid
};
/// Penalised L1 divergence between share * P and U on Gaussian bumps over the scores (du Plessis et al. 2015), minimised over a grid of
/// shares. Errors: UsageError.
inline PeL1 pe_l1(const ScoreTable& t, const std::vector<double>& centers = {0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95},
                  double sigma = 0.1, double lambda = 0.01, int steps = 100) {
  check_scores("pe_l1", t);
  check<UsageError>(sigma > 0 && lambda > 0 && steps > 1 && !centers.empty(), "pe_l1: sigma ", sigma, ", lambda ", lambda, ", steps ", steps,
                    " (expected above 0, 0 and 1, and at least one center)");
  std::vector<std::pair<double, double>> means;  // of a bump over P and over U
  for (double c : centers) {
    double p = 0, u = 0;
    for (const ScoreRow& r : t.rows) {
      const double bump = std::exp(-(r.score - c) * (r.score - c) / (2 * sigma * sigma));
      p += bump * r.positive / t.positive;
      u += bump * r.unlabeled / t.unlabeled;
    }
    means.emplace_back(p, u);
  }
  PeL1 result{1, {}};
  double best = 0;
  for (int i = 1; i < steps; ++i) {
    const double share = double(i) / steps;
    double value = 1 - share;
    for (auto [p, u] : means) {
      const double b = share * p - u;
      value += std::max(0.0, b) * b / lambda;
    }
    if (i == 1 || value < best) best = value, result.prior = share;
    result.objective.push_back(value);
  }
  return result;
}

/// Inverse of the upper q quantile of the density ratios f_P / f_U at the unlabeled voxels, at most 1. Errors: UsageError.
inline double ratio_prior(std::vector<double> ratios, double q = 0.05) {
  check<UsageError>(!ratios.empty() && q > 0 && q < 1, "ratio_prior: ", ratios.size(), " ratios, q ", q, " (expected some, and q in (0, 1))");
  const auto at = ratios.begin() + std::min(std::ptrdiff_t(ratios.size()) - 1, std::ptrdiff_t((1 - q) * double(ratios.size())));
  std::nth_element(ratios.begin(), at, ratios.end());
  return 1 / std::max(1.0, *at);
}

/// From an audit of random crops annotated completely: events of these sizes (voxels) were found in `voxels` voxels. The interval is two
/// standard errors sqrt(sum of squared sizes) / voxels: 25 events know the prior to 20 to 30 %. Errors: UsageError.
inline PriorEstimate audited_prior(const std::vector<double>& sizes, double voxels) {
  check<UsageError>(voxels > 0, "audited_prior: voxels is ", voxels, " (expected above 0)");
  double sum = 0, square = 0;
  for (double v : sizes) {
    check<UsageError>(v > 0 && v <= voxels, "audited_prior: a size is ", v, " (expected above 0, and no more than the ", voxels, " voxels)");
    sum += v;
    square += v * v;
  }
  const double prior = sum / voxels, error = std::sqrt(square) / voxels;
  return clipped(prior, prior - 2 * error, prior + 2 * error);
}

struct DoubleAnnotation {
  double events, error;  ///< estimated number of true events, and its standard error
  double frequency;      ///< share of them that the first annotator marked
};
/// Two annotators mark n1 and n2 events, `common` of them the same (Chapman's estimate): dim events are missed by both, so `events` is a
/// floor. Errors: UsageError.
inline DoubleAnnotation double_annotation(double n1, double n2, double common) {
  check<UsageError>(common >= 0 && common <= n1 && common <= n2, "double_annotation: ", n1, " and ", n2, " events with ", common,
                    " in common (expected no more than either)");
  const double events = (n1 + 1) * (n2 + 1) / (common + 1) - 1;
  const double variance = (n1 + 1) * (n2 + 1) * (n1 - common) * (n2 - common) / ((common + 1) * (common + 1) * (common + 2));
  return {events, std::sqrt(variance), events > 0 ? n1 / events : 0};
}

}  // namespace voxgrad::pu
