// SPDX-License-Identifier: BSD-3-Clause
// Data sets, lists, configurations, weights and tables for `voxgrad inspect`.

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>

#include "config.hpp"
#include "describe.hpp"
#include "files.hpp"
#include "machine.hpp"
#include "samples.hpp"
#include "tables.hpp"
#include "voxgrad/data/hdf5_dataset.hpp"
#include "voxgrad/io/keras_weights.hpp"
#include "voxgrad/io/random_file.hpp"

namespace voxgrad::app {

namespace {

constexpr std::size_t shown = 12;  ///< rows of a listing

/// "a, b, c and 5 more"
std::string some_of(const std::vector<std::string>& names, std::size_t most = shown) {
  std::string out;
  for (std::size_t i = 0; i < std::min(names.size(), most); ++i) out += (i ? ", " : "") + names[i];
  return names.size() > most ? out + fmt::format(" and {} more", names.size() - most) : out;
}

/// An error's text without the path, which stands in front of the description already.
std::string reason_of(const Error& error, const std::string& path) {
  const std::string why = error.what();
  return why.rfind(path + ": ", 0) == 0 ? why.substr(path.size() + 2) : why;
}

/// Data sets below a group, depth first; at most 1000 objects and 12 levels are looked at.
class Hdf5Listing {
 public:
  explicit Hdf5Listing(const io::H5File& file) : file_(file) { walk("", 0); }

  std::vector<std::pair<std::string, std::string>> sets;  ///< name, shape and type
  std::size_t refused = 0;
  bool cut = false;

