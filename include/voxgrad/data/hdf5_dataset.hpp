// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The published HDF5 training set: <fold>/<movie>/{input,label,events}, with or without cached crops, or
// crops only.

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/data/crops.hpp"
#include "voxgrad/data/dataset.hpp"
#include "voxgrad/io/hdf5.hpp"

namespace voxgrad::data {

/// "[120, 75, 310]": the key of an unlabelled crop in the published files.
inline std::string coord_key(const Extent3& c) { return text("[", c[0], ", ", c[1], ", ", c[2], "]"); }

/// Orders movie names as numbers where they are numbers, before all other names.
inline bool movie_name_less(const std::string& a, const std::string& b) {
  const auto number = [](const std::string& s) {
    int64_t v = -1;
    const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), v);
    return error == std::errc() && end == s.data() + s.size() ? v : int64_t(-1);
  };
  const int64_t x = number(a), y = number(b);
  if (x >= 0 && y >= 0 && x != y) return x < y;
  if ((x >= 0) != (y >= 0)) return x >= 0;
  return a < b;
}

/// One movie group of a fold.
struct MovieEntry {
  std::string name, group;    ///< "12", "/train/12"
  bool crops_only = false;    ///< layout B: input and label are groups of crops
  Extent3 extent{0, 0, 0};    ///< whole movies only
  std::vector<Event> events;  ///< whole movies only; one per row of the table
  double prior = 0;           ///< share of positive voxels, from data set `prior`; 0: not said
};

/// The movies of one fold, checked: shapes agree, events are a table of seven columns.
class Hdf5Fold {
 public:
  /// Opens `<path>`, group `/<fold>`. With more than one channel, inputs of whole movies are [T,H,W,channels]. FileError says what was
  /// found instead.
  Hdf5Fold(const std::string& path, const std::string& fold, int64_t channels = 1)
      : file_(std::make_shared<io::H5File>(path)), fold_(fold), channels_(channels) {
    check<FileError>(file_->is_group("/" + fold), path, ": no group '", fold, "'. Found: ", found("/"),
                     ". Choose with --train-fold and --valid-fold.");
    for (const std::string& name : file_->children("/" + fold)) {
      movies_.emplace_back();
      movies_.back().name = name;
      movies_.back().group = text("/", fold, "/", name);
    }
    check<FileError>(!movies_.empty(), path, ": group '/", fold, "' holds no movies.");
    std::sort(movies_.begin(), movies_.end(),
              [](const auto& a, const auto& b) { return movie_name_less(a.name, b.name); });
    for (MovieEntry& m : movies_) describe(m);
  }

  const io::H5File& file() const { return *file_; }
  const std::string& fold() const { return fold_; }
  const std::vector<MovieEntry>& movies() const { return movies_; }

  /// Position of a movie by name, or -1.
  int64_t find(const std::string& name) const {
    for (size_t i = 0; i < movies_.size(); ++i)
      if (movies_[i].name == name) return int64_t(i);
    return -1;
  }

