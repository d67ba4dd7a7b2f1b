// SPDX-License-Identifier: BSD-3-Clause
// Volumes and label volumes as TIFF.

#include <filesystem>

#include "files.hpp"
#include "object_classes.hpp"
#include "stardist_data.hpp"
#include "stardist_examples.hpp"
#include "volume_file.hpp"

namespace voxgrad::app {
namespace {

namespace fs = std::filesystem;
using stardist::Example;

class TiffExamples : public CachedExamples {
 public:
  TiffExamples(const TiffFolders& folders, std::vector<std::string> names, const ExampleRule& rule)
      : CachedExamples(rule), folders_(folders), names_(std::move(names)) {}
  int64_t size() const override { return int64_t(names_.size()); }
  std::string name(int64_t index) const override { return folders_.images + "/" + names_.at(size_t(index)); }
  data::Volume<int32_t> stored_labels(int64_t index) const override { return read_label_volume(folders_.masks + "/" + names_.at(size_t(index)), folders_.axes); }

 private:
  Example load(int64_t index) const override {
    const std::string &name = names_.at(size_t(index)), image_path = folders_.images + "/" + name, mask_path = folders_.masks + "/" + name;
    VolumeOptions options;
    options.axes = folders_.axes;
    options.channels = rule().channels;
    std::vector<data::Volume<float>> channels = read_image_volume(image_path, options);
    for (size_t c = 0; folders_.normalize && c < channels.size(); ++c) {
      const data::PercentileScale scale = data::percentile_scale(channels[c].voxels);
      check_scale(channels.size() > 1 ? text(image_path, " (channel ", c + 1, ")") : image_path, scale);
      scale.apply(channels[c].voxels.data(), channels[c].voxels.data(), channels[c].size());
    }
    Example e{std::move(channels[0]), read_label_volume(mask_path, folders_.axes)};
    e.more.assign(std::make_move_iterator(channels.begin() + 1), std::make_move_iterator(channels.end()));
    const data::Extent3 &a = e.image.extent, &b = e.labels.extent;
    check<FileError>(a == b, mask_path, " is ", b[0], "x", b[1], "x", b[2], ", but ", image_path, " is ", a[0], "x", a[1], "x", a[2],
                     ". Both must have the same shape.");
    finish(e, mask_path, [&] { return classes_of(name, e.labels); });
    return e;
  }

  stardist::ObjectClasses classes_of(const std::string& name, const data::Volume<int32_t>& ids) const {
    const std::string path = class_file(folders_.masks, name);
    if (path.empty()) {
      check<FileError>(rule().n_classes == 1, folders_.masks, "/", name, ": its objects have no classes, which n_classes ", rule().n_classes, " asks for. Put a table ",
                       "with the columns label and class into ", fs::path(folders_.masks).parent_path().string(), "/classes/", fs::path(name).stem().string(), ".csv.");
      stardist::ObjectClasses all;
      all.same_for_all = true, all.all = 1;
      return all;
    }
    const bool of_voxels = has_ending(path, {".tif", ".tiff"});
    stardist::ObjectClasses classes = read_object_classes(path, of_voxels ? ids : data::Volume<int32_t>({1, 1, 1}), rule().n_classes);
    check<FileError>(of_voxels || classes.same_for_all || !*rule().masks, path, ": gives classes by label, but the labels are masks, whose objects have no numbers. ",
                     "Give one class for all as JSON, or a volume of classes.");
    check_classes(classes, ids, path);
    return classes;
  }

  TiffFolders folders_;
  std::vector<std::string> names_;
};

}  // namespace

CachedSource tiff_examples(const TiffFolders& folders, std::vector<std::string> names, const ExampleRule& rule) {
  return std::make_shared<const TiffExamples>(folders, std::move(names), rule);
}

}  // namespace voxgrad::app
