// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Predictions of one movie against an expert or a true mask, in memory for a few frames (docs/metrics.md).

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "files.hpp"
#include "tables.hpp"
#include "voxgrad/metrics/matching.hpp"
#include "voxgrad/metrics/segmentation.hpp"

namespace voxgrad::app {

/// The files that belong to one movie; "" for what is absent.
struct MovieFiles {
  std::string name;                         ///< path below the results folder without suffix and ending
  std::string events, labels, probability;  ///< predictions
  std::string expert, truth, movie;         ///< expert table, true mask or labels, raw movie
};

/// Groups prediction files by movie: NAME_events.csv, NAME_labels.tif and NAME_prediction.tif, in the order
/// of `inputs`. A TIFF of whole numbers called NAME_prediction.tif is taken as labels (the published 0/255
/// masks), any other TIFF as labels or probability by its type. FileError when two files of a kind belong to
/// one movie.
std::vector<MovieFiles> group_predictions(const std::vector<Input>& inputs);
/// Whether a file of this name found in a folder is a prediction.
bool is_prediction_name(const std::string& name);

/// The file of movie `name` in `folder` (which may be a file itself, for the only movie): patterns like
/// "manual_*.csv" with the movie's base name for the star, tried in order, first in the same subfolder, then
/// at the top. "" if none.
std::string find_companion(const std::string& folder, const std::string& name,
                           const std::vector<std::string>& patterns);
inline const std::vector<std::string> expert_patterns = {"manual_*.csv", "*.csv",        "*_expert.csv",
                                                         "expert_*.csv", "*_manual.csv", "*_events.csv"};
inline const std::vector<std::string> truth_patterns = {"*.tif",        "*.tiff",     "*_truth.tif",
                                                        "*_labels.tif", "*_mask.tif", "*_truth_labels.tif",
                                                        "truth_*.tif",  "mask_*.tif"};
inline const std::vector<std::string> movie_patterns = {"*.tif", "*.tiff"};

enum class PredictionKind { automatic, events, labels, probability };

struct EvaluationOptions {
  PredictionKind from = PredictionKind::automatic;
  std::optional<float> threshold;  ///< for probabilities; automatic prefers them when it is given
  metrics::Matcher matcher = metrics::Matcher::hungarian;
  double distance = metrics::match_distance;
  metrics::Extent3 min_size = metrics::min_event_size;
  bool micron = false;
  double pixel_y_um = 0, pixel_x_um = 0;  ///< 0: from the TIFF files
  int64_t slice_offset = 0;
  bool codes = false;  ///< true masks hold 0 unlabeled, 1 positive, 2 known negative, 255 ignored, instead of event numbers
};

/// The comparison of one movie.
struct MovieEvaluation {
  std::string name, predicted_from,
      truth_from;  ///< "events", "labels", "probability"; "expert", "truth"; "" if none
  std::vector<metrics::Point> predicted, truth;
  std::vector<int64_t> labels;                ///< of the predicted events
  std::optional<metrics::Matching> matching;  ///< where there is an expert file or a true mask
  std::optional<metrics::SegmentationScores>
      segmentation;  ///< where there is a true mask and a predicted one
  int64_t ignored = 0;  ///< predicted events that were left out because their centre is in an ignored voxel
  std::vector<std::string> warnings;

  double mean_distance() const;  ///< of matched pairs, voxels; NaN without any
};

/// `progress` is called with the frames read so far, and may throw to stop.
MovieEvaluation evaluate_movie(const MovieFiles& files, const EvaluationOptions& options,
                               const std::function<void(int64_t frames)>& progress = {});

}  // namespace voxgrad::app