  /// Frames first .. first+count of a movie's preprocessed input.
  void read_input(const MovieEntry& m, int64_t first, int64_t count, float* out) const {
    file_->read<float>(m.group + "/input", {first, 0, 0}, {count, m.extent[1], m.extent[2]}, out);
  }
  /// Frames of a movie's labels as they are stored (instance numbers).
  void read_label_ids(const MovieEntry& m, int64_t first, int64_t count, int32_t* out) const {
    read_ids(m.group + "/label", {first, 0, 0}, {count, m.extent[1], m.extent[2]}, out);
  }
  /// A box of any data set of instance numbers. FileError: one in floating point that is no whole number.
  void read_ids(const std::string& name, const std::vector<int64_t>& start, const std::vector<int64_t>& extent, int32_t* out) const {
    if (file_->info(name).kind != io::H5Kind::floating) {
      file_->read<int32_t>(name, start, extent, out);
      return;
    }
    std::vector<double> values(size_t(extent[0] * extent[1] * extent[2]));
    file_->read<double>(name, start, extent, values.data());
    for (const double v : values) {
      check<FileError>(std::abs(v) < 2147483648.0 && v == std::floor(v), file_->path(), ": ", name, " holds the label ", v,
                       " (expected whole numbers, one for each event).");
      *out++ = int32_t(v);
    }
  }
  /// A box of a movie's input.
  void read_input_box(const MovieEntry& m, const Box3& b, float* out) const {
    const Extent3 n = b.size();
    file_->read<float>(m.group + "/input", {b.start[0], b.start[1], b.start[2]}, {n[0], n[1], n[2]}, out);
  }
  /// A box of a movie's labels as 0 or 1.
  void read_mask_box(const MovieEntry& m, const Box3& b, uint8_t* out) const {
    const Extent3 n = b.size();
    read_mask(m.group + "/label", {b.start[0], b.start[1], b.start[2]}, {n[0], n[1], n[2]}, out);
  }

  /// A box of any label data as the numbers that are stored.
  std::vector<double> read_numbers(const std::string& dataset, const Box3& b) const {
    const Extent3 n = b.size();
    std::vector<double> values(size_t(voxel_count(n)));
    file_->read<double>(dataset, {b.start[0], b.start[1], b.start[2]}, {n[0], n[1], n[2]}, values.data());
    return values;
  }
  /// A box of the probabilities that a positive voxel was labelled: data set `propensity` of the movie, one per voxel, or one per row of
  /// `events` for the voxels whose label is that row's id (1 elsewhere). `labels`: of the same box. FileError outside (0, 1].
  std::vector<float> read_propensity(const MovieEntry& m, const Box3& b, const std::vector<double>& labels) const {
    const std::string name = m.group + "/propensity", path = file_->path();
    check<FileError>(file_->is_dataset(name), path, ": no data set ", name, ". The loss needs the propensity of labelled voxels: one per voxel ",
                     "[T,H,W], or one per row of events.");
    const auto shape = file_->info(name).shape;
    const bool by_voxel = shape.size() == 3;
    check<FileError>(by_voxel ? shape == std::vector<int64_t>{m.extent[0], m.extent[1], m.extent[2]}
                              : shape == std::vector<int64_t>{int64_t(m.events.size())},
                     path, ": ", name, " is ", io::h5_shape_text(shape), " (expected ",
                     io::h5_shape_text({m.extent[0], m.extent[1], m.extent[2]}), ", or [", m.events.size(), "] with one per row of events).");
    std::vector<float> e(labels.size(), 1.0f);
    if (by_voxel) {
      const std::vector<double> values = read_numbers(name, b);
      for (size_t i = 0; i < e.size(); ++i) e[i] = labels[i] > 0 ? float(values[i]) : 1.0f;
    } else {
      const std::vector<double> rows = file_->read<double>(name);
      for (size_t i = 0; i < e.size(); ++i)
        for (size_t row = 0; labels[i] > 0 && row < rows.size(); ++row)
          if (labels[i] == double(m.events[row].id)) e[i] = float(rows[row]);
    }
    for (float v : e)
      check<FileError>(v > 0 && v <= 1, path, ": ", name, " holds ", v, " for a labelled voxel (expected above 0, at most 1).");
    return e;
  }

  /// Any label data as 0 or 1. FileError for a label below 0, or none at all (NaN).
  void read_mask(const std::string& dataset, const std::vector<int64_t>& start,
                 const std::vector<int64_t>& count, uint8_t* out) const {
    const auto read_as = [&](auto zero) {
      int64_t n = 1;
      for (int64_t c : count) n *= c;
      std::vector<decltype(zero)> values(static_cast<size_t>(n));
      file_->read<decltype(zero)>(dataset, start, count, values.data());
      for (int64_t i = 0; i < n; ++i) {
        check<FileError>(values[size_t(i)] >= 0, file_->path(), ": ", dataset, " holds the label ", values[size_t(i)],
                         " (expected 0 where nothing is labelled, above 0 in events).");
        out[i] = values[size_t(i)] > 0;
      }
    };
    if (file_->info(dataset).kind == io::H5Kind::floating) read_as(float());
    else read_as(int32_t());
  }

