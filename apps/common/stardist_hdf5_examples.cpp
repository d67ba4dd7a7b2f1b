// SPDX-License-Identifier: BSD-3-Clause
// Crops of the published HDF5 files with their objects.

#include <algorithm>
#include <cmath>

#include "object_classes.hpp"
#include "stardist_examples.hpp"

namespace voxgrad::app {
namespace {

using stardist::Example;

/// Crops of a fold with the numbers of their objects: listed samples, or all events (or stored crops) of some movies.
class Hdf5Examples : public CachedExamples {
 public:
  Hdf5Examples(std::shared_ptr<const data::Hdf5Fold> fold, const std::vector<data::Sample>& samples, int64_t crop, const ExampleRule& rule)
      : CachedExamples(rule), fold_(std::move(fold)), crop_(crop) {
    for (const data::Sample& s : samples) add(s);
  }
  Hdf5Examples(std::shared_ptr<const data::Hdf5Fold> fold, const std::vector<const data::MovieEntry*>& movies, int64_t crop, const ExampleRule& rule)
      : CachedExamples(rule), fold_(std::move(fold)), crop_(crop) {
    for (const data::MovieEntry* m : movies) {
      if (m->crops_only)
        for (const std::string& key : fold_->file().children(m->group + "/input"))
          items_.push_back({m, m->group + "/input/" + key, m->group + "/label/" + key, {}, key[0] != '['});
      else
        for (const data::Event& e : m->events) items_.push_back({m, "", "", data::event_box(e.centre(), m->extent, crop_)});
    }
  }
  int64_t size() const override { return int64_t(items_.size()); }
  std::string name(int64_t index) const override { return text(fold_->file().path(), ": crop ", index, " (", input_of(index), ")"); }
  data::Volume<int32_t> stored_labels(int64_t index) const override { return labels(label_of(index), box_of(index)); }

 private:
  struct Item {
    const data::MovieEntry* movie;
    std::string input, label;  // stored crops; empty: cut `box` from the movie
    data::Box3 box;
    bool centred = true;  // cut around an event
  };

  void add(const data::Sample& s) {
    const std::string& path = fold_->file().path();
    const int64_t at = fold_->find(s.movie);
    check<FileError>(at >= 0, path, ": the samples list names movie '", s.movie, "', which group '/", fold_->fold(), "' does not have.");
    const data::MovieEntry& m = fold_->movies()[size_t(at)];
    const std::string key = s.positive() ? std::to_string(s.row) : data::coord_key(s.coord);
    const std::string kind = m.crops_only ? "/" : s.positive() ? "/cache-" : "/cache-unlabeled-";
    const std::string input = m.group + kind + "input/" + key, label = m.group + kind + "label/" + key;
    if (m.crops_only || (fold_->file().is_dataset(input) && fold_->file().is_dataset(label))) {
      items_.push_back({&m, input, label, {}, s.positive()});
      return;
    }
    check<FileError>(!s.positive() || s.row < int64_t(m.events.size()), path, ": the samples list asks for event row ", s.row, " of ",
                     m.group, ", which has ", m.events.size(), " events.");
    const data::Box3 box = s.positive() ? data::event_box(m.events[size_t(s.row)].centre(), m.extent, crop_)
                                        : data::corner_box(s.coord, m.extent, crop_);
    check<FileError>(!box.empty() && std::min({box.start[0], box.start[1], box.start[2]}) >= 0, path, ": the samples list asks for a crop at ",
                     key, " of ", m.group, ", outside of the movie.");
    items_.push_back({&m, "", "", box, s.positive()});
  }

  std::string input_of(int64_t index) const {
    const Item& item = items_.at(size_t(index));
    return item.input.empty() ? item.movie->group + "/input" : item.input;
  }
  std::string label_of(int64_t index) const {
    const Item& item = items_.at(size_t(index));
    return item.input.empty() ? item.movie->group + "/label" : item.label;
  }
  /// Where the crop lies in what is stored.
  data::Box3 box_of(int64_t index) const {
    const Item& item = items_.at(size_t(index));
    data::Box3 box = item.box;
    if (item.input.empty()) return box;
    const io::H5File& file = fold_->file();
    const auto in = file.info(item.input).shape, lab = file.info(item.label).shape;
    std::vector<int64_t> wanted = lab;
    if (rule().channels > 1) wanted.push_back(rule().channels);
    check<FileError>(lab.size() == 3 && in == wanted && std::max({lab[0], lab[1], lab[2]}) <= crop_ && std::min({lab[0], lab[1], lab[2]}) > 0,
                     file.path(), ": ", item.input, " is ", io::h5_shape_text(in), ", ", item.label, " ", io::h5_shape_text(lab),
                     " (expected crops of one shape, at most ", crop_, " voxels per axis", rule().channels > 1 ? text(", with ", rule().channels, " channels last") : "", ").");
    box.stop = {lab[0], lab[1], lab[2]};
    return box;
  }
  /// All channels of a box, [z,y,x,channels].
  std::vector<float> read(const std::string& name, const data::Box3& box, int64_t channels) const {
    const data::Extent3 n = box.size();
    std::vector<float> values(size_t(data::voxel_count(n) * channels));
    std::vector<int64_t> start{box.start[0], box.start[1], box.start[2]}, count{n[0], n[1], n[2]};
    if (channels > 1) start.push_back(0), count.push_back(channels);
    fold_->file().read<float>(name, start, count, values.data());
    return values;
  }
  data::Volume<int32_t> labels(const std::string& name, const data::Box3& box) const {
    const data::Extent3 n = box.size();
    data::Volume<int32_t> v(n);
    fold_->read_ids(name, {box.start[0], box.start[1], box.start[2]}, {n[0], n[1], n[2]}, v.voxels.data());
    return v;
  }

