// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What `voxgrad inspect` says about each kind of file.

#include <string>
#include <utility>
#include <vector>

#include "json_text.hpp"

namespace voxgrad::app {

/// The answer about one file, for people and for programs.
struct Description {
  std::string kind;                                         ///< "TIFF movie (ImageJ)"
  std::string use;                                          ///< a command to go on with, or why it cannot be used
  bool usable = true;                                       ///< this program can take it
  std::vector<std::pair<std::string, std::string>> lines;   ///< what, value
  std::vector<std::string> notes;                           ///< what the user should know
  Fields fields;                                            ///< for --json

  void line(const std::string& what, const std::string& value) { lines.emplace_back(what, value); }
};

/// The user's word on movies.
struct MovieWords {
  std::string axes;
  int channel = 0;
  bool allow_truncated = false, sequence = false;
};

/// A TIFF file or a folder of frames: axes, samples, spacing, range of values in some frames. FileError: damaged.
Description describe_movie(const std::string& path, const MovieWords& words);
/// An HDF5 file: a training set, Keras weights, or what it holds. FileError: damaged.
Description describe_hdf5(const std::string& path);
/// A samples list, thresholds, a StarDist configuration, regions, or other JSON. FileError: not valid.
Description describe_json(const std::string& path);
/// A configuration; one that does not fit is described with the reason.
Description describe_yaml(const std::string& path);
/// Weights or a checkpoint, of torch.save or safetensors: what it holds, and whether it fits the 3-D U-Net.
Description describe_weights(const std::string& path);
/// A folder that training left, ours or of others: its files, network and thresholds, and whether the weights fit.
Description describe_model_folder(const std::string& path);
/// A model folder in one file.
Description describe_bundle(const std::string& path);
/// Adds every tensor of a weight or HDF5 file: name, type, shape, sum in double precision, first value. Nothing for other kinds.
void list_tensors(const std::string& path, Description& d);
/// A table: expert positions, events, or other columns.
Description describe_csv(const std::string& path);

}  // namespace voxgrad::app
