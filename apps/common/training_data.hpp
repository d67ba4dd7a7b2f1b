// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The crops that a configuration asks for: from the published HDF5 files, with or without a samples list.

#include <memory>
#include <string>

#include "auto_prior.hpp"
#include "config.hpp"
#include "voxgrad/data/dataset.hpp"

namespace voxgrad::app {

struct TrainingData {
  std::shared_ptr<const data::CropSource> train, valid;
  RandomCrops held_out;  ///< of whole validation movies; none where there are only crops
  std::string summary;   ///< one line for the log: movies, crops, where they come from
};

/// Opens `path` (an HDF5 file, or a folder with `source` and `target` TIFF crops) and chooses training and validation crops. Folds, samples list and crop size come from the
/// configuration; without a validation fold, `valid_proportion` of the training movies are set aside.
/// `cache_bytes` limits the crops kept in memory.
TrainingData open_training_data(const std::string& path, const TrainConfig& config, int64_t cache_bytes);

/// Only the validation crops, for `optimize`.
std::shared_ptr<const data::CropSource> open_validation_crops(const std::string& path, const TrainConfig& config,
                                                              int64_t cache_bytes);

}  // namespace voxgrad::app