 private:
  std::string found(const std::string& group) const {
    std::string out;
    for (const std::string& name : file_->children(group)) out += (out.empty() ? "'" : ", '") + name + "'";
    return out.empty() ? "nothing" : out;
  }

  void describe(MovieEntry& m) const {
    const std::string& path = file_->path();
    check<FileError>(file_->is_group(m.group), path, ": ", m.group,
                     " is not a group (expected one group per movie with input, label and events).");
    if (file_->is_dataset(m.group + "/prior")) {
      const auto prior = file_->read<double>(m.group + "/prior");
      check<FileError>(prior.size() == 1 && prior[0] > 0 && prior[0] < 1, path, ": ", m.group, "/prior holds ",
                       prior.size() == 1 ? text(prior[0]) : text(prior.size(), " numbers"), " (expected one number between 0 and 1).");
      m.prior = prior[0];
    }
    const std::string input = m.group + "/input", label = m.group + "/label";
    m.crops_only = file_->is_group(input) && file_->is_group(label);
    if (m.crops_only) return;
    check<FileError>(file_->is_dataset(input) && file_->is_dataset(label), path, ": ", m.group,
                     " needs both 'input' and 'label'. Found: ", found(m.group), ".");
    const auto in = file_->info(input).shape, lab = file_->info(label).shape;
    check<FileError>(in.size() == (channels_ > 1 ? 4 : 3) && (channels_ == 1 || in[3] == channels_), path, ": ", input, " is ",
                     io::h5_shape_text(in), " (expected a movie [T,H,W", channels_ > 1 ? text(",", channels_) : "", "]).");
    check<FileError>(lab == std::vector<int64_t>(in.begin(), in.begin() + 3), path, ": ", label, " is ", io::h5_shape_text(lab), " but ",
                     input, " is ", io::h5_shape_text(in), ". Both must have the same shape.");
    m.extent = {in[0], in[1], in[2]};
    check<FileError>(voxel_count(m.extent) > 0, path, ": ", input, " is empty.");
    if (file_->is_dataset(m.group + "/events")) read_events(m);
  }

  void read_events(MovieEntry& m) const {
    const std::string name = m.group + "/events";
    const auto shape = file_->info(name).shape;
    check<FileError>(shape.size() == 2 && shape[1] == 7, file_->path(), ": ", name, " is ",
                     io::h5_shape_text(shape),
                     " (expected [M,7]: id, t_min, t_max, y_min, y_max, x_min, x_max).");
    const auto v = file_->read<int64_t>(name);
    for (size_t i = 0; i + 6 < v.size(); i += 7) {
      m.events.push_back({v[i], v[i + 1], v[i + 2], v[i + 3], v[i + 4], v[i + 5], v[i + 6]});
      const Extent3 c = m.events.back().centre();
      for (size_t a = 0; a < 3; ++a)
        check<FileError>(c[a] >= 0 && c[a] < m.extent[a], file_->path(), ": row ", i / 7, " of ", name,
                         " has its centre at ", coord_key(c), ", outside of the movie ",
                         io::h5_shape_text({m.extent[0], m.extent[1], m.extent[2]}),
                         ". Are the columns id, t_min, t_max, y_min, y_max, x_min, x_max?");
    }
  }

  std::shared_ptr<io::H5File> file_;
  std::string fold_;
  int64_t channels_;
  std::vector<MovieEntry> movies_;
};

struct Hdf5CropOptions {
  int64_t crop = 64;                       ///< edge of a crop
  int64_t cache_bytes = int64_t(4) << 30;  ///< crops kept in memory
  LabelRule rule = {};                     ///< none: any label above 0 is positive
  bool propensity = false;                 ///< also read the movies' propensities
};

