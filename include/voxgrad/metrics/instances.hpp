// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Scores of a segmentation into objects: matching of true and predicted objects by their overlap, and panoptic quality
// (Kirillov et al., CVPR 2019). The numbers are those of the Python package stardist.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <unordered_map>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/data/relabel.hpp"
#include "voxgrad/metrics/object_overlap.hpp"

namespace voxgrad::metrics {

/// Scores at one threshold, of one volume or of a data set. Ratios are 0 where nothing matches.
struct InstanceScores {
  Criterion criterion = Criterion::iou;
  double thresh = 0.5;
  int64_t tp = 0, fp = 0, fn = 0, n_true = 0, n_pred = 0;
  double precision = 0, recall = 0, accuracy = 0, f1 = 0;
  double mean_matched_score = 0;  ///< sum of the scores of true positives / tp
  double mean_true_score = 0;     ///< the same sum / n_true
  double panoptic_quality = 0;    ///< the same sum / (tp + fp/2 + fn/2)
};

/// Fills in what follows from the counts and the sum of scores.
inline void set_ratios(InstanceScores& s, double score_sum) {
  const double tp = double(s.tp), fp = double(s.fp), fn = double(s.fn);
  s.precision = s.tp > 0 ? tp / (tp + fp) : 0;
  s.recall = s.tp > 0 ? tp / (tp + fn) : 0;
  s.accuracy = s.tp > 0 ? tp / (tp + fp + fn) : 0;
  s.f1 = s.tp > 0 ? 2 * tp / (2 * tp + fp + fn) : 0;
  s.mean_matched_score = s.tp > 0 ? score_sum / tp : 0;
  s.mean_true_score = s.n_true > 0 ? score_sum / double(s.n_true) : 0;
  s.panoptic_quality = s.tp + s.fp + s.fn > 0 ? score_sum / (tp + fp / 2 + fn / 2) : 0;
}

/// A true object with its predicted one.
struct MatchedPair {
  int64_t true_id, pred_id;
  float score;
  bool accepted;  ///< a true positive: score >= threshold
};

struct InstanceMatching {
  InstanceScores scores;
  std::vector<MatchedPair> pairs;  ///< min(n_true, n_pred), by ascending true id; the last may not overlap at all
};

/// Pairs objects so that most pairs reach the threshold, and among those pairings one with the highest total score.
/// Both are decided in float32. Objects that share no voxel are paired last, in order of their ids.
inline InstanceMatching match_overlap(const ObjectOverlap& overlap, double thresh, Criterion criterion) {
  check<UsageError>(thresh >= 0 && thresh <= 1, "instances: threshold ", thresh, " (expected 0 to 1)");
  const int64_t n_true = int64_t(overlap.true_ids.size()), n_pred = int64_t(overlap.pred_ids.size());
  const int64_t pairs = std::min(n_true, n_pred);
  const float limit = float(thresh), scale = 2 * float(pairs);
  std::vector<int64_t> partner(size_t(n_true), -1);
  std::vector<float> score(size_t(n_true), 0.f);
  for_each_component(overlap, [&](const std::vector<size_t>& cells) {
    // All other pairs of a component cost as much as none, so each component can be solved by itself.
    Component c(overlap, cells);
    Matrix cost(int64_t(c.rows.size()), int64_t(c.columns.size()));
    std::fill(cost.values.begin(), cost.values.end(), limit <= 0 ? -1.0 : 0.0);
    for (const size_t k : cells) {
      const float s = overlap.score(k, criterion);
      cost.at(c.row_of(overlap.cells[k].t), c.column_of(overlap.cells[k].p)) = -double(s >= limit) - double(s / scale);
    }
    for (const auto& [row, column] : assign(cost)) {
      const int64_t t = c.rows[size_t(row)], p = c.columns[size_t(column)];
      if (const size_t k = overlap.find(t, p); k < overlap.cells.size())
        partner[size_t(t)] = p, score[size_t(t)] = overlap.score(k, criterion);
    }
  });
  InstanceMatching m;
  m.scores = {criterion, thresh, 0, 0, 0, n_true, n_pred};
  std::vector<char> taken(size_t(n_pred), 0);
  int64_t left = pairs;
  for (const int64_t p : partner)
    if (p >= 0) taken[size_t(p)] = 1, --left;
  double sum = 0;
  for (int64_t t = 0, free = 0; t < n_true; ++t) {
    int64_t p = partner[size_t(t)];
    if (p < 0) {
      if (left == 0) continue;
      while (taken[size_t(free)]) ++free;
      p = free++, --left;
    }
    const bool accepted = score[size_t(t)] >= limit;
    m.pairs.push_back({overlap.true_ids[size_t(t)], overlap.pred_ids[size_t(p)], score[size_t(t)], accepted});
    if (accepted) ++m.scores.tp, sum += double(score[size_t(t)]);
  }
  m.scores.fp = n_pred - m.scores.tp, m.scores.fn = n_true - m.scores.tp;
  set_ratios(m.scores, sum);
  return m;
}

/// Matching of a predicted label volume with the true one. Ids may have gaps; 0 is background.
/// Errors: ShapeError for different extents, UsageError for ids below 0 or a threshold outside of 0 to 1.
template <class A, class B>
InstanceMatching match_instances(const data::Volume<A>& truth, const data::Volume<B>& predicted, double thresh = 0.5,
                                 Criterion criterion = Criterion::iou) {
  return match_overlap(object_overlap(truth, predicted), thresh, criterion);
}

/// Scores of a data set from those of its volumes, all at one threshold. Sums of objects over all volumes, or, by_image,
/// the mean of each ratio (a volume without objects counts as 0). Errors: UsageError for no volumes or mixed settings.
inline InstanceScores dataset_scores(const std::vector<InstanceScores>& volumes, bool by_image = false) {
  check<UsageError>(!volumes.empty(), "instances: scores of no volumes at all");
  InstanceScores all{volumes[0].criterion, volumes[0].thresh};
  double sum = 0;
  for (const InstanceScores& s : volumes) {
    check<UsageError>(s.criterion == all.criterion && s.thresh == all.thresh, "instances: volumes are scored by ",
                      name(all.criterion), " at ", all.thresh, " and by ", name(s.criterion), " at ", s.thresh);
    all.tp += s.tp, all.fp += s.fp, all.fn += s.fn, all.n_true += s.n_true, all.n_pred += s.n_pred;
    sum += s.mean_true_score * double(s.n_true);
  }
  if (!by_image) {
    set_ratios(all, sum);
    return all;
  }
  for (double InstanceScores::*ratio :
       {&InstanceScores::precision, &InstanceScores::recall, &InstanceScores::accuracy, &InstanceScores::f1,
        &InstanceScores::mean_matched_score, &InstanceScores::mean_true_score, &InstanceScores::panoptic_quality}) {
    for (const InstanceScores& s : volumes) all.*ratio += s.*ratio;
    all.*ratio /= double(volumes.size());
  }
  return all;
}

/// The same objects in consecutive frames get the same id: each frame is matched with the one before; matched objects
/// take over the id, all others get a new one. Errors as match_instances, and UsageError for fewer than two frames.
template <class T>
std::vector<data::Volume<int32_t>> group_matching_labels(const std::vector<data::Volume<T>>& frames, double thresh = 1e-10,
                                                         Criterion criterion = Criterion::iou) {
  check<UsageError>(frames.size() >= 2, "group labels: ", frames.size(), " frames (expected at least 2)");
  std::vector<data::Volume<int32_t>> out;
  int32_t next = 1;
  for (const data::Volume<T>& frame : frames) {
    std::unordered_map<T, int32_t> id;
    if (out.empty()) {
      (void)object_overlap(frame, frame);  // refuses ids below 0
      for (const T own : data::object_ids(frame)) {
        check<UsageError>(int64_t(own) < std::numeric_limits<int32_t>::max(), "group labels: id ", int64_t(own),
                          " is too large for 32-bit labels. Renumber the objects first.");
        id[own] = int32_t(own), next = std::max(next, int32_t(own) + 1);
      }
    } else {
      for (const MatchedPair& p : match_instances(out.back(), frame, thresh, criterion).pairs)
        if (p.accepted) id[T(p.pred_id)] = int32_t(p.true_id);
      for (const T own : data::object_ids(frame))
        if (id.try_emplace(own, next).second) ++next;
    }
    data::Volume<int32_t>& grouped = out.emplace_back(frame.extent);
    for (size_t i = 0; i < frame.voxels.size(); ++i)
      if (frame.voxels[i] != T(0)) grouped.voxels[i] = id[frame.voxels[i]];
  }
  return out;
}

}  // namespace voxgrad::metrics
