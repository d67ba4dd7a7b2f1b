// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Scores of whole movies of which some events are labelled, counted in one sweep: for priors, thresholds and measures without negatives.

#include <memory>
#include <string>
#include <vector>

#include "voxgrad/metrics/components.hpp"
#include "voxgrad/pu/scores.hpp"

namespace voxgrad::app {

/// All voxels' scores, and those of every labelled event and of every block of unlabeled voxels, which are what intervals resample.
class MovieScores {
 public:
  /// codes: label volumes hold 0 unlabeled, 1 positive, 2 known negative (one of everything), 255 ignored, instead of event numbers.
  explicit MovieScores(bool codes = false) : codes_(codes) {}

  /// Frame t of a movie, frames in order: probabilities and labels, [H,W] each. Errors: FileError that begins with `name` (of its file) for a label
  /// that is none of the codes, or a score that is not finite.
  void add_frame(const std::string& name, int64_t t, const data::Extent3& extent, const float* scores, const int32_t* labels);
  /// After the last frame of a movie.
  void end_movie();

  const pu::ScoreHistogram& all() const { return all_; }
  const pu::UnitScores& events() const { return events_; }  ///< connected voxels of one label
  const pu::UnitScores& blocks() const { return blocks_; }  ///< of 32 x 32 x 32 voxels
  int64_t movies() const { return movies_; }

 private:
  static constexpr int64_t block = 32;
  bool codes_;
  pu::ScoreHistogram all_;
  pu::UnitScores events_, blocks_, pieces_;
  std::unique_ptr<metrics::ComponentLabeler<int32_t>> labeler_;
  std::vector<int32_t> values_;
  std::vector<uint32_t> numbers_;
  int64_t movies_ = 0;
};

/// The share of positives by the best bin.
struct MoviePrior {
  double labelled = 0;                      ///< share of all voxels that is labelled: the prior is at least that
  double prior = 0, low = 0, high = 1;      ///< of everything, with its 95 % interval over events and blocks
  double upper = 1;                         ///< upper confidence bound of best-bin estimation
  double unlabeled = 0, threshold = 0;      ///< share among unlabeled voxels, and the score at which it was read
};
/// Errors: UsageError without labelled or without unlabeled voxels.
MoviePrior estimate_prior(const MovieScores& scores);

}  // namespace voxgrad::app