 private:
  void walk(const std::string& group, int depth) {
    for (const std::string& name : file_.children(group.empty() ? "/" : group)) {
      if (++objects_ > 1000 || depth > 12) {
        cut = true;
        return;
      }
      const std::string path = group + "/" + name;
      try {
        if (file_.is_group(path)) walk(path, depth + 1);
        else if (file_.is_dataset(path)) add(path);
      } catch (const FileError& error) {
        refuse(path, error);
      }
    }
  }
  void add(const std::string& path) {
    const io::H5Info info = file_.info(path);
    sets.emplace_back(path, io::h5_shape_text(info.shape) + " " + info.type_name());
  }
  /// The first is told in full, the others are counted.
  void refuse(const std::string& path, const FileError& error) {
    if (++refused == 1) sets.emplace_back(path, "cannot be read: " + reason_of(error, file_.path()));
  }
  const io::H5File& file_;
  std::size_t objects_ = 0;
};

/// True if a group looks like a fold of a training set: movies with an input.
bool is_fold(const io::H5File& file, const std::string& group) {
  const std::vector<std::string> movies = file.children(group);
  return !movies.empty() && (file.is_dataset(group + "/" + movies[0] + "/input") || file.is_group(group + "/" + movies[0] + "/input"));
}

void add_fold(Description& d, const std::string& path, const std::string& fold) {
  try {
    const data::Hdf5Fold data(path, fold);
    std::int64_t frames = 0, whole = 0;
    std::size_t events = 0;
    for (const data::MovieEntry& m : data.movies()) {
      frames += m.extent[0];
      whole += !m.crops_only;
      events += m.events.size();
    }
    const data::MovieEntry& first = data.movies()[0];
    d.line("/" + fold, whole ? fmt::format("{} movies, {} frames, {} events; the first is [{},{},{}]", data.movies().size(), frames, events, first.extent[0], first.extent[1], first.extent[2])
                             : fmt::format("{} movies as crops only", data.movies().size()));
    d.fields.push_back({fold, Fields{{"movies", data.movies().size()}, {"frames", frames}, {"events", events}, {"crops_only", whole == 0}}});
    if (whole && events == 0) d.notes.push_back("/" + fold + " has no events: it can be predicted on, not trained on");
  } catch (const Error& error) {
    d.usable = false;
    d.line("/" + fold, "does not fit: " + reason_of(error, path));
  }
}

/// Keras: attributes layer_names and, per layer, weight_names.
bool describe_keras(Description& d, const io::H5File& file) {
  std::string group;
  for (const char* place : {"/", "/model_weights"})
    if (group.empty() && (std::string(place) == "/" || file.is_group(place)) && (file.has_attribute(place, "layer_names") || file.has_attribute(place, "layer_names0"))) group = place;
  if (group.empty()) return false;
  d.kind = "Keras weights (HDF5)";
  d.usable = false;
  d.use = "no StarDist (no layers 'prob' and 'dist'), which is the one network of Keras that this program has; --tensors lists what it holds.";
  std::vector<std::string> layers = file.has_attribute(group, "layer_names") ? file.string_attribute(group, "layer_names") : std::vector<std::string>{};
  d.line("layers", fmt::format("{}: {}", layers.size(), some_of(layers)));
  const bool star = std::find(layers.begin(), layers.end(), "dist") != layers.end() && std::find(layers.begin(), layers.end(), "prob") != layers.end();
  if (star) {
    d.line("network", "StarDist, by its layers 'prob' and 'dist'");
    d.usable = true;
    d.use = "part of a StarDist model folder, beside its config.json: voxgrad predict --model DIR.";
  }
  d.fields = {{"format", "keras"}, {"layers", layers.size()}, {"stardist", star}};
  return true;
}

void describe_thresholds(Description& d, const nlohmann::json& j) {
  d.kind = "thresholds";
  for (const auto& [key, value] : j.items())
    if (value.is_number()) d.line(key, value.dump());
  d.use = "belongs in a model folder beside its weights.";
}

/// JSON that is no samples list.
Description describe_other_json(const nlohmann::json& j) {
  Description d;
  d.fields = {{"format", "json"}};
  d.usable = false;
  if (j.is_object() && j.contains("n_rays")) {
    d.kind = "StarDist configuration";
    for (const char* key : {"n_dim", "backbone", "n_rays", "grid", "anisotropy"})
      if (j.contains(key)) d.line(key, j[key].dump());
    d.use = "part of a StarDist model folder: voxgrad predict --model DIR.";
  } else if (j.is_object() && (j.contains("segmentation") || j.contains("detection") || (j.contains("prob") && j.contains("nms")))) {
    describe_thresholds(d, j);
    d.usable = true;
  } else if (j.is_array() && !j.empty() && j[0].is_object() && j[0].contains("coordinates")) {
    d.kind = "list of regions (neurofinder)";
    d.line("regions", std::to_string(j.size()));
    d.use = "regions are not read; to compare detections, give event positions as a table (Slice, X, Y).";
  } else {
    d.kind = "JSON file";
    std::vector<std::string> keys;
    if (j.is_object())
      for (const auto& item : j.items()) keys.push_back(item.key());
    d.line(j.is_object() ? "keys" : "content", j.is_object() ? some_of(keys) : fmt::format("{} entries", j.size()));
    d.use = "it is neither a samples list nor thresholds: no subcommand takes it.";
  }
  return d;
}

bool is_samples_list(const nlohmann::json& j) {
  if (!j.is_object() || j.empty()) return false;
  const auto& first = j.begin().value();
  return first.is_object() && first.contains("positive") && first.contains("negative");
}

}  // namespace

Description describe_hdf5(const std::string& path) {
  const io::H5File file(path);
  Description d;
  if (describe_keras(d, file)) return d;
  std::vector<std::string> folds;
  for (const std::string& name : file.children("/"))
    if (file.is_group("/" + name) && is_fold(file, "/" + name)) folds.push_back(name);
  if (!folds.empty()) {
    d.kind = "training data set (HDF5)";
    d.fields = {{"format", "hdf5-training-set"}};
    for (const std::string& fold : folds) add_fold(d, path, fold);
    const bool usual = std::find(folds.begin(), folds.end(), "train") != folds.end();
    d.use = d.usable ? "voxgrad train " + path + (usual ? "" : " --train-fold " + folds[0]) : "repair what does not fit, then inspect again.";
    return d;
  }
  const Hdf5Listing listing(file);
  d.kind = "HDF5 file";
  d.usable = false;
  for (std::size_t i = 0; i < std::min(listing.sets.size(), shown); ++i) d.line(listing.sets[i].first, listing.sets[i].second);
  if (listing.sets.size() > shown) d.notes.push_back(fmt::format("{} more data sets", listing.sets.size() - shown));
  if (listing.refused > 1) d.notes.push_back(fmt::format("{} more data sets cannot be read, for such a reason", listing.refused - 1));
  if (listing.cut) d.notes.push_back("the file has very many groups; not all were looked at");
  d.fields = {{"format", "hdf5"}, {"datasets", listing.sets.size()}};
  if (io::keras3_layout(file)) {
    d.kind = "weights in Keras 3's own format (HDF5)";
    d.use = "in Keras, load it and save it as '*.h5', not '*.weights.h5'.";
    return d;
  }
  d.use = listing.sets.empty() ? "it holds no data sets." : "not a training set: that has /train/<movie>/input, label and events. Movies to predict on are TIFF files.";
  return d;
}

Description describe_json(const std::string& path) {
  // Published lists reach hundreds of megabytes; those are read entry by entry.
  if (io::RandomFile(path).size() < (std::uint64_t(20) << 20)) {
    const nlohmann::json j = nlohmann::json::parse(read_file(path), nullptr, false);
    check<FileError>(!j.is_discarded(), path, ": is not valid JSON.");
    if (!is_samples_list(j)) return describe_other_json(j);
  }
  Description d;
  d.kind = "samples list";
  const std::vector<std::string> keys = samples_keys(path);
  d.fields = {{"format", "samples"}, {"entries", keys.size()}};
  for (std::size_t i = 0; i < std::min(keys.size(), shown); ++i) {
    const SampleLists lists = read_samples(path, keys[i]);
    const auto positive = std::count_if(lists.train.begin(), lists.train.end(), [](const auto& s) { return s.positive(); });
    d.line(keys[i], fmt::format("{} positive and {} unlabelled crops, {} for validation", positive, std::int64_t(lists.train.size()) - positive, lists.valid.size()));
  }
  if (keys.size() > shown) d.notes.push_back(fmt::format("{} more entries: {}", keys.size() - shown, some_of({keys.begin() + std::ptrdiff_t(shown), keys.end()})));
  d.use = "voxgrad train DATA.h5 --config CONFIG.yaml --samples " + path;
  return d;
}

Description describe_yaml(const std::string& path) {
  Description d;
  d.kind = "configuration (YAML)";
  d.fields = {{"format", "config"}};
  try {
    Config config;
    config.read_file(path);
    train_config(config);
    for (const ConfigKey& key : config_keys())
      if (config.given(key.path)) d.line(key.path, some_of(config.texts(key.path)));
    d.notes = config.notes();
    d.use = "voxgrad train DATA.h5 --config " + path;
  } catch (const Error& error) {
    d.usable = false;
    d.kind = "YAML file";
    d.use = "not a configuration that can be used: " + reason_of(error, path);
  }
  return d;
}

Description describe_csv(const std::string& path) {
  const CsvTable table = CsvTable::read(path);
  Description d;
  d.kind = "table (CSV)";
  d.line("rows", std::to_string(table.rows()));
  d.line("columns", some_of(table.header(), 20));
  d.fields = {{"format", "csv"}};
  try {
    const ExpertPoints points = read_expert(path);
    d.line("positions", fmt::format("{} events", points.points.size()));
    d.notes = points.warnings;
    d.fields.push_back({"events", points.points.size()});
    d.use = "event positions: voxgrad evaluate compares predictions with them.";
  } catch (const FileError& error) {
    d.usable = false;
    d.use = "not event positions: " + reason_of(error, path);
  }
  return d;
}

}  // namespace voxgrad::app
