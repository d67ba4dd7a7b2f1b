// SPDX-License-Identifier: BSD-3-Clause
#include "stardist_data.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <mutex>
#include <unordered_map>

#include "files.hpp"
#include "object_classes.hpp"
#include "samples.hpp"
#include "volume_file.hpp"
#include "voxgrad/data/hdf5_dataset.hpp"
#include "voxgrad/data/percentiles.hpp"

namespace voxgrad::app {
namespace {

namespace fs = std::filesystem;
using stardist::Example;

/// Whether the labels of a data set are masks without numbers of objects; settled before the first example is asked for.
using Binary = std::shared_ptr<const bool>;

/// What a network takes of the data.
struct Wanted {
  int64_t channels = 1, n_classes = 0;
  bool labels_are_classes = false;
};
Wanted wanted(const StarDistRun& run) {
  return {run.config.network.n_channel_in, run.config.network.n_classes, run.labels == "classes"};
}

/// Loads what is asked for and keeps the first until their bytes reach a limit.
class CachedExamples : public stardist::ExampleSource {
 public:
  CachedExamples(Binary binary, const Wanted& wants, int64_t most_bytes) : wants_(wants), binary_(std::move(binary)), most_bytes_(most_bytes) {}
  /// As the file has them.
  virtual data::Volume<int32_t> stored_labels(int64_t index) const = 0;
  std::shared_ptr<const Example> example(int64_t index) const override {
    {
      const std::lock_guard lock(mutex_);
      if (const auto found = kept_.find(index); found != kept_.end()) return found->second;
    }
    auto loaded = std::make_shared<const Example>(load(index));
    const std::lock_guard lock(mutex_);
    if (bytes_ + loaded->bytes() <= most_bytes_ && kept_.emplace(index, loaded).second) bytes_ += loaded->bytes();
    return loaded;
  }

 protected:
  virtual Example load(int64_t index) const = 0;
  bool binary() const { return *binary_; }
  /// Numbers the objects, if the file does not, and says their classes; `read` does where the file has them apart.
  void finish(Example& e, const std::string& labels_path, const std::function<stardist::ObjectClasses()>& read) const {
    if (wants_.labels_are_classes) {
      e.classes = separate_classes(e.labels, wants_.n_classes, labels_path);
      return;
    }
    if (binary()) separate_components(e.labels);
    if (wants_.n_classes > 0) e.classes = read();
  }

  const Wanted wants_;

 private:
  Binary binary_;
  mutable std::mutex mutex_;
  mutable std::unordered_map<int64_t, std::shared_ptr<const Example>> kept_;
  mutable int64_t bytes_ = 0;
  int64_t most_bytes_;
};

/// Crops of a fold with the numbers of their objects: listed samples, or all events (or stored crops) of some movies.
class Hdf5Examples : public CachedExamples {
 public:
  Hdf5Examples(std::shared_ptr<const data::Hdf5Fold> fold, const std::vector<data::Sample>& samples, int64_t crop, Binary binary,
               const Wanted& wants, int64_t cache_bytes)
      : CachedExamples(std::move(binary), wants, cache_bytes), fold_(std::move(fold)), crop_(crop) {
    for (const data::Sample& s : samples) add(s);
  }
  Hdf5Examples(std::shared_ptr<const data::Hdf5Fold> fold, const std::vector<const data::MovieEntry*>& movies, int64_t crop,
               Binary binary, const Wanted& wants, int64_t cache_bytes)
      : CachedExamples(std::move(binary), wants, cache_bytes), fold_(std::move(fold)), crop_(crop) {
    for (const data::MovieEntry* m : movies) {
      if (m->crops_only)
        for (const std::string& key : fold_->file().children(m->group + "/input"))
          items_.push_back({m, m->group + "/input/" + key, m->group + "/label/" + key, {}, key[0] != '['});
      else
        for (const data::Event& e : m->events) items_.push_back({m, "", "", data::event_box(e.centre(), m->extent, crop_)});
    }
  }
  int64_t size() const override { return int64_t(items_.size()); }
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
    if (wants_.channels > 1) wanted.push_back(wants_.channels);
    check<FileError>(lab.size() == 3 && in == wanted && std::max({lab[0], lab[1], lab[2]}) <= crop_ && std::min({lab[0], lab[1], lab[2]}) > 0,
                     file.path(), ": ", item.input, " is ", io::h5_shape_text(in), ", ", item.label, " ", io::h5_shape_text(lab),
                     " (expected crops of one shape, at most ", crop_, " voxels per axis", wants_.channels > 1 ? text(", with ", wants_.channels, " channels last") : "", ").");
    box.stop = {lab[0], lab[1], lab[2]};
    return box;
  }
  /// All channels of a box, [z,y,x,channels].
  template <class T>
  std::vector<T> read(const std::string& name, const data::Box3& box, int64_t channels) const {
    const data::Extent3 n = box.size();
    std::vector<T> values(size_t(data::voxel_count(n) * channels));
    std::vector<int64_t> start{box.start[0], box.start[1], box.start[2]}, count{n[0], n[1], n[2]};
    if (channels > 1) start.push_back(0), count.push_back(channels);
    fold_->file().read<T>(name, start, count, values.data());
    return values;
  }
  data::Volume<int32_t> labels(const std::string& name, const data::Box3& box) const {
    data::Volume<int32_t> v(box.size());
    v.voxels = read<int32_t>(name, box, 1);
    return v;
  }

