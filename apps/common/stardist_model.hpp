// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A StarDist model from a folder of ours or of the Python package, ready to predict.

#include <memory>
#include <optional>
#include <string>

#include "stardist_folder.hpp"

namespace voxgrad::app {

struct StarDistModel {
  std::string path;
  StarDistConfig config;
  std::unique_ptr<models::StarDist3d> net;  ///< in evaluation mode
  StarDistThresholds thresholds;
  std::string normalization;         ///< of raw volumes: study, percentile or none
  std::string data_axes;             ///< of the image files that it was trained on; empty: as they say
  std::vector<std::string> notes;    ///< what was ignored or decided while reading
};

/// Whether a folder holds a StarDist model: ours (config.json and weights.safetensors) or the package's (config.json and *.h5).
bool is_stardist_folder(const std::string& path);

/// Opens either kind; `latest` takes the checkpoint instead of the best weights. The package's models take percentiles.
/// Errors: FileError.
StarDistModel open_stardist_model(const std::string& path, bool latest);

}  // namespace voxgrad::app
