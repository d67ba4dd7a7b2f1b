// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Objects with classes against true ones: scores class by class, and which class is taken for which.

#include <map>
#include <string>
#include <vector>

#include "session.hpp"
#include "voxgrad/metrics/instances.hpp"
#include "voxgrad/stardist/targets.hpp"

namespace voxgrad::app {

/// Adds up volumes. A true object without a class counts nowhere, nor does what was found in its voxels.
class ClassScores {
 public:
  ClassScores(std::vector<double> thresholds, metrics::Criterion criterion) : thresholds_(std::move(thresholds)), criterion_(criterion), confused_(thresholds_.size()) {}

  void add(const data::Volume<int32_t>& truth, const data::Volume<int32_t>& predicted, const stardist::ObjectClasses& true_classes,
           const stardist::ObjectClasses& predicted_classes);
  /// classes.csv: each class by itself, so that an object of another class is a false positive; confusion.csv: classes of objects that
  /// match when all classes are one, 0 in either column for those without a partner. Prints both in short.
  void write(const std::string& folder, bool by_image, Session& session) const;

 private:
  using Scores = std::vector<std::vector<metrics::InstanceScores>>;  // [threshold][volume]
  std::vector<double> thresholds_;
  metrics::Criterion criterion_;
  std::map<int, Scores> of_class_;
  int64_t volumes_ = 0;
  std::vector<std::map<std::pair<int, int>, int64_t>> confused_;  // [threshold]
};

}  // namespace voxgrad::app
