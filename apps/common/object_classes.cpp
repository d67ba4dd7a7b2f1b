// SPDX-License-Identifier: BSD-3-Clause
#include "object_classes.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "files.hpp"
#include "options.hpp"
#include "tables.hpp"
#include "volume_file.hpp"
#include "voxgrad/metrics/components.hpp"

namespace voxgrad::app {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using stardist::ObjectClasses;

/// 0 is none, as nothing.
std::optional<int> checked_class(double value, int64_t n_classes, const std::string& where) {
  check<FileError>(value >= 0 && value <= double(n_classes) && value == std::floor(value), where, value, " (expected a class from 1 to ", n_classes,
                   ", or 0 for none).");
  return value > 0 ? std::optional(int(value)) : std::nullopt;
}

ObjectClasses from_table(const std::string& path, int64_t n_classes) {
  const CsvTable table = CsvTable::read(path);
  ObjectClasses classes;
  for (size_t i = 0; i < table.rows(); ++i) {
    const auto label = int64_t(table.number(i, "label"));
    const auto value = table.maybe_number(i, "class");
    const bool first = classes.of_label.emplace(label, checked_class(value.value_or(0), n_classes, text(path, ": label ", label, " has class "))).second;
    check<FileError>(first, path, ": label ", label, " has two rows.");
  }
  return classes;
}

ObjectClasses from_json(const std::string& path, int64_t n_classes) {
  const json root = json::parse(read_file(path, size_t(1) << 28), nullptr, false);
  const auto one = [&](const json& v, const std::string& what) -> std::optional<int> {
    if (v.is_null()) return {};
    check<FileError>(v.is_number(), path, ": ", what, v.dump(-1, ' ', false, json::error_handler_t::replace), " (expected a class from 1 to ", n_classes, ", or null for none).");
    return checked_class(v.get<double>(), n_classes, path + ": " + what);
  };
  ObjectClasses classes;
  if (root.is_number() || root.is_null()) {
    classes.same_for_all = true;
    classes.all = one(root, "the class of all objects is ");
    return classes;
  }
  check<FileError>(root.is_object(), path, ": is not a table of classes (expected {\"LABEL\": CLASS, ...}, or one class for all objects).");
  for (const auto& [key, value] : root.items()) {
    const auto label = parse_integer(key);
    check<FileError>(label.has_value(), path, ": the key '", key, "' is no label (expected the number of an object).");
    classes.of_label.emplace(*label, one(value, text("label ", key, " has class ")));
  }
  return classes;
}

ObjectClasses from_volume(const std::string& path, const data::Volume<int32_t>& labels, int64_t n_classes) {
  const data::Volume<int32_t> of_voxel = read_label_volume(path);
  const data::Extent3 &a = of_voxel.extent, &b = labels.extent;
  check<FileError>(a == b, path, " is ", a[0], "x", a[1], "x", a[2], ", but its label volume ", b[0], "x", b[1], "x", b[2], ".");
  std::map<int32_t, std::map<int32_t, int64_t>> votes;
  for (size_t i = 0; i < labels.voxels.size(); ++i)
    if (labels.voxels[i] > 0) ++votes[labels.voxels[i]][std::max(of_voxel.voxels[i], 0)];
  ObjectClasses classes;
  for (const auto& [label, counts] : votes) {
    const auto most = std::max_element(counts.begin(), counts.end(), [](const auto& x, const auto& y) { return x.second < y.second; });
    classes.of_label.emplace(label, checked_class(double(most->first), n_classes, text(path, ": object ", label, " has class ")));
  }
  return classes;
}

/// One number for each connected piece of voxels whose value(label) is above 0 and the same; other voxels stay.
template <class Value>
void number_components(data::Volume<int32_t>& labels, const Value& value) {
  std::vector<int32_t> plane(size_t(labels.frame_size()));
  const metrics::Components c = metrics::label_frames<int32_t>(labels.extent, [&](int64_t z) {
    std::transform(labels.frame(z), labels.frame(z) + plane.size(), plane.begin(), [&](int32_t l) { return std::max(0, value(l)); });
    return plane.data();
  });
  for (size_t i = 0; i < labels.voxels.size(); ++i)
    if (labels.voxels[i] > 0) labels.voxels[i] = int32_t(c.labels.voxels[i]);
}

}  // namespace

std::string class_file(const std::string& masks, const std::string& volume) {
  const std::string stem = fs::path(volume).stem().string(), beside = fs::path(masks).parent_path().string();
  std::string found;
  for (const std::string& name : {(beside.empty() ? "classes/" : beside + "/classes/") + stem, masks + "/" + stem})
    for (const char* ending : {".csv", ".json", ".tif", ".tiff"}) {
      const bool labels = name == masks + "/" + stem && ending[1] == 't';
      if (labels || !fs::is_regular_file(name + ending)) continue;
      check<FileError>(found.empty(), found, " and ", name, ending, " both hold classes of ", volume, ". Keep one.");
      found = name + ending;
    }
  return found;
}

ObjectClasses read_object_classes(const std::string& path, const data::Volume<int32_t>& labels, int64_t n_classes) {
  const ObjectClasses classes = has_ending(path, {".csv"})    ? from_table(path, n_classes)
                                : has_ending(path, {".json"}) ? from_json(path, n_classes)
                                                              : from_volume(path, labels, n_classes);
  check_classes(classes, labels, path);
  return classes;
}

void check_classes(const ObjectClasses& classes, const data::Volume<int32_t>& labels, const std::string& path) {
  int32_t last = 0;
  for (const int32_t l : labels.voxels) {
    if (l <= 0 || l == last || classes.same_for_all) continue;
    check<FileError>(classes.of_label.contains(l), path, ": object ", l, " of the label volume has no class. Give it one, or class 0 to leave it out ",
                     "of the class loss.");
    last = l;
  }
}

ObjectClasses separate_classes(data::Volume<int32_t>& labels, int64_t n_classes, const std::string& path) {
  const std::vector<int32_t> stored = labels.voxels;
  for (const int32_t l : stored)
    check<FileError>(l <= n_classes, path, ": holds the class ", l, " (expected 1 to ", n_classes, ", 0 for background; labels: classes).");
  number_components(labels, [](int32_t l) { return l; });
  ObjectClasses classes;
  for (size_t i = 0; i < stored.size(); ++i)
    if (stored[i] > 0) classes.of_label.emplace(labels.voxels[i], stored[i]);
  return classes;
}

void separate_components(data::Volume<int32_t>& labels) {
  number_components(labels, [](int32_t l) { return int32_t(l > 0); });
}

}  // namespace voxgrad::app
