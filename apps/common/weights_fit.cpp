// SPDX-License-Identifier: BSD-3-Clause
#include "weights_fit.hpp"

#include <filesystem>

#include "file_kind.hpp"
#include "stardist_model.hpp"

namespace voxgrad::app {

namespace fs = std::filesystem;

void check_fit(const std::string& path, nn::Module& net, const std::map<std::string, Shape>& tensors) {
  std::string misshapen, missing, unknown;
  const auto list = [](std::string& all, const std::string& name) { all += text(all.empty() ? "" : ", ", "'", name, "'"); };
  std::map<std::string, bool> known;
  for (const nn::Named& n : net.state()) {
    known[n.name] = true;
    const auto it = tensors.find(n.name);
    if (it == tensors.end()) list(missing, n.name);
    else if (!(it->second == n.tensor->shape())) misshapen += text("; '", n.name, "' is [", it->second, "], the network needs [", n.tensor->shape(), "]");
  }
  for (const auto& [name, shape] : tensors)
    if (!known.contains(name)) list(unknown, name);
  std::string problems = misshapen;
  if (!missing.empty()) problems += "; missing: " + missing;
  if (!unknown.empty()) problems += "; not part of the network: " + unknown;
  check<FileError>(problems.empty(), path, ": weights do not fit the network: ", problems.empty() ? "" : problems.substr(2),
                   ". Is config.yaml the one these weights were trained with?");
}

void refuse_file_as_model(const std::string& path) {
  const FileIdentity found = identify_file(path);
  const std::string parent = fs::path(path).parent_path().string(), beside = parent.empty() ? "." : parent;
  if (found.kind == FileKind::hdf5)
    throw FileError(text(path, ": is an HDF5 file. Weights of Keras do not say how their network is built, the config.json beside them does",
                         is_stardist_folder(beside) ? "; give the folder that has both: " + beside
                                                    : ", which is not in " + beside + ". Give the StarDist folder that has both."));
  const bool weights = found.kind == FileKind::torch || found.kind == FileKind::safetensors;
  check<FileError>(weights, path, ": is no model folder but: ", found.name, ". ", found.advice);
  throw FileError(text(path, ": is a file of weights, but a model folder is needed. ",
                       fs::exists(beside + "/config.yaml") || is_stardist_folder(beside) ? "Give the folder that it is in: " + beside
                                                      : text("Make one: voxgrad convert ", path, " --export voxgrad --out DIR")));
}

}  // namespace voxgrad::app