  stardist::ObjectClasses classes_of(const data::MovieEntry& movie, const data::Volume<int32_t>& ids) const {
    const io::H5File& file = fold_->file();
    const std::string name = movie.group + "/classes";
    stardist::ObjectClasses classes;
    if (!file.is_dataset(name)) {
      check<FileError>(wants_.n_classes == 1, file.path(), ": no data set ", name, " ([N,2]: label, class), which n_classes ", wants_.n_classes, " asks for.");
      classes.same_for_all = true, classes.all = 1;
      return classes;
    }
    check<FileError>(!binary(), file.path(), ": ", name, " gives classes by label, but the labels are masks, whose objects have no numbers.");
    const auto shape = file.info(name).shape;
    check<FileError>(shape.size() == 2 && shape[1] == 2, file.path(), ": ", name, " is ", io::h5_shape_text(shape), " (expected [N,2]: label, class).");
    const auto rows = file.read<int64_t>(name);
    for (size_t i = 0; i + 1 < rows.size(); i += 2) {
      check<FileError>(rows[i + 1] >= 0 && rows[i + 1] <= wants_.n_classes, file.path(), ": ", name, " gives label ", rows[i], " the class ", rows[i + 1],
                       " (expected 1 to ", wants_.n_classes, ", or 0 for none).");
      classes.of_label[rows[i]] = rows[i + 1] > 0 ? std::optional(int(rows[i + 1])) : std::nullopt;
    }
    check_classes(classes, ids, text(file.path(), ": ", name));
    return classes;
  }

