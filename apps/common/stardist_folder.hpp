// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Model folders of the Python package stardist: config.json, thresholds.json, weights_best.h5.

#include <memory>

#include "stardist_config.hpp"
#include "voxgrad/models/stardist3d.hpp"

namespace voxgrad::app {

/// From which probability on a voxel proposes an object, and from which overlap on the less probable object goes.
struct StarDistThresholds {
  double prob = 0.5, nms = 0.4;
  std::vector<std::string> notes;  ///< which value was missing or unusable, so that the default counts
};

/// thresholds.json of a folder. Values that are missing or not between 0 and 1 fall back to 0.5 and 0.4, each with a note.
StarDistThresholds read_stardist_thresholds(const std::string& folder);

class StarDistFolder {
 public:
  /// Also checks that the folder holds a config.json and weights; a FileError says what is missing.
  static StarDistFolder existing(const std::string& path);

  const std::string& path() const { return path_; }
  std::string config_file() const { return path_ + "/config.json"; }
  /// Of all *.h5 and *.hdf5 the newest with "best" in its name, else the newest.
  std::string weights_file() const;

  StarDistConfigRead config() const { return read_stardist_config(config_file()); }
  StarDistThresholds thresholds() const { return read_stardist_thresholds(path_); }
  /// The network with its weights, in evaluation mode. FileError naming the layer when they do not fit the configuration.
  std::unique_ptr<models::StarDist3d> network() const;

 private:
  explicit StarDistFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

/// Weights of a Keras file into `net`, by order. FileError when they do not fit.
void load_keras_weights(const std::string& path, nn::Module& net);
/// A weight file that the Python package loads.
void save_keras_weights(const std::string& path, nn::Module& net);
/// thresholds.json; a UsageError unless both lie between 0 and 1.
void save_stardist_thresholds(const std::string& path, double prob, double nms);

}  // namespace voxgrad::app