/// Crops of a fold: the given samples, or all events (and all stored crops) when there is no list.
class Hdf5Crops : public CropSource {
 public:
  using Options = Hdf5CropOptions;

  Hdf5Crops(std::shared_ptr<const Hdf5Fold> fold, Options options = {})
      : fold_(std::move(fold)), options_(options), cache_(options.cache_bytes) {
    for (const MovieEntry& m : fold_->movies()) add_all(m);
    check<FileError>(!items_.empty(), fold_->file().path(), ": group '/", fold_->fold(),
                     "' has movies but no events to train on. The 'events' tables are missing or empty.");
  }

  Hdf5Crops(std::shared_ptr<const Hdf5Fold> fold, const std::vector<Sample>& samples, Options options = {})
      : fold_(std::move(fold)), options_(options), cache_(options.cache_bytes) {
    for (const Sample& s : samples) add(s);
  }

  int64_t size() const override { return int64_t(items_.size()); }
  Extent3 crop_extent() const override { return {options_.crop, options_.crop, options_.crop}; }
  std::shared_ptr<const Crop> crop(int64_t index) const override {
    return cache_.get(index, [&] { return load(items_.at(size_t(index))); });
  }
  bool centred(int64_t index) const override { return items_.at(size_t(index)).centred; }
  double prior(int64_t index) const override { return items_.at(size_t(index)).movie->prior; }
  int64_t cached_bytes() const { return cache_.bytes(); }

 private:
  struct Item {
    const MovieEntry* movie;
    std::string input, label;  ///< stored crops; empty: cut `box` from the movie
    Box3 box;
    bool centred = true;  ///< cut around an event
  };

  /// All that a movie has: rows of its events, or the stored crops of layout B.
  void add_all(const MovieEntry& m) {
    if (!m.crops_only) {
      for (size_t row = 0; row < m.events.size(); ++row) add({m.name, int64_t(row), {}});
      return;
    }
    auto keys = fold_->file().children(m.group + "/input");
    std::sort(keys.begin(), keys.end(), movie_name_less);
    for (const std::string& key : keys)  // rows of the events' table, or the corners of unlabelled crops
      add_stored(m, m.group + "/input/" + key, m.group + "/label/" + key, key[0] != '[');
  }

  void add(const Sample& s) {
    const std::string& path = fold_->file().path();
    const int64_t at = fold_->find(s.movie);
    check<FileError>(at >= 0, path, ": the samples list names movie '", s.movie, "', which group '/",
                     fold_->fold(), "' (", fold_->movies().size(),
                     " movies) does not have. Do list and data set belong together?");
    const MovieEntry& m = fold_->movies()[size_t(at)];
    const std::string key = s.positive() ? std::to_string(s.row) : coord_key(s.coord);
    const std::string kind = m.crops_only ? "/" : s.positive() ? "/cache-" : "/cache-unlabeled-";
    const std::string input = m.group + kind + "input/" + key, label = m.group + kind + "label/" + key;
    if (m.crops_only || (fold_->file().is_dataset(input) && fold_->file().is_dataset(label)))
      return add_stored(m, input, label, s.positive());
    if (s.positive()) {
      check<FileError>(s.row < int64_t(m.events.size()), path, ": the samples list asks for event row ",
                       s.row, " of ", m.group, ", which has ", m.events.size(), " events.");
      items_.push_back({&m, "", "", event_box(m.events[size_t(s.row)].centre(), m.extent, options_.crop)});
    } else {
      const Box3 box = corner_box(s.coord, m.extent, options_.crop);
      check<FileError>(!box.empty() && std::min({s.coord[0], s.coord[1], s.coord[2]}) >= 0, path,
                       ": the samples list asks for a crop at ", key, " of ", m.group,
                       ", outside of the movie ", io::h5_shape_text({m.extent[0], m.extent[1], m.extent[2]}),
                       ".");
      items_.push_back({&m, "", "", box, false});
    }
  }

