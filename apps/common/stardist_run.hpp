// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The configuration of a StarDist training: keys of the YAML table, and the struct made of them.

#include <optional>
#include <string>
#include <vector>

#include "config.hpp"
#include "stardist_config.hpp"
#include "voxgrad/stardist/patches.hpp"

namespace voxgrad::app {

struct StarDistRun {
  StarDistConfig config;       ///< what config.json will hold
  TrainConfig common;          ///< seed, data set, folds, samples list, crop size, risk
  std::string name;            ///< of the model; empty: made from samples and seed
  stardist::Augmentation augmentation = stardist::Augmentation::flips;
  std::string normalization = "auto";  ///< of raw volumes: auto, study, percentile or none
  std::string labels = "auto";         ///< instances: one number per object; binary: masks; classes: numbers of classes; auto: by what the data hold
  std::string data_axes;               ///< of image files, slowest first; empty: as they say
  bool measure_anisotropy = false;     ///< from the boxes of the training objects
  bool choose_grid = false;            ///< 1 where objects are more than 1.5 times shorter, else 2
  std::string loss = "bce";            ///< of the object probability: bce or a positive-unlabeled risk
};

/// Rows of the table of keys, "stardist_config.*": the fields of the Python package's Config3D, with the published study's values as
/// defaults, and how patches are drawn.
void add_stardist_keys(std::vector<ConfigKey>& keys);

/// Errors: UsageError for values that are out of range or do not go together.
StarDistRun stardist_run(const Config& config);

/// "StarDist3D_complete_1-4_42".
std::string stardist_model_name(const StarDistRun& run);

}  // namespace voxgrad::app
