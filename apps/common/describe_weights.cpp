// SPDX-License-Identifier: BSD-3-Clause
// Weights, checkpoints and model folders for `voxgrad inspect`.

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "describe.hpp"
#include "file_kind.hpp"
#include "model_bundle.hpp"
#include "model_folder.hpp"
#include "stardist_model.hpp"
#include "torch_model.hpp"
#include "unet_guess.hpp"
#include "voxgrad/io/safetensors.hpp"

namespace voxgrad::app {
namespace {

namespace fs = std::filesystem;

/// Counts by type, names and values of any list of tensors.
struct Census {
  std::vector<std::string> names;
  std::map<std::string, std::size_t> types;
  std::int64_t values = 0;

  void add(const std::string& name, std::string_view type, const std::vector<std::int64_t>& shape) {
    names.push_back(name);
    ++types[std::string(type)];
    std::int64_t n = 1;
    for (const std::int64_t e : shape) n *= e;  // the readers have checked the product
    values += n;
  }
  void tell(Description& d, const char* format) const {
    std::string kinds, some;
    for (const auto& [type, n] : types) kinds += fmt::format("{}{} {}", kinds.empty() ? "" : ", ", n, type);
    for (std::size_t i = 0; i < std::min<std::size_t>(names.size(), 6); ++i) some += (i ? ", " : "") + names[i];
    if (names.size() > 6) some += fmt::format(" and {} more", names.size() - 6);
    d.line("tensors", fmt::format("{} ({}), {} values", names.size(), kinds, values));
    d.line("names", some);
    d.fields = {{"format", format}, {"tensors", names.size()}, {"values", values}};
  }
};

void census_of_torch(const std::string& path, Description& d) {
  const io::TorchArchive archive(path);
  d.kind = archive.legacy() ? "PyTorch file in the format before 1.6" : "PyTorch archive (torch.save)";
  Census census;
  for (const io::TorchTensor& t : archive.tensors()) census.add(t.name, t.type->name, std::count(t.shape.begin(), t.shape.end(), 0) ? std::vector<std::int64_t>{0} : t.shape);
  census.tell(d, "torch");
  bool optimizer = false;
  for (const io::TorchScalar& s : archive.scalars()) {
    optimizer = optimizer || s.name.find("param_groups.0.lr") != std::string::npos;
    if (const auto* step = std::get_if<std::int64_t>(&s.value); step && s.name == "step") d.line("step", std::to_string(*step));
  }
  d.line("other values", std::to_string(archive.scalars().size()));
  d.fields.emplace_back("scalars", archive.scalars().size());
  d.fields.emplace_back("checkpoint", optimizer);
  if (optimizer) d.notes.push_back("holds the optimiser's state too: a checkpoint that training can go on from");
}

void census_of_safetensors(const std::string& path, Description& d) {
  const io::SafeTensors file(path);
  d.kind = "weights (safetensors)";
  Census census;
  std::size_t optimizer = 0;
  for (const std::string& name : file.names()) {
    census.add(name, file.info(name).dtype, file.info(name).shape);
    optimizer += name.starts_with("optimizer/");
  }
  census.tell(d, "safetensors");
  std::string all;
  for (const auto& [key, value] : file.metadata()) all += (all.empty() ? "" : ", ") + (value.size() < 40 ? key + "=" + value : key);
  if (!all.empty()) d.line("metadata", all);
  d.fields.emplace_back("checkpoint", optimizer > 0);
  if (optimizer) d.notes.push_back("holds the optimiser's state too: a checkpoint that training can go on from");
}

/// An error's text without the path, which stands in front of the description already.
std::string reason_of(const Error& error, const std::string& path) {
  const std::string why = error.what();
  return why.starts_with(path + ": ") ? why.substr(path.size() + 2) : why;
}

void describe_stardist(const std::string& path, Description& d) {
  d.kind = "StarDist-3D model folder";
  const StarDistModel model = open_stardist_model(path, false);
  d.line("network", fmt::format("StarDist-3D, {} backbone, {} rays, grid {},{},{}, {} parameters",
                                model.config.network.is_unet() ? "unet" : "resnet", model.config.network.n_rays, model.config.network.grid[0],
                                model.config.network.grid[1], model.config.network.grid[2], model.net->parameter_count()));
  d.line("thresholds", fmt::format("prob {}, nms {}", model.thresholds.prob, model.thresholds.nms));
  d.notes.insert(d.notes.end(), model.notes.begin(), model.notes.end());
}

void describe_unet(const std::string& path, Description& d) {
  const ModelFolder folder = ModelFolder::existing(path);
  const bool ours = folder.has_weights() || folder.has_checkpoint();
  d.kind = ours ? "model folder" : "model folder of the published pipeline (PyTorch)";
  const auto net = folder.network();
  d.line("network", fmt::format("{}, {} parameters", unet_text(train_config(folder.config()).model), net->parameter_count()));
  const Thresholds t = folder.thresholds();
  const auto shown = [](const std::optional<double>& v) { return v ? fmt::format("{}", *v) : std::string("none"); };
  d.line("thresholds", fmt::format("segmentation {}, detection {}", shown(t.segmentation), shown(t.detection)));
}

}  // namespace

Description describe_weights(const std::string& path) {
  Description d;
  if (identify_file(path).kind == FileKind::torch) census_of_torch(path, d);
  else census_of_safetensors(path, d);
  const std::optional<ModelConfig> unet = guess_unet(weight_shapes(path));
  d.usable = unet.has_value();
  if (!unet) {
    d.use = "the names are not those of the 3-D U-Net ('down_convs...'): this program has no such network. --tensors lists what it holds.";
    return d;
  }
  d.line("network", unet_text(*unet));
  try {
    load_weights(path, *make_network(*unet, 0));
    d.use = "weights of the 3-D U-Net, which fit: put them into a model folder beside a config.yaml, as results.pt or weights.safetensors.";
  } catch (const Error& error) {
    d.usable = false;
    d.use = "does not fit: " + reason_of(error, path);
  }
  d.fields.emplace_back("fits", d.usable);
  return d;
}

Description describe_model_folder(const std::string& path) {
  Description d;
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(path)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  d.kind = "model folder";
  d.line("files", all);
  try {
    if (is_stardist_folder(path)) describe_stardist(path, d);
    else describe_unet(path, d);
    d.use = "voxgrad predict --model " + path + " MOVIE";
  } catch (const Error& error) {
    d.usable = false;
    d.use = "does not fit: " + std::string(error.what());
  }
  d.fields = {{"format", "model"}, {"fits", d.usable}};
  return d;
}

Description describe_bundle(const std::string& path) {
  const OpenedModel model(path);
  Description d = describe_model_folder(model.path());
  d.kind = "bundle of a " + d.kind;
  d.use = d.usable ? "voxgrad predict --model " + path + " MOVIE" : d.use;
  return d;
}

}  // namespace voxgrad::app
