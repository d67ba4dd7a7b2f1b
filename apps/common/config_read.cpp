// SPDX-License-Identifier: BSD-3-Clause
// The one file that knows the YAML library. Its errors name no key and count lines from 0; ours name both.

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <map>
#include <set>

#include "config.hpp"
#include "files.hpp"
#include "voxgrad/core/error.hpp"

namespace voxgrad::app {

namespace {

constexpr std::size_t largest_file = std::size_t(1) << 20;
/// Keys of the StarDist experiments of the published pipeline, which no U-Net file has, and ours for them.
const std::map<std::string, std::string> stardist_keys = {{"model-name", "stardist_config.model_name"},
                                                          {"train-folds", "training_config.train_folds"},
                                                          {"valid-folds", "training_config.valid_folds"},
                                                          {"samples_pu", "training_config.samples_pu"},
                                                          {"basedir", "root"},
                                                          {"random-state", "seed"},
                                                          {"test-data", "stardist_config.test_data"}};
/// What the published script has in place of keys.
const std::vector<std::pair<std::string, std::string>> stardist_script = {
    {"type", "stardist3d"}, {"dataset", "data/80-20_calcium_dataset.h5"}, {"root", "data/baselines/StarDist3D/models"}};

std::string kind(const YAML::Node& node) {
  if (node.IsMap()) return "a map";
  if (node.IsSequence()) return "a list";
  if (node.IsNull()) return "empty";
  return "'" + node.Scalar() + "'";
}

}  // namespace

class ConfigReader {
 public:
  ConfigReader(Config& config, std::string name, bool lines)
      : config_(config), name_(std::move(name)), lines_(lines) {}

  void read(const std::string& yaml) {
    const YAML::Node root = parse(yaml);
    if (root.IsNull()) return;
    check<UsageError>(root.IsMap(), where(root), "is ", kind(root),
                      ", but a configuration is a map of keys.");
    const bool published = std::any_of(root.begin(), root.end(), [](const auto& pair) {
      return pair.first.IsScalar() && stardist_keys.contains(pair.first.Scalar());
    });
    if (published)
      for (const auto& [path, value] : stardist_script)
        if (!config_.given(path)) config_.store(*find_key(path), {value}, name_ + ": as the published StarDist script");
    read_map(root, "");
  }

  void read_value(const ConfigKey& key, const std::string& yaml) { read_key(key, parse(yaml)); }

 private:
  YAML::Node parse(const std::string& yaml) const {
    try {
      return YAML::Load(yaml);
    } catch (const YAML::Exception& error) {
      const std::string line = lines_ && !error.mark.is_null() ? text(":", error.mark.line + 1) : "";
      throw UsageError(text(name_, line, ": is not valid YAML (", error.msg, ")."));
    }
  }

  std::string origin(const YAML::Node& node) const {
    const int line = node.Mark().line;
    return lines_ && line >= 0 ? text(name_, ":", line + 1) : name_;
  }
  std::string where(const YAML::Node& node) const { return origin(node) + ": "; }

  void read_map(const YAML::Node& map, const std::string& prefix) {
    std::set<std::string> seen;
    for (const auto& pair : map) {
      check<UsageError>(pair.first.IsScalar(), where(pair.first), prefix, " has ", kind(pair.first),
                        " as a key.");
      const auto ours = prefix.empty() ? stardist_keys.find(pair.first.Scalar()) : stardist_keys.end();
      const std::string path = ours != stardist_keys.end() ? ours->second : prefix + pair.first.Scalar();
      check<UsageError>(seen.insert(path).second, where(pair.first), path, " is given twice.");
      read_entry(path, pair.first, pair.second);
    }
  }

  void read_entry(const std::string& path, const YAML::Node& key_node, const YAML::Node& node) {
    if (const ConfigKey* key = find_key(path)) return read_key(*key, node);
    std::vector<std::string> siblings;
    bool section = false;
    const std::string prefix = path.substr(0, path.rfind('.') + 1);
    for (const ConfigKey& key : config_keys()) {
      section = section || key.path.rfind(path + ".", 0) == 0;
      if (key.path.rfind(prefix, 0) == 0)
        siblings.push_back(key.path.substr(0, key.path.find('.', prefix.size())));
    }
    check<UsageError>(section, where(key_node), "unknown key '", path, "'.", did_you_mean(path, siblings),
                      " All keys: voxgrad train --help-config.");
    if (path == "training_config.optimizer") return read_optimizer(node, path);
    if (path == "training_config.schedule" && node.IsScalar())
      return read_key(*find_key(path + ".name"), node);
    if (node.IsNull()) return;
    check<UsageError>(node.IsMap(), where(node), path, " is ", kind(node), " (expected a map of keys).");
    read_map(node, path + ".");
  }

  /// Published as `[adam, {betas: ..., lr: ...}]`, saved by the reference as `{lr: ...}`; a lone name is
  /// taken too.
  void read_optimizer(const YAML::Node& node, const std::string& path) {
    const ConfigKey& name = *find_key(path + ".name");
    if (node.IsScalar()) return read_key(name, node);
    if (node.IsMap()) return read_map(node, path + ".");
    const bool list = node.IsSequence() && node.size() >= 1 && node.size() <= 2 && node[0].IsScalar() &&
                      (node.size() == 1 || node[1].IsMap());
    check<UsageError>(list, where(node), path, " is ", kind(node),
                      " (expected a map such as {name: adam, lr: 0.0002} or a "
                      "list such as [adam, {lr: 0.0002}]).");
    read_key(name, node[0]);
    if (node.size() == 2) read_map(node[1], path + ".");
  }

  void read_key(const ConfigKey& key, const YAML::Node& node) {
    const bool wants_list = key.type == KeyType::texts || key.type == KeyType::reals;
    std::vector<std::string> items;
    bool ok = node.IsScalar();
    if (wants_list && node.IsSequence()) {
      ok = true;
      for (const YAML::Node& item : node) {
        ok = ok && item.IsScalar();
        if (item.IsScalar()) items.push_back(item.Scalar());
      }
    } else if (node.IsScalar()) {
      items.push_back(node.Scalar());
    } else if (node.IsNull() && key.type == KeyType::text) {
      ok = true;
      items.push_back("");
    }
    check<UsageError>(ok, where(node), key.path, " is ", kind(node), " (expected ", expected_text(key), ").");
    config_.store(key, items, origin(node));
  }

  Config& config_;
  std::string name_;
  bool lines_;
};

void Config::read_file(const std::string& path) { read_text(app::read_file(path, largest_file), path); }

void Config::read_text(const std::string& yaml, const std::string& name) {
  ConfigReader(*this, name, true).read(yaml);
}

void Config::set(const std::string& path, const std::string& yaml, const std::string& origin) {
  std::vector<std::string> paths;
  for (const ConfigKey& key : config_keys()) paths.push_back(key.path);
  const ConfigKey* key = find_key(path);
  check<UsageError>(key != nullptr, origin, ": unknown key '", path, "'.", did_you_mean(path, paths),
                    " All keys: voxgrad train --help-config.");
  ConfigReader(*this, origin, false).read_value(*key, yaml);
}

}  // namespace voxgrad::app
