// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Scores of labelled and of unlabeled voxels, counted: what class priors, thresholds and measures without negatives are computed from.
// A few scores are kept as they are; millions are counted in 65536 bins of the logit, in one sweep and in fixed memory.

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "voxgrad/pu/labels.hpp"

namespace voxgrad::pu {

/// Voxels that share a score. "At or above the threshold" takes in this row and all before it.
struct ScoreRow {
  double threshold;             ///< the score, or the lower edge of its bin
  double score;                 ///< the score, or the middle of its bin
  double positive, unlabeled;   ///< weights of the voxels: counts, unless they are weighted
};

/// Rows in falling order of score, all of them non-empty.
struct ScoreTable {
  std::vector<ScoreRow> rows;
  double positive = 0, unlabeled = 0;  ///< totals

  /// Share of all voxels that are labelled.
  double alpha() const { return positive / (positive + unlabeled); }
  /// Mean score of a class.
  double mean_positive() const { return sum(&ScoreRow::positive) / positive; }
  double mean_unlabeled() const { return sum(&ScoreRow::unlabeled) / unlabeled; }

 private:
  double sum(double ScoreRow::*weight) const {
    double total = 0;
    for (const ScoreRow& r : rows) total += r.*weight * r.score;
    return total;
  }
};

/// Refuses to estimate from nothing. Errors: UsageError.
inline void check_scores(const char* what, const ScoreTable& t) {
  check<UsageError>(t.positive > 0, what, ": scores: no labelled voxel (needs held-out labelled events)");
  check<UsageError>(t.unlabeled > 0, what, ": scores: no unlabeled voxel");
}

/// The table of given scores, one row per distinct one. Errors: UsageError names the first score that is not finite.
inline ScoreTable score_table(const std::vector<double>& positive, const std::vector<double>& unlabeled) {
  std::vector<ScoreRow> all;
  const auto add = [&](const char* name, const std::vector<double>& scores, double p, double u) {
    for (size_t i = 0; i < scores.size(); ++i) {
      check<UsageError>(std::isfinite(scores[i]), "score_table: ", name, ": score ", i, " is ", scores[i]);
      all.push_back({scores[i], scores[i], p, u});
    }
  };
  add("positive", positive, 1, 0);
  add("unlabeled", unlabeled, 0, 1);
  std::sort(all.begin(), all.end(), [](const ScoreRow& a, const ScoreRow& b) { return a.score > b.score; });
  ScoreTable t{{}, double(positive.size()), double(unlabeled.size())};
  for (const ScoreRow& r : all) {
    if (t.rows.empty() || t.rows.back().score != r.score) t.rows.push_back({r.score, r.score, 0, 0});
    t.rows.back().positive += r.positive;
    t.rows.back().unlabeled += r.unlabeled;
  }
  return t;
}

/// Counts logits of any number of volumes. Bins are 40 / 65536 wide from -20 to 20; what lies outside goes into the outermost ones.
/// Scores of the table are probabilities.
class ScoreHistogram {
 public:
  static constexpr int bins = 65536;
  static constexpr double limit = 20;

  ScoreHistogram() : positive_(bins, 0.0), unlabeled_(bins, 0.0) {}

  /// Adds the labelled and unlabeled voxels of a batch, with their weights. logits: the labels' shape, f32 or f64.
  /// Errors: ShapeError; UsageError names the first of them that is not finite (nothing is added then).
  void add(const Tensor& logits, const Labels& labels) {
    check<ShapeError>(logits.shape() == labels.shape(), "ScoreHistogram: logits are ", logits.shape(), ", labels are ", labels.shape());
    const Tensor weight = labels.weight().defined() ? labels.weight().to(DType::f64) : Tensor();
    visit(logits.dtype(), [&](auto zero) {
      const auto z = logits.span<decltype(zero)>();
      for (size_t i = 0; i < z.size(); ++i)
        check<UsageError>(std::isfinite(z[i]) || !labels.has(int64_t(i), P | U), "ScoreHistogram: logits: the value at voxel ", i, " of ",
                          z.size(), " is ", z[i]);
      for (size_t i = 0; i < z.size(); ++i) {
        const double w = weight.defined() ? weight.span<double>()[i] : 1;
        if (labels.has(int64_t(i), P)) add_one(positive_, double(z[i]), w);
        else if (labels.has(int64_t(i), U)) add_one(unlabeled_, double(z[i]), w);
      }
    });
  }
  /// Adds one voxel. Errors: UsageError for a logit that is not finite.
  void add(bool labelled, double z) {
    check<UsageError>(std::isfinite(z), "ScoreHistogram: a logit is ", z);
    add_one(labelled ? positive_ : unlabeled_, z, 1);
  }
  /// Adds what another histogram has counted.
  void add(const ScoreHistogram& other) {
    for (size_t b = 0; b < bins; ++b) {
      positive_[b] += other.positive_[b];
      unlabeled_[b] += other.unlabeled_[b];
    }
    sum_ += other.sum_;
    square_ += other.square_;
    weight_ += other.weight_;
  }

  ScoreTable table() const {
    ScoreTable t;
    for (size_t b = bins; b-- > 0;) {
      if (positive_[b] == 0 && unlabeled_[b] == 0) continue;
      t.rows.push_back({b == 0 ? 0 : probability(edge(double(b))), probability(edge(double(b) + 0.5)), positive_[b], unlabeled_[b]});
      t.positive += positive_[b];
      t.unlabeled += unlabeled_[b];
    }
    return t;
  }

