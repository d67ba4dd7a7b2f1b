// SPDX-License-Identifier: BSD-3-Clause
#include "stardist_model.hpp"

#include <filesystem>

#include "model_folder.hpp"

namespace voxgrad::app {

bool is_stardist_folder(const std::string& path) {
  std::error_code none;
  return !path.empty() && std::filesystem::exists(path + "/config.json", none);
}

StarDistModel open_stardist_model(const std::string& path, bool latest) {
  StarDistModel model;
  model.path = path;
  while (model.path.size() > 1 && model.path.back() == '/') model.path.pop_back();
  const ModelFolder folder(model.path);
  const bool ours = folder.has_weights() || folder.has_checkpoint();
  if (!ours) StarDistFolder::existing(model.path);
  StarDistConfigRead read = read_stardist_config(model.path + "/config.json");
  model.config = std::move(read.config);
  model.notes = std::move(read.notes);
  model.thresholds = read_stardist_thresholds(model.path);
  model.notes.insert(model.notes.end(), model.thresholds.notes.begin(), model.thresholds.notes.end());
  model.net = std::make_unique<models::StarDist3d>(model.config.network);
  model.normalization = "percentile";
  if (!ours) {
    check<UsageError>(!latest, path, ": is a model of the Python package, which keeps no checkpoint of ours; leave out --latest.");
    load_keras_weights(StarDistFolder::existing(model.path).weights_file(), *model.net);
  } else {
    const bool checkpoint = (latest && folder.has_checkpoint()) || !folder.has_weights();
    const Metadata m = load_weights(checkpoint ? folder.checkpoint_file() : folder.weights_file(), *model.net);
    if (const auto at = m.find("normalization"); at != m.end()) model.normalization = at->second;
  }
  if (std::filesystem::exists(folder.config_file())) model.data_axes = folder.config().text("stardist_config.data_axes");
  model.net->eval();
  return model;
}

}  // namespace voxgrad::app
