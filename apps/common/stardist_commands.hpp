// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What train, predict and optimize do when the model is a StarDist one.

#include <functional>
#include <string>

#include "config.hpp"
#include "session.hpp"

namespace voxgrad::app {

/// `voxgrad train` with type stardist3d. regather(folder) reads the configuration again with a folder's own as its base.
int train_stardist(const Arguments& a, Session& session, const Config& first, const std::function<Config(const std::string& folder)>& regather);

/// `voxgrad predict` with a StarDist model folder.
int predict_stardist(const Arguments& a, Session& session);
/// The options that only it has.
std::vector<Option> stardist_predict_options();

/// `voxgrad optimize` with a StarDist model folder.
int optimize_stardist(const Arguments& a, Session& session);

}  // namespace voxgrad::app
