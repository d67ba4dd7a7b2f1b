// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What StarDist trains on: crops of the published HDF5 files with their objects, or folders of volumes and label volumes.

#include <memory>
#include <string>

#include "stardist_run.hpp"
#include "voxgrad/data/percentiles.hpp"
#include "voxgrad/stardist/generator.hpp"

namespace voxgrad::app {

struct StarDistData {
  std::shared_ptr<const stardist::ExampleSource> train, valid;
  std::string summary;  ///< one line for the log
  std::string normalization;  ///< what raw volumes need before prediction: study or percentile
};

/// Opens `path`: an HDF5 file (folds, samples list and crop size from the configuration), or a folder with the folders images
/// and masks, whose files go by the same names; with train/ and test/ (or valid/) inside, these are the two sets, else a share
/// is set aside by the seed, or, of a single volume, a block along one axis. Images have as many channels as the network takes; with classes, each label volume has them beside it
/// (object_classes.hpp), in HDF5 as a data set `classes` [N,2] of labels and classes in the movie's group. run.labels says whether labels are masks whose connected voxels are objects; auto:
/// if all volumes together hold a single number above 0.
/// `cache_bytes` limits what is kept in memory. Errors: FileError, UsageError.
StarDistData open_stardist_data(const std::string& path, const StarDistRun& run, int64_t cache_bytes);

/// FileError naming the file and both percentiles unless they differ.
void check_scale(const std::string& path, const data::PercentileScale& scale);

}  // namespace voxgrad::app
