// SPDX-License-Identifier: BSD-3-Clause
#include "stardist_data.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <mutex>
#include <numeric>

#include "files.hpp"
#include "samples.hpp"
#include "stardist_examples.hpp"

namespace voxgrad::app {
namespace {

namespace fs = std::filesystem;
using stardist::Example;

ExampleRule example_rule(const StarDistRun& run, std::shared_ptr<const bool> masks, int64_t cache_bytes) {
  return {run.config.network.n_channel_in, run.config.network.n_classes, run.labels == "classes", std::move(masks), cache_bytes};
}

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
  std::string name(int64_t index) const override {
    size_t at = 0;
    while (index >= parts_[at]->size()) index -= parts_[at++]->size();
    return parts_[at]->name(index);
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
  std::string name(int64_t) const override { return "the part of " + whole_->name(0); }
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
bool one_number(const std::vector<CachedSource>& sources) {
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
void settle_labels(const std::string& labels, const std::vector<CachedSource>& sources, bool& masks, std::string& summary) {
  masks = labels == "binary" || (labels == "auto" && one_number(sources));
  if (masks) summary += "; labels are masks, so that connected voxels are one object";
}

/// FileError unless a label of the training says more than 0. Most data say so in their first volume.
void check_objects(const std::string& path, const stardist::ExampleSource& training) {
  for (int64_t i = 0; i < training.size(); ++i) {
    const auto e = training.example(i);
    if (std::any_of(e->labels.voxels.begin(), e->labels.voxels.end(), [](int32_t l) { return l > 0; })) return;
  }
  throw FileError(text(path, ": no label above 0 in any of its ", training.size(), " training volumes, so there is nothing to learn. Do the label volumes hold numbers of objects?"));
}

/// A share of the names (at least one of each) set aside by the seed: the rest, then what is held out.
template <class T>
std::pair<std::vector<T>, std::vector<T>> set_aside(std::vector<T> all, double share, uint64_t seed) {
  Random random(seed, 0x73746172);
  for (size_t i = all.size(); i > 1; --i) std::swap(all[i - 1], all[size_t(random.below(i))]);
  const auto held = std::ptrdiff_t(std::clamp<int64_t>(std::lround(share * double(all.size())), 1, int64_t(all.size()) - 1));
  return {{all.begin() + held, all.end()}, {all.begin(), all.begin() + held}};
}

/// The events of the only movie, by row of its table.
struct EventSplit {
  std::vector<data::Sample> train, valid;
  int64_t dropped = 0;  ///< before the cut, but in a crop that shares voxels with one after it
};

/// The last `share` of the events in time for validation, the others for training: no voxel is in crops of both.
EventSplit split_events(const data::MovieEntry& movie, double share, int64_t crop, const std::string& path) {
  const char* const ways = "Add a movie, name a fold with --valid-fold (that of the training validates on what is learnt), or choose a smaller training_config.crop_size.";
  check<FileError>(!movie.crops_only, path, ": has no validation fold and one movie, ", movie.group, ", as stored crops, of which nothing says how they overlap. ", ways);
  std::vector<int64_t> rows(movie.events.size());
  std::iota(rows.begin(), rows.end(), int64_t(0));
  std::stable_sort(rows.begin(), rows.end(), [&](int64_t a, int64_t b) { return movie.events[size_t(a)].centre()[0] < movie.events[size_t(b)].centre()[0]; });
  const auto n = int64_t(rows.size()), held = std::max<int64_t>(1, std::min<int64_t>(n - 1, std::lround(share * double(n))));
  const auto box_of = [&](int64_t row) { return data::event_box(movie.events[size_t(row)].centre(), movie.extent, crop); };
  const auto meet = [](const data::Box3& a, const data::Box3& b) {
    for (size_t k = 0; k < 3; ++k)
      if (a.stop[k] <= b.start[k] || b.stop[k] <= a.start[k]) return false;
    return true;
  };
  EventSplit out;
  for (int64_t i = n - held; i < n; ++i) out.valid.push_back({movie.name, rows[size_t(i)], {}});
  for (int64_t i = 0; i < n - held; ++i) {
    const data::Box3 box = box_of(rows[size_t(i)]);
    if (std::none_of(out.valid.begin(), out.valid.end(), [&](const data::Sample& v) { return meet(box, box_of(v.row)); })) out.train.push_back({movie.name, rows[size_t(i)], {}});
    else ++out.dropped;
  }
  check<FileError>(!out.train.empty(), path, ": has no validation fold and one movie with events, ", movie.group, ", whose ", n, n == 1 ? " event gives" : " events give",
                   " no crop of ", crop, " voxels per axis for training that is apart from those for validation. ", ways);
  return out;
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
  const auto masks = std::make_shared<bool>(false);
  const ExampleRule rule = example_rule(run, masks, cache_bytes / 2);
  std::vector<CachedSource> sources;
  const auto source = [&](const std::string& images, std::vector<std::string> names) {
    return sources.emplace_back(tiff_examples({images, masks_of(images), run.data_axes, normalize}, std::move(names), rule));
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
      std::string about_labels;
      settle_labels(run.labels, sources, *masks, about_labels);
      split_volume(data, run.config.train_patch_size, run.common.training.valid_proportion, path);
      data.summary += about_labels;
      return data;
    }
    auto [rest, held] = set_aside(std::move(names), run.common.training.valid_proportion, run.common.seed);
    data.train = source(train, std::move(rest));
    data.valid = source(train, std::move(held));
  }
  data.summary = text(path, ": ", data.train->size(), " training volumes, ", data.valid->size(), " for validation");
  settle_labels(run.labels, sources, *masks, data.summary);
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
  Sources train, valid;
  const auto masks = std::make_shared<bool>(false);
  const ExampleRule rule = example_rule(run, masks, cache_bytes / 2 / int64_t(std::max(t.train_folds.size(), t.valid_folds.size())));
  std::vector<CachedSource> sources;
  const auto add = [&](Sources& to, const auto& one, const auto& crops) {
    to.push_back(sources.emplace_back(hdf5_examples(one, crops, t.crop_size, rule)));
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
    std::vector<const data::MovieEntry*> movies;
    for (const data::MovieEntry* m : movies_of(*all))
      if (m->crops_only || !m->events.empty()) movies.push_back(m);
    check<FileError>(!movies.empty(), path, ": no movie of group '/", all->fold(), "' has an event to train on.");
    if (movies.size() == 1) {
      const EventSplit split = split_events(*movies[0], t.valid_proportion, t.crop_size, path);
      add(train, all, split.train);
      add(valid, all, split.valid);
      data.summary = text("one movie: validation on its last ", split.valid.size(), " events (no validation fold)");
      if (split.dropped > 0) data.summary += text("; ", split.dropped, " whose crops overlap with those are left out");
    } else {
      const auto [rest, held] = set_aside(std::move(movies), t.valid_proportion, run.common.seed);
      add(train, all, rest);
      add(valid, all, held);
      data.summary = text("validation on a share of ", t.valid_proportion, " of the movies (no validation fold)");
    }
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
  settle_labels(run.labels, sources, *masks, data.summary);
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
  check_objects(path, *data.train);
  return data;
}

}  // namespace voxgrad::app
