// SPDX-License-Identifier: BSD-3-Clause
#include "class_scores.hpp"

#include <set>

#include <fmt/format.h>

#include "files.hpp"
#include "tables.hpp"

namespace voxgrad::app {
namespace {

using Labels = data::Volume<int32_t>;
using stardist::ObjectClasses;

/// Class of each object of a volume, 0 for none.
std::map<int32_t, int> classes_in(const Labels& labels, const ObjectClasses& classes) {
  std::map<int32_t, int> of;
  int32_t last = 0;
  for (const int32_t l : labels.voxels)
    if (l > 0 && l != last) of.emplace(last = l, classes.of(l).value_or(0));
  return of;
}

Labels only(const Labels& labels, const std::map<int32_t, int>& classes, int wanted) {
  Labels out = labels;
  for (int32_t& l : out.voxels)
    if (l > 0 && classes.at(l) != wanted) l = 0;
  return out;
}

}  // namespace

void ClassScores::add(const Labels& all_truth, const Labels& all_predicted, const ObjectClasses& true_classes, const ObjectClasses& predicted_classes) {
  Labels truth = all_truth, predicted = all_predicted;
  const auto of_truth = classes_in(truth, true_classes), of_predicted = classes_in(predicted, predicted_classes);
  for (size_t i = 0; i < truth.voxels.size(); ++i)
    if (truth.voxels[i] > 0 && of_truth.at(truth.voxels[i]) == 0) truth.voxels[i] = predicted.voxels[i] = 0;

  const metrics::ObjectOverlap overlap = metrics::object_overlap(truth, predicted);
  for (size_t k = 0; k < thresholds_.size(); ++k) {
    std::set<int64_t> met_true, met_predicted;
    for (const metrics::MatchedPair& p : metrics::match_overlap(overlap, thresholds_[k], criterion_).pairs) {
      if (!p.accepted) continue;
      ++confused_[k][{of_truth.at(int32_t(p.true_id)), of_predicted.at(int32_t(p.pred_id))}];
      met_true.insert(p.true_id), met_predicted.insert(p.pred_id);
    }
    for (const auto& [l, c] : of_truth)
      if (c > 0 && !met_true.contains(l)) ++confused_[k][{c, 0}];
    std::set<int32_t> left;
    for (const int32_t l : predicted.voxels)
      if (l > 0 && !met_predicted.contains(l) && left.insert(l).second) ++confused_[k][{0, of_predicted.at(l)}];
  }

  std::set<int> classes;
  for (const auto* of : {&of_truth, &of_predicted})
    for (const auto& [l, c] : *of)
      if (c > 0) classes.insert(c);
  for (const auto& [c, scores] : of_class_) classes.insert(c);
  for (const int c : classes) {
    Scores& scores = of_class_.try_emplace(c, Scores(thresholds_.size(), std::vector<metrics::InstanceScores>(size_t(volumes_)))).first->second;
    const metrics::ObjectOverlap of_this = metrics::object_overlap(only(truth, of_truth, c), only(predicted, of_predicted, c));
    for (size_t k = 0; k < thresholds_.size(); ++k) scores[k].push_back(metrics::match_overlap(of_this, thresholds_[k], criterion_).scores);
  }
  ++volumes_;
}

void ClassScores::write(const std::string& folder, bool by_image, Session& session) const {
  std::string classes = "class,threshold,n_true,n_pred,tp,fp,fn,precision,recall,f1,panoptic_quality\n", confusion = "threshold,true_class,predicted_class,objects\n";
  session.print(fmt::format("\n{:>9} {:>7} {:>7} {:>7} {:>7} {:>7} {:>8}", "class", "overlap", "tp", "fp", "fn", "f1", "panoptic"));
  std::vector<JsonValue> rows;
  for (const auto& [c, scores] : of_class_)
    for (size_t k = 0; k < thresholds_.size(); ++k) {
      const metrics::InstanceScores s = metrics::dataset_scores(scores[k], by_image);
      classes += csv_line({std::to_string(c), csv_number(thresholds_[k]), std::to_string(s.n_true), std::to_string(s.n_pred), std::to_string(s.tp), std::to_string(s.fp),
                           std::to_string(s.fn), csv_number(s.precision), csv_number(s.recall), csv_number(s.f1), csv_number(s.panoptic_quality)});
      session.print(fmt::format("{:>9} {:>7.2f} {:>7} {:>7} {:>7} {:>7.4f} {:>8.4f}", c, thresholds_[k], s.tp, s.fp, s.fn, s.f1, s.panoptic_quality));
      rows.push_back(Fields{{"class", c}, {"threshold", thresholds_[k]}, {"tp", s.tp}, {"fp", s.fp}, {"fn", s.fn}, {"f1", s.f1}});
    }
  for (size_t k = 0; k < thresholds_.size(); ++k) {
    int64_t pairs = 0, right = 0;
    for (const auto& [of, n] : confused_[k]) {
      confusion += csv_line({csv_number(thresholds_[k]), std::to_string(of.first), std::to_string(of.second), std::to_string(n)});
      if (of.first == 0 || of.second == 0) continue;
      pairs += n;
      if (of.first == of.second) right += n;
    }
    if (pairs > 0) session.print(fmt::format("of {} matched objects at {:.2f}, {:.4f} have the right class", pairs, thresholds_[k], double(right) / double(pairs)));
  }
  for (const auto& [name, content] : {std::pair("/classes.csv", &classes), {"/confusion.csv", &confusion}}) {
    write_file(folder + name, *content);
    session.print(folder + name);
  }
  session.result("classes", rows);
}

}  // namespace voxgrad::app