  Example load(int64_t index) const override {
    const std::string input = input_of(index);
    const data::Box3 box = box_of(index);
    const data::Extent3 n = box.size(), full{crop_, crop_, crop_};
    const std::vector<float> values = read<float>(input, box, wants_.channels);
    for (const float v : values) check<FileError>(std::isfinite(v), fold_->file().path(), ": ", input, " holds NaN or infinity.");
    Example cut{data::Volume<float>(n), labels(label_of(index), box)};
    finish(cut, fold_->file().path(), [&] { return classes_of(*items_[size_t(index)].movie, cut.labels); });
    Example out{data::Volume<float>(full), data::Volume<int32_t>(full), items_[size_t(index)].centred};
    out.classes = std::move(cut.classes);
    for (int64_t c = 0; c < wants_.channels; ++c) {
      for (size_t i = 0; i < cut.image.voxels.size(); ++i) cut.image.voxels[i] = values[i * size_t(wants_.channels) + size_t(c)];
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

/// Volumes and label volumes of the same names in two folders.
class TiffExamples : public CachedExamples {
 public:
  TiffExamples(std::string images, std::string masks, std::vector<std::string> names, bool normalize, std::string axes, Binary binary,
               const Wanted& wants, int64_t cache_bytes)
      : CachedExamples(std::move(binary), wants, cache_bytes), images_(std::move(images)), masks_(std::move(masks)), axes_(std::move(axes)),
        names_(std::move(names)), normalize_(normalize) {}
  int64_t size() const override { return int64_t(names_.size()); }
  data::Volume<int32_t> stored_labels(int64_t index) const override { return read_label_volume(masks_ + "/" + names_.at(size_t(index)), axes_); }

 private:
  Example load(int64_t index) const override {
    const std::string &name = names_.at(size_t(index)), image_path = images_ + "/" + name, mask_path = masks_ + "/" + name;
    VolumeOptions options;
    options.axes = axes_;
    options.channels = wants_.channels;
    std::vector<data::Volume<float>> channels = read_image_volume(image_path, options);
    for (size_t c = 0; normalize_ && c < channels.size(); ++c) {
      const data::PercentileScale scale = data::percentile_scale(channels[c].voxels);
      check_scale(channels.size() > 1 ? text(image_path, " (channel ", c + 1, ")") : image_path, scale);
      scale.apply(channels[c].voxels.data(), channels[c].voxels.data(), channels[c].size());
    }
    Example e{std::move(channels[0]), read_label_volume(mask_path, axes_)};
    e.more.assign(std::make_move_iterator(channels.begin() + 1), std::make_move_iterator(channels.end()));
    const data::Extent3 &a = e.image.extent, &b = e.labels.extent;
    check<FileError>(a == b, mask_path, " is ", b[0], "x", b[1], "x", b[2], ", but ", image_path, " is ", a[0], "x", a[1], "x", a[2],
                     ". Both must have the same shape.");
    finish(e, mask_path, [&] { return classes_of(name, e.labels); });
    return e;
  }

  stardist::ObjectClasses classes_of(const std::string& name, const data::Volume<int32_t>& ids) const {
    const std::string path = class_file(masks_, name);
    if (path.empty()) {
      check<FileError>(wants_.n_classes == 1, masks_, "/", name, ": its objects have no classes, which n_classes ", wants_.n_classes, " asks for. Put a table ",
                       "with the columns label and class into ", fs::path(masks_).parent_path().string(), "/classes/", fs::path(name).stem().string(), ".csv.");
      stardist::ObjectClasses all;
      all.same_for_all = true, all.all = 1;
      return all;
    }
    const bool of_voxels = has_ending(path, {".tif", ".tiff"});
    stardist::ObjectClasses classes = read_object_classes(path, of_voxels ? ids : data::Volume<int32_t>({1, 1, 1}), wants_.n_classes);
    check<FileError>(of_voxels || classes.same_for_all || !binary(), path, ": gives classes by label, but the labels are masks, whose objects have no numbers. ",
                     "Give one class for all as JSON, or a volume of classes.");
    check_classes(classes, ids, path);
    return classes;
  }

  std::string images_, masks_, axes_;
  std::vector<std::string> names_;
  bool normalize_;
};

/// Sources one after the other.
class JoinedExamples : public stardist::ExampleSource {
 public:
  explicit JoinedExamples(std::vector<std::shared_ptr<const stardist::ExampleSource>> parts) : parts_(std::move(parts)) {
    for (const auto& p : parts_) size_ += p->size();
  }
  int64_t size() const override { return size_; }
  std::shared_ptr<const Example> example(int64_t index) const override {
    size_t at = 0;
    while (index >= parts_[at]->size()) index -= parts_[at++]->size();
    return parts_[at]->example(index);
  }

 private:
  std::vector<std::shared_ptr<const stardist::ExampleSource>> parts_;
  int64_t size_ = 0;
};

/// A block of the one volume of another source.
class PartExamples : public stardist::ExampleSource {
 public:
  PartExamples(std::shared_ptr<const stardist::ExampleSource> whole, const data::Box3& box) : whole_(std::move(whole)), box_(box) {}
  int64_t size() const override { return 1; }
  std::shared_ptr<const Example> example(int64_t index) const override {
    const std::lock_guard lock(mutex_);
    if (part_) return part_;
    const auto e = whole_->example(index);
    Example part{cut(e->image), cut(e->labels), e->centred};
    for (const data::Volume<float>& c : e->more) part.more.push_back(cut(c));
    part.classes = e->classes;
    return part_ = std::make_shared<const Example>(std::move(part));
  }

 private:
  template <class T>
  data::Volume<T> cut(const data::Volume<T>& from) const {
    data::Volume<T> out(box_.size());
    out.spacing = from.spacing;
    stardist::cut_changed(from, box_.start, out.extent, {}, out.voxels.data());
    return out;
  }
  std::shared_ptr<const stardist::ExampleSource> whole_;
  data::Box3 box_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const Example> part_;
};

/// The only volume in two blocks along one axis, the second for validation: along the one that holds most patches, about `share` of it, but
/// at least a patch on either side.
void split_volume(StarDistData& data, const data::Extent3& patch, double share, const std::string& path) {
  const auto whole = data.train;
  const data::Extent3 n = whole->example(0)->image.extent;
  size_t axis = 0;
  for (size_t a = 1; a < 3; ++a)
    if (double(n[a]) / double(patch[a]) > double(n[axis]) / double(patch[axis])) axis = a;
  const char name = "zyx"[axis];
  check<FileError>(n[axis] >= 2 * patch[axis], path, ": holds one volume of ", n[0], "x", n[1], "x", n[2], " voxels, which is to give a part for training and one for ",
                   "validation, but no axis has room for two patches of ", patch[0], "x", patch[1], "x", patch[2], ". Choose smaller patches, or add a volume.");
  const int64_t from = std::clamp(n[axis] - int64_t(std::lround(share * double(n[axis]))), patch[axis], n[axis] - patch[axis]);
  data::Box3 first{{0, 0, 0}, n}, last = first;
  first.stop[axis] = last.start[axis] = from;
  data.train = std::make_shared<const PartExamples>(whole, first);
  data.valid = std::make_shared<const PartExamples>(whole, last);
  for (const auto& [part, what] : {std::pair(&data.train, "training"), {&data.valid, "validation"}}) {
    const auto e = (*part)->example(0);
    check<FileError>(std::any_of(e->labels.voxels.begin(), e->labels.voxels.end(), [](int32_t l) { return l > 0; }), path, ": holds one volume, whose part for ", what,
                     " (", name, part == &data.train ? " below " : " from ", from, ") has no object. Give a volume for validation in ", path, "/valid/images and masks.");
  }
  data.summary = text(path, ": one volume: ", name, " 0 to ", from - 1, " for training, ", from, " to ", n[axis] - 1, " for validation; objects at the cut count in both");
}

/// True if no voxel of the sources says more than 0 and one number. Numbered objects are told by the first few volumes.
bool one_number(const std::vector<std::shared_ptr<const CachedExamples>>& sources) {
  int32_t only = 0;
  for (const auto& source : sources)
    for (int64_t i = 0; i < source->size(); ++i)
      for (const int32_t l : source->stored_labels(i).voxels) {
        if (l <= 0 || l == only) continue;
        if (only != 0) return false;
        only = l;
      }
  return only != 0;
}

/// Settles whether labels are masks, and says so in the summary.
void settle_labels(const std::string& labels, const std::vector<std::shared_ptr<const CachedExamples>>& sources, bool& binary, std::string& summary) {
  binary = labels == "binary" || (labels == "auto" && one_number(sources));
  if (binary) summary += "; labels are masks, so that connected voxels are one object";
}

/// A share of the names (at least one of each) set aside by the seed: the rest, then what is held out.
template <class T>
std::pair<std::vector<T>, std::vector<T>> set_aside(std::vector<T> all, double share, uint64_t seed) {
  Random random(seed, 0x73746172);
  for (size_t i = all.size(); i > 1; --i) std::swap(all[i - 1], all[size_t(random.below(i))]);
  const auto held = std::ptrdiff_t(std::clamp<int64_t>(std::lround(share * double(all.size())), 1, int64_t(all.size()) - 1));
  return {{all.begin() + held, all.end()}, {all.begin(), all.begin() + held}};
}

std::string images_of(const std::string& folder) {
  for (const char* name : {"/images", "/source"})
    if (fs::is_directory(folder + name)) return folder + name;
  return "";
}

/// The names that both folders have; FileError for a file without partner.
std::vector<std::string> paired_names(const std::string& images, const std::string& masks) {
  check<FileError>(fs::is_directory(masks), masks, ": no such folder (expected label volumes under the names of those in ", images, ").");
  const auto names_in = [](const std::string& folder) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.is_regular_file() && has_ending(entry.path().filename().string(), {".tif", ".tiff"}))
        names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end(), natural_less);
    return names;
  };
  const std::vector<std::string> a = names_in(images), b = names_in(masks);
  for (const auto& [from, to, folder, other] : {std::tuple(&a, &b, &images, &masks), std::tuple(&b, &a, &masks, &images)})
    for (const std::string& name : *from)
      check<FileError>(std::find(to->begin(), to->end(), name) != to->end(), *folder, "/", name, ": has no partner of the same name in ",
                       *other, ".");
  check<FileError>(!a.empty(), images, ": holds no TIFF files.");
  return a;
}

std::string masks_of(const std::string& images) {
  const size_t slash = images.rfind('/');
  return images.substr(0, slash) + (images.substr(slash) == "/source" ? "/target" : "/masks");
}

StarDistData open_tiff(const std::string& path, const StarDistRun& run, int64_t cache_bytes) {
  const bool normalize = run.normalization == "auto" || run.normalization == "percentile";
  const auto binary = std::make_shared<bool>(false);
  std::vector<std::shared_ptr<const CachedExamples>> sources;
  const auto source = [&](const std::string& images, std::vector<std::string> names) {
    sources.push_back(std::make_shared<const TiffExamples>(images, masks_of(images), std::move(names), normalize, run.data_axes, binary, wanted(run), cache_bytes / 2));
    return sources.back();
  };
  StarDistData data;
  data.normalization = run.normalization == "auto" ? "percentile" : run.normalization;
  check<UsageError>(data.normalization != "study", path, ": is a folder of volumes; normalization 'study' is that of the study's movies (use percentile or none, or an HDF5 file).");
  std::string train = images_of(path + "/train"), valid;
  for (const char* name : {"/valid", "/val", "/test"})
    if (valid.empty()) valid = images_of(path + name);
  if (!train.empty() && !valid.empty()) {
    data.train = source(train, paired_names(train, masks_of(train)));
    data.valid = source(valid, paired_names(valid, masks_of(valid)));
  } else {
    if (train.empty()) train = images_of(path);
    check<FileError>(!train.empty(), path, ": is a folder, but has no folder 'images' (with 'masks' beside it). Give an HDF5 file, or a folder "
                     "with 'images' and 'masks', or with 'train' and 'valid' that have them.");
    std::vector<std::string> names = paired_names(train, masks_of(train));
    if (names.size() == 1) {
      data.train = source(train, std::move(names));
      std::string masks;
      settle_labels(run.labels, sources, *binary, masks);
      split_volume(data, run.config.train_patch_size, run.common.training.valid_proportion, path);
      data.summary += masks;
      return data;
    }
    auto [rest, held] = set_aside(std::move(names), run.common.training.valid_proportion, run.common.seed);
    data.train = source(train, std::move(rest));
    data.valid = source(train, std::move(held));
  }
  data.summary = text(path, ": ", data.train->size(), " training volumes, ", data.valid->size(), " for validation");
  settle_labels(run.labels, sources, *binary, data.summary);
  return data;
}

StarDistData open_hdf5(const std::string& path, const StarDistRun& run, int64_t cache_bytes) {
  const TrainingConfig& t = run.common.training;
  check<UsageError>(run.normalization != "percentile", path, ": holds movies that are preprocessed as in the study, so normalization 'percentile' ",
                    "would not be that of the training data. Use study, or a folder of raw volumes.");
  using Sources = std::vector<std::shared_ptr<const stardist::ExampleSource>>;
  const auto fold = [&](const std::string& name) { return std::make_shared<const data::Hdf5Fold>(path, name, run.config.network.n_channel_in); };
  const auto movies_of = [](const data::Hdf5Fold& f) {
    std::vector<const data::MovieEntry*> movies;
    for (const data::MovieEntry& m : f.movies()) movies.push_back(&m);
    return movies;
  };
  const int64_t bytes = cache_bytes / 2 / int64_t(std::max(t.train_folds.size(), t.valid_folds.size()));
  Sources train, valid;
  const auto binary = std::make_shared<bool>(false);
  std::vector<std::shared_ptr<const CachedExamples>> sources;
  const auto add = [&](Sources& to, const auto& one, const auto& crops) {
    sources.push_back(std::make_shared<const Hdf5Examples>(one, crops, t.crop_size, binary, wanted(run), bytes));
    to.push_back(sources.back());
  };
  StarDistData data;
  if (!t.samples_path.empty()) {
    check<UsageError>(t.train_folds.size() == 1 && t.valid_folds.size() == 1, "a samples list goes with one training and one validation fold.");
    const SampleLists samples = read_samples(t.samples_path, samples_key(t));
    add(train, fold(t.train_folds[0]), samples.train);
    add(valid, fold(t.valid_folds[0]), samples.valid);
    data.summary = text("samples '", samples_key(t), "' of ", t.samples_path);
  } else if (t.valid_folds.size() == 1 && t.valid_folds == std::vector<std::string>{"valid"} && !io::H5File(path).is_group("/valid")) {
    const auto all = fold(t.train_folds[0]);
    auto movies = movies_of(*all);
    check<FileError>(movies.size() >= 2, path, ": has no validation fold, and too few movies to set some aside. Name one with --valid-fold.");
    const auto [rest, held] = set_aside(std::move(movies), t.valid_proportion, run.common.seed);
    add(train, all, rest);
    add(valid, all, held);
    data.summary = text("validation on a share of ", t.valid_proportion, " of the movies (no validation fold)");
  } else {
    for (const auto& [names, to] : {std::pair(&t.train_folds, &train), std::pair(&t.valid_folds, &valid)})
      for (const std::string& name : *names) {
        const auto one = fold(name);
        add(*to, one, movies_of(*one));
      }
    data.summary = "all events";
  }
  data.train = std::make_shared<const JoinedExamples>(std::move(train));
  data.valid = std::make_shared<const JoinedExamples>(std::move(valid));
  data.normalization = run.normalization == "auto" ? "study" : run.normalization;
  data.summary = text(path, ": ", data.train->size(), " training crops, ", data.valid->size(), " validation crops; ", data.summary);
  settle_labels(run.labels, sources, *binary, data.summary);
  return data;
}

}  // namespace

void check_scale(const std::string& path, const data::PercentileScale& scale) {
  check<FileError>(scale.usable(), path, ": percentiles ", data::PercentileScale::low_percent, " and ", data::PercentileScale::high_percent, " of its intensities are ",
                   scale.low, " and ", scale.high, ", so there is no range to normalise by (constant, or nearly all background). ",
                   "Cut the empty part away, or scale the volumes beforehand and use the normalisation 'none'.");
}

StarDistData open_stardist_data(const std::string& path, const StarDistRun& run, int64_t cache_bytes) {
  const StarDistData data = fs::is_directory(path) ? open_tiff(path, run, cache_bytes) : open_hdf5(path, run, cache_bytes);
  check<FileError>(data.train->size() > 0, path, ": there is nothing to train on (no events, or an empty samples list).");
  check<FileError>(data.valid->size() > 0, path, ": there is nothing to validate on.");
  return data;
}

}  // namespace voxgrad::app
