// SPDX-License-Identifier: BSD-3-Clause
#include "model_folder.hpp"

#include <sys/stat.h>

#include <filesystem>

#include <nlohmann/json.hpp>

#include "file_kind.hpp"
#include "files.hpp"
#include "json_text.hpp"
#include "torch_model.hpp"
#include "weights_fit.hpp"
#include "voxgrad/io/safetensors.hpp"

namespace voxgrad::app {
namespace {

bool exists(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0;
}

const char* const layout = "activations NDHWC, kernels kD kH kW in out";

std::vector<io::SafeTensorItem> items_of(nn::Module& net) {
  std::vector<io::SafeTensorItem> items;
  for (const nn::Named& n : net.state()) items.push_back(io::safetensor_item(n.name, *n.tensor));
  return items;
}

const std::string optimizer_prefix = "optimizer/";

void load_network(io::SafeTensors& file, const std::string& path, nn::Module& net) {
  check_fit(path, net, network_shapes(file, path));
  nn::load_state(net, [&](const std::string& name) { return file.tensor(name); }, {});
}

}  // namespace

std::unique_ptr<models::UNet3d> make_network(const ModelConfig& c, uint64_t seed) {
  models::UNet3dOptions o;
  o.in_channels = c.in_channels;
  o.out_channels = c.out_channels;
  o.layers = c.n_layer;
  o.width = c.nbf;
  o.dilations = c.r;
  o.first_kernel = c.first_kernel_size;
  o.batch_norm = c.use_batch_norm;
  o.leaky_relu = c.use_leaky_relu;
  return std::make_unique<models::UNet3d>(o, Random(seed, 0x77656967687473));
}

std::map<std::string, Shape> network_shapes(const io::SafeTensors& file, const std::string& path) {
  std::map<std::string, Shape> shapes;
  for (const std::string& name : file.names()) {
    if (name.starts_with(optimizer_prefix)) continue;
    const std::vector<int64_t>& s = file.info(name).shape;
    check<FileError>(s.size() <= size_t(Shape::max_rank), path, ": '", name, "' has ", s.size(), " axes (expected at most ", Shape::max_rank, ").");
    shapes.emplace(name, Shape(s.begin(), s.end()));
  }
  return shapes;
}

void save_weights(const std::string& path, nn::Module& net, Metadata metadata) {
  metadata["layout"] = layout;
  io::write_safetensors(path, items_of(net), metadata);
}

Metadata load_weights(const std::string& path, nn::Module& net) {
  const FileIdentity found = identify_file(path);
  if (found.kind == FileKind::torch) return load_torch_weights(path, net);
  check<FileError>(found.kind == FileKind::safetensors, path, ": is no file of weights but: ", found.name, " (expected safetensors, or what torch.save wrote). ",
                   found.kind == FileKind::hdf5 ? "Keras' HDF5 weights are read into StarDist models." : found.advice);
  io::SafeTensors file(path);
  load_network(file, path, net);
  return file.metadata();
}

void save_checkpoint(const std::string& path, nn::Module& net, optim::Optimizer& optimizer, Metadata metadata) {
  std::vector<io::SafeTensorItem> items = items_of(net);
  for (const nn::Named& n : optimizer.state()) items.push_back(io::safetensor_item(optimizer_prefix + n.name, *n.tensor));
  metadata["layout"] = layout;
  metadata["optimizer_step"] = std::to_string(optimizer.step_count());
  io::write_safetensors(path, items, metadata);
}

Metadata load_checkpoint(const std::string& path, nn::Module& net, optim::Optimizer& optimizer) {
  io::SafeTensors file(path);
  load_network(file, path, net);
  for (const nn::Named& n : optimizer.state()) {
    const std::string name = optimizer_prefix + n.name;
    check<FileError>(file.has(name), path, ": holds no '", name, "'. It cannot be resumed with this optimiser; ",
                     "start from its weights with --init instead.");
    const Tensor t = file.tensor(name);
    check<FileError>(t.shape() == n.tensor->shape(), path, ": '", name, "' is ", t.shape(), " (expected ", n.tensor->shape(), ").");
    *n.tensor = t.to(n.tensor->dtype());
  }
  const auto step = file.metadata().find("optimizer_step");
  const auto count = step == file.metadata().end() ? std::nullopt : parse_integer(step->second);
  check<FileError>(count && *count >= 0, path, ": its metadata lacks 'optimizer_step'. It is not a checkpoint of this program.");
  optimizer.set_step_count(*count);
  return file.metadata();
}

ModelFolder ModelFolder::existing(const std::string& path) {
  ModelFolder folder(path);
  while (folder.path_.size() > 1 && folder.path_.back() == '/') folder.path_.pop_back();
  check<FileError>(exists(path), path, ": no such model folder.");
  if (!std::filesystem::is_directory(path)) refuse_file_as_model(path);
  check<FileError>(!exists(folder.path_ + "/config.json"), path, ": is a StarDist model (config.json), but this command works with U-Net models.");
  if (!folder.best_file().empty()) {
    check<FileError>(exists(folder.config_file()), path, ": holds weights but no config.yaml, which says how the network is built.");
    return folder;
  }
  check<FileError>(!exists(folder.path_ + "/saved_model.pb"), path, ": is a TensorFlow SavedModel. Of Keras, StarDist folders are read (config.json and weights_best.h5).");
  check<FileError>(!exists(folder.path_ + "/weights_best.h5"), path, ": is a StarDist model folder (weights_best.h5) without its config.json, which says how the network is built.");
  throw FileError(text(path, ": holds no model (expected config.yaml and weights.safetensors or results.pt). Train one with: voxgrad train"));
}

std::string ModelFolder::name() const {
  const size_t slash = path_.find_last_of('/');
  return slash == std::string::npos ? path_ : path_.substr(slash + 1);
}

bool ModelFolder::has_weights() const { return exists(weights_file()); }
bool ModelFolder::has_checkpoint() const { return exists(checkpoint_file()); }
bool ModelFolder::has_torch() const { return exists(path_ + "/results.pt") || exists(path_ + "/checkpoint.pt"); }

std::string ModelFolder::best_file() const {
  if (has_weights()) return weights_file();
  if (has_checkpoint()) return checkpoint_file();
  for (const char* name : {"/results.pt", "/checkpoint.pt"})
    if (exists(path_ + name)) return path_ + name;
  return "";
}
std::string ModelFolder::latest_file() const {
  if (has_checkpoint()) return checkpoint_file();
  if (!has_weights() && exists(path_ + "/checkpoint.pt")) return path_ + "/checkpoint.pt";
  return best_file();
}

Config ModelFolder::config() const {
  try {
    Config config;
    config.read_file(config_file());
    train_config(config);  // keys that do not go together
    return config;
  } catch (const UsageError& e) {  // nobody typed this: a file of the model is damaged
    throw FileError(e.what());
  }
}

std::unique_ptr<models::UNet3d> ModelFolder::network(bool latest) const {
  auto net = make_network(train_config(config()).model, 0);
  load_weights(latest ? latest_file() : best_file(), *net);
  net->eval();
  return net;
}

Thresholds ModelFolder::thresholds() const {
  Thresholds t;
  const std::string json_file = path_ + "/thresholds.json";
  if (exists(json_file)) {
    const auto json = nlohmann::json::parse(read_file(json_file, 1 << 20), nullptr, false);
    check<FileError>(json.is_object(), json_file, ": is not a JSON object. Choose thresholds again with: voxgrad optimize");
    const auto number = [&](const char* key) -> std::optional<double> {
      const auto it = json.find(key);
      if (it == json.end() || it->is_null()) return {};
      check<FileError>(it->is_number() && it->get<double>() >= 0 && it->get<double>() <= 1, json_file, ": '", key, "' is ",
                       it->dump(), " (expected a number from 0 to 1).");
      return it->get<double>();
    };
    t.segmentation = number("segmentation");
    t.detection = number("detection");
    for (auto [key, to] : {std::pair{"method", &t.method}, {"data", &t.data}, {"date", &t.date}})
      if (json.contains(key) && json[key].is_string()) *to = json[key].get<std::string>();
    return t;
  }
  const auto from_text = [&](const char* file) -> std::optional<double> {
    const std::string path = path_ + "/" + file;
    if (!exists(path)) return {};
    std::string value = read_file(path, 1 << 12);
    while (!value.empty() && (value.back() == '\n' || value.back() == ' ' || value.back() == '\r')) value.pop_back();
    const auto number = parse_real(value);
    check<FileError>(number && *number >= 0 && *number <= 1, path, ": is '", value, "' (expected one number from 0 to 1).");
    return number;
  };
  t.segmentation = from_text("optimized-threshold-segmentation");
  if (!t.segmentation) t.segmentation = from_text("optimized-threshold");
  t.detection = from_text("optimized-threshold-detection");
  return t;
}

void ModelFolder::save_thresholds(const Thresholds& chosen) const {
  Thresholds all = thresholds();
  if (chosen.segmentation) all.segmentation = chosen.segmentation;
  if (chosen.detection) all.detection = chosen.detection;
  const auto value = [](const std::optional<double>& v) { return v ? JsonValue(*v) : JsonValue::null(); };
  write_file(path_ + "/thresholds.json",
             json_object({{"segmentation", value(all.segmentation)}, {"detection", value(all.detection)},
                          {"method", chosen.method}, {"data", chosen.data}, {"date", chosen.date}}) + "\n");
  if (chosen.segmentation) write_file(path_ + "/optimized-threshold-segmentation", number_text(*chosen.segmentation));
  if (chosen.detection) write_file(path_ + "/optimized-threshold-detection", number_text(*chosen.detection));
}

}  // namespace voxgrad::app