  /// Spread of the logits: near 0 for a network that says the same everywhere.
  double deviation() const { return weight_ > 0 ? std::sqrt(std::max(0.0, square_ / weight_ - sum_ / weight_ * sum_ / weight_)) : 0; }

 private:
  static double edge(double bin) { return bin * (2 * limit / bins) - limit; }
  static double probability(double z) { return 1 / (1 + std::exp(-z)); }
  void add_one(std::vector<double>& counts, double z, double w) {
    const double b = std::floor((z + limit) * (bins / (2 * limit)));
    counts[size_t(std::clamp(b, 0.0, double(bins - 1)))] += w;
    sum_ += w * z;
    square_ += w * z * z;
    weight_ += w;
  }

  std::vector<double> positive_, unlabeled_;
  double sum_ = 0, square_ = 0, weight_ = 0;
};

/// Of one event or one crop: the weight at or above a threshold (or the sum of its scores), and the weight of all.
struct UnitCount {
  double above = 0, total = 0;
};

/// Counts per volume: voxels of a set at or above a threshold. Volumes without any are left out. Errors: ShapeError.
inline std::vector<UnitCount> counts_per_volume(const Tensor& logits, const Labels& labels, Set set, double threshold) {
  check<ShapeError>(logits.shape() == labels.shape(), "counts_per_volume: logits are ", logits.shape(), ", labels are ", labels.shape());
  std::vector<UnitCount> counts;
  visit(logits.dtype(), [&](auto zero) {
    const auto z = logits.span<decltype(zero)>();
    for (int64_t v = 0; v < labels.volumes(); ++v) {
      UnitCount c;
      for (int64_t i = v * labels.volume_size(); i < (v + 1) * labels.volume_size(); ++i)
        if (labels.has(i, set)) {
          c.total += 1;
          c.above += 1 / (1 + std::exp(-double(z[size_t(i)]))) >= threshold;
        }
      if (c.total > 0) counts.push_back(c);
    }
  });
  return counts;
}

/// Coarse histograms of many units, events or blocks of a movie, filled in one sweep before a threshold is known: 4 KiB per unit.
class UnitScores {
 public:
  void add(int64_t unit, double z) {
    std::vector<uint32_t>& h = units_[unit];
    if (h.empty()) h.assign(bins, 0);
    ++h[size_t(bin(z))];
  }
  int64_t size() const { return int64_t(units_.size()); }
  /// Adds the units of another one under the numbers that unit_of(its number) gives; those that get the same number become one.
  template <class F>
  void add(const UnitScores& other, F&& unit_of) {
    for (const auto& [unit, h] : other.units_) {
      std::vector<uint32_t>& mine = units_[unit_of(unit)];
      mine.resize(bins, 0);
      for (size_t b = 0; b < h.size(); ++b) mine[b] += h[b];
    }
  }
  /// Of every unit, the voxels at or above a score in (0, 1), rounded down to the edge of its bin, and all.
  std::vector<UnitCount> counts(double threshold) const {
    const int first = threshold <= 0 ? 0 : threshold >= 1 ? bins - 1 : bin(std::log(threshold / (1 - threshold)));
    std::vector<UnitCount> out;
    for (const auto& [unit, h] : units_) {
      UnitCount c;
      for (int b = 0; b < bins; ++b) {
        c.total += h[size_t(b)];
        if (b >= first) c.above += h[size_t(b)];
      }
      out.push_back(c);
    }
    return out;
  }

 private:
  static constexpr int bins = 1024;
  static int bin(double z) {
    const double limit = ScoreHistogram::limit;
    return int(std::clamp(std::floor((z + limit) * (bins / (2 * limit))), 0.0, double(bins - 1)));
  }
  std::map<int64_t, std::vector<uint32_t>> units_;
};

struct Interval {
  double low, high;
};

/// 95 % bootstrap interval of statistic(positives, unlabeled), where either argument is a pooled UnitCount of resampled events or crops.
/// Voxels of an event are copies of each other: resample events and crops, never voxels. Errors: UsageError without a unit.
template <class F>
Interval bootstrap(const std::vector<UnitCount>& events, const std::vector<UnitCount>& crops, F&& statistic, uint64_t seed = 1,
                   int resamples = 1000) {
  check<UsageError>(!events.empty() && !crops.empty(), "bootstrap: needs at least one event and one crop, got ", events.size(), " and ",
                    crops.size());
  Random random(seed, 0x626f6f74);
  const auto pooled = [&](const std::vector<UnitCount>& units) {
    UnitCount sum;
    for (size_t i = 0; i < units.size(); ++i) {
      const UnitCount& u = units[random.below(units.size())];
      sum.above += u.above;
      sum.total += u.total;
    }
    return sum;
  };
  std::vector<double> values;
  for (int i = 0; i < resamples; ++i) {
    const UnitCount p = pooled(events), u = pooled(crops);
    if (const double v = statistic(p, u); std::isfinite(v)) values.push_back(v);
  }
  if (values.empty()) return {0, 1};
  std::sort(values.begin(), values.end());
  const auto quantile = [&](double q) { return values[size_t(q * double(values.size() - 1) + 0.5)]; };
  return {quantile(0.025), quantile(0.975)};
}

}  // namespace voxgrad::pu
