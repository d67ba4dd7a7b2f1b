// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// `voxgrad evaluate --instances`: predicted label volumes against true ones, object by object.

#include <string>
#include <vector>

#include "files.hpp"
#include "session.hpp"
#include "voxgrad/metrics/instances.hpp"

namespace voxgrad::app {

/// A predicted label volume and the true one of the same name.
struct LabelPair {
  std::string name, predicted, truth;
};

/// Pairs by name: NAME_prediction.tif, NAME_labels.tif or NAME.tif with NAME.tif, NAME_labels.tif or NAME_mask.tif below `truth`, or one
/// file with one file. FileError names the first prediction without a truth.
std::vector<LabelPair> pair_labels(const std::vector<Input>& predicted, const std::string& truth);

/// The command: instances.csv (a row per volume and IoU threshold, then the data set's) and a table.
int evaluate_instances(const Arguments& a, Session& session);
std::vector<Option> instance_options();

}  // namespace voxgrad::app