  void add_stored(const MovieEntry& m, const std::string& input, const std::string& label, bool centred) {
    items_.push_back({&m, input, label, {}, centred});
  }

  Crop load(const Item& item) const {
    Box3 box = item.box;
    if (!item.input.empty()) box.stop = stored_extent(item);
    const Extent3 n = box.size(), full = crop_extent();
    Crop cut, out;
    cut.input.resize(size_t(voxel_count(n)));
    cut.target.resize(cut.input.size());
    if (item.input.empty())
      fold_->read_input_box(*item.movie, box, cut.input.data());
    else
      fold_->file().read<float>(item.input, {0, 0, 0}, {n[0], n[1], n[2]}, cut.input.data());
    const std::string label = item.input.empty() ? item.movie->group + "/label" : item.label;
    if (options_.rule)
      apply_rule(item, label, box, cut);
    else
      fold_->read_mask(label, {box.start[0], box.start[1], box.start[2]}, {n[0], n[1], n[2]}, cut.target.data());
    if (options_.propensity) {
      check<FileError>(item.input.empty(), fold_->file().path(), ": ", item.input, " is a stored crop, which has no propensities; ",
                       "whole movies with a data set 'propensity' are needed.");
      cut.propensity = fold_->read_propensity(*item.movie, box, fold_->read_numbers(label, box));
    }
    for (float v : cut.input)
      check<FileError>(std::isfinite(v), fold_->file().path(), ": ",
                       item.input.empty() ? item.movie->group + "/input" : item.input,
                       " holds NaN or infinity.");
    if (n == full) return cut;
    out.input.resize(size_t(voxel_count(full)));
    out.target.resize(out.input.size());
    pad_end_symmetric(cut.input.data(), n, out.input.data(), full);
    pad_end_symmetric(cut.target.data(), n, out.target.data(), full);
    for (const auto part : {&Crop::weight, &Crop::propensity}) {
      if ((cut.*part).empty()) continue;
      (out.*part).resize(out.input.size());
      pad_end_symmetric((cut.*part).data(), n, (out.*part).data(), full);
    }
    return out;
  }

  /// Labels by the rule, which also sees what lies around the crop, if the movie is there.
  void apply_rule(const Item& item, const std::string& label, const Box3& box, Crop& cut) const {
    Box3 around = box, inside;
    if (item.input.empty())
      for (size_t a = 0; a < 3; ++a) {
        around.start[a] = std::max<int64_t>(0, box.start[a] - options_.rule.margin);
        around.stop[a] = std::min(item.movie->extent[a], box.stop[a] + options_.rule.margin);
      }
    for (size_t a = 0; a < 3; ++a) {
      inside.start[a] = box.start[a] - around.start[a];
      inside.stop[a] = box.stop[a] - around.start[a];
    }
    options_.rule.apply(fold_->read_numbers(label, around), around.size(), inside, fold_->file().path() + ": " + label, cut);
  }

  Extent3 stored_extent(const Item& item) const {
    const std::string& path = fold_->file().path();
    const auto in = fold_->file().info(item.input).shape, lab = fold_->file().info(item.label).shape;
    check<FileError>(in.size() == 3 && *std::min_element(in.begin(), in.end()) > 0 &&
                         *std::max_element(in.begin(), in.end()) <= options_.crop,
                     path, ": ", item.input, " is ", io::h5_shape_text(in), " (expected a crop of at most ",
                     options_.crop, " voxels per axis).");
    check<FileError>(in == lab, path, ": ", item.label, " is ", io::h5_shape_text(lab), " but ", item.input,
                     " is ", io::h5_shape_text(in), ". Both must have the same shape.");
    return {in[0], in[1], in[2]};
  }

  std::shared_ptr<const Hdf5Fold> fold_;
  Options options_;
  std::vector<Item> items_;
  mutable CropCache cache_;
};

}  // namespace voxgrad::data