  stardist::ObjectClasses classes_of(const data::MovieEntry& movie, const data::Volume<int32_t>& ids) const {
    const io::H5File& file = fold_->file();
    const std::string name = movie.group + "/classes";
    stardist::ObjectClasses classes;
    if (!file.is_dataset(name)) {
      check<FileError>(rule().n_classes == 1, file.path(), ": no data set ", name, " ([N,2]: label, class), which n_classes ", rule().n_classes, " asks for.");
      classes.same_for_all = true, classes.all = 1;
      return classes;
    }
    check<FileError>(!*rule().masks, file.path(), ": ", name, " gives classes by label, but the labels are masks, whose objects have no numbers.");
    const auto shape = file.info(name).shape;
    check<FileError>(shape.size() == 2 && shape[1] == 2, file.path(), ": ", name, " is ", io::h5_shape_text(shape), " (expected [N,2]: label, class).");
    const auto rows = file.read<int64_t>(name);
    for (size_t i = 0; i + 1 < rows.size(); i += 2) {
      check<FileError>(rows[i + 1] >= 0 && rows[i + 1] <= rule().n_classes, file.path(), ": ", name, " gives label ", rows[i], " the class ", rows[i + 1],
                       " (expected 1 to ", rule().n_classes, ", or 0 for none).");
      classes.of_label[rows[i]] = rows[i + 1] > 0 ? std::optional(int(rows[i + 1])) : std::nullopt;
    }
    check_classes(classes, ids, text(file.path(), ": ", name));
    return classes;
  }

  Example load(int64_t index) const override {
    const std::string input = input_of(index);
    const data::Box3 box = box_of(index);
    const data::Extent3 n = box.size(), full{crop_, crop_, crop_};
    const std::vector<float> values = read(input, box, rule().channels);
    for (const float v : values) check<FileError>(std::isfinite(v), fold_->file().path(), ": ", input, " holds NaN or infinity.");
    Example cut{data::Volume<float>(n), labels(label_of(index), box)};
    finish(cut, fold_->file().path(), [&] { return classes_of(*items_[size_t(index)].movie, cut.labels); });
    Example out{data::Volume<float>(full), data::Volume<int32_t>(full), items_[size_t(index)].centred};
    out.classes = std::move(cut.classes);
    for (int64_t c = 0; c < rule().channels; ++c) {
      for (size_t i = 0; i < cut.image.voxels.size(); ++i) cut.image.voxels[i] = values[i * size_t(rule().channels) + size_t(c)];
      data::Volume<float>& to = c == 0 ? out.image : out.more.emplace_back(full);
      data::pad_end_symmetric(cut.image.voxels.data(), n, to.voxels.data(), full);
    }
    data::pad_end_symmetric(cut.labels.voxels.data(), n, out.labels.voxels.data(), full);
    return out;
  }

  std::shared_ptr<const data::Hdf5Fold> fold_;
  int64_t crop_;
  std::vector<Item> items_;
};

}  // namespace

CachedSource hdf5_examples(std::shared_ptr<const data::Hdf5Fold> fold, const std::vector<data::Sample>& samples, int64_t crop, const ExampleRule& rule) {
  return std::make_shared<const Hdf5Examples>(std::move(fold), samples, crop, rule);
}
CachedSource hdf5_examples(std::shared_ptr<const data::Hdf5Fold> fold, const std::vector<const data::MovieEntry*>& movies, int64_t crop, const ExampleRule& rule) {
  return std::make_shared<const Hdf5Examples>(std::move(fold), movies, crop, rule);
}

}  // namespace voxgrad::app
