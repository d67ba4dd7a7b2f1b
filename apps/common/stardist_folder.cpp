// SPDX-License-Identifier: BSD-3-Clause
#include "stardist_folder.hpp"

#include <sys/stat.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <tuple>

#include "files.hpp"
#include "json_text.hpp"
#include "voxgrad/io/keras_weights_write.hpp"
#include "voxgrad/nn/keras_state.hpp"

namespace voxgrad::app {
namespace {

bool exists(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0;
}

/// The folder's weight file by StarDist's rule, "" when there is none.
std::string newest_weights(const std::string& folder) {
  namespace fs = std::filesystem;
  std::tuple<bool, fs::file_time_type, std::string> best;
  std::string found;
  std::error_code failed;
  for (fs::directory_iterator it(folder, failed), end; !failed && it != end; it.increment(failed)) {
    const std::string name = it->path().filename().string();
    std::error_code gone;
    if (!has_ending(name, {".h5", ".hdf5"}) || !it->is_regular_file(gone)) continue;
    std::tuple candidate{name.find("best") != std::string::npos, it->last_write_time(gone), name};  // the name settles ties
    if (gone || (!found.empty() && candidate < best)) continue;
    best = std::move(candidate);
    found = name;
  }
  return found.empty() ? "" : folder + "/" + found;
}

}  // namespace

StarDistFolder StarDistFolder::existing(const std::string& path) {
  StarDistFolder folder(path);
  while (folder.path_.size() > 1 && folder.path_.back() == '/') folder.path_.pop_back();
  check<FileError>(exists(path), path, ": no such model folder.");
  check<FileError>(exists(folder.config_file()), path, ": holds no StarDist model (no config.json).");
  folder.weights_file();
  return folder;
}

std::string StarDistFolder::weights_file() const {
  const std::string found = newest_weights(path_);
  check<FileError>(!found.empty(), path_, ": holds no weights (expected a file *.h5 or *.hdf5, such as weights_best.h5).");
  return found;
}

StarDistThresholds read_stardist_thresholds(const std::string& folder) {
  StarDistThresholds t;
  const std::string file = folder + "/thresholds.json";
  if (!exists(file)) {
    t.notes.push_back(text(folder, ": holds no thresholds.json, so prob ", t.prob, " and nms ", t.nms, " are used."));
    return t;
  }
  const auto json = nlohmann::json::parse(read_file(file, 1 << 20), nullptr, false);
  check<FileError>(json.is_object(), file, ": is not a JSON object (expected {\"prob\": P, \"nms\": T}).");
  for (auto [key, to] : {std::pair{"prob", &t.prob}, {"nms", &t.nms}}) {
    const auto it = json.find(key);
    if (it != json.end() && it->is_number() && it->get<double>() > 0 && it->get<double>() < 1) *to = it->get<double>();
    else t.notes.push_back(text(file, ": '", key, "' is ", it == json.end() ? "missing" : it->dump(), ", not a number between 0 and 1, so ",
                                *to, " is used."));
  }
  return t;
}

std::unique_ptr<models::StarDist3d> StarDistFolder::network() const {
  auto net = std::make_unique<models::StarDist3d>(config().config.network);
  load_keras_weights(weights_file(), *net);
  net->eval();
  return net;
}

void load_keras_weights(const std::string& path, nn::Module& net) {
  const io::KerasWeights file = io::read_keras_weights(path);
  if (const auto* stardist = dynamic_cast<const models::StarDist3d*>(&net); stardist != nullptr && file.keras_version.rfind("3", 0) == 0) {
    const models::StarDist3dOptions& o = stardist->options();
    for (const std::string& activation : {o.is_unet() ? o.unet_activation : o.resnet_activation, o.is_unet() ? o.unet_last_activation : o.resnet_activation})
      check<FileError>(activation != "hard_sigmoid", path, ": was written by Keras ", file.keras_version, ", whose hard_sigmoid is clip(x / 6 + 0.5); here it is that of ",
                       "Keras 2, clip(0.2 x + 0.5). This model would give other numbers.");
  }
  try {
    nn::load_keras_state(net, file.layers);
  } catch (const ShapeError& e) {
    throw FileError(text(path, ": ", e.what(), ". Is config.json the one these weights were trained with?"));
  }
}

void save_keras_weights(const std::string& path, nn::Module& net) {
  std::vector<LayerWeights> layers;
  for (const nn::KerasLayer& layer : nn::keras_layers(net)) {
    layers.push_back({layer.name, {}});
    for (const auto& slot : layer.slots) layers.back().weights.push_back({slot.name, *slot.tensor});
  }
  io::write_keras_weights(path, layers);
}

void save_stardist_thresholds(const std::string& path, double prob, double nms) {
  for (const auto& [key, value] : {std::pair{"prob", prob}, {"nms", nms}})
    check<UsageError>(value > 0 && value < 1, "thresholds: ", key, " is ", value, " (expected a number between 0 and 1)");
  write_file(path, json_object({{"prob", prob}, {"nms", nms}}));
}

}  // namespace voxgrad::app
