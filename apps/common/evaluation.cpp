// SPDX-License-Identifier: BSD-3-Clause
#include "evaluation.hpp"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>

#include "voxgrad/io/tiff.hpp"
#include "voxgrad/metrics/components.hpp"

namespace voxgrad::app {
namespace {

namespace fs = std::filesystem;

bool is_float(io::SampleType t) {
  return t == io::SampleType::f16 || t == io::SampleType::f32 || t == io::SampleType::f64;
}

std::string extent_text(const data::Extent3& e) { return text(e[0], "x", e[1], "x", e[2]); }

/// The frames of a TIFF as labels: whole numbers as they are, or score > threshold as 1. codes: the numbers are classes, of which only
/// positive stays.
class LabelFrames {
 public:
  LabelFrames(const std::string& path, std::optional<float> threshold, bool codes = false)
      : path_(path), movie_(path), threshold_(threshold), codes_(codes) {
    frame_.resize(size_t(extent()[1] * extent()[2]));
  }
  data::Extent3 extent() const { return movie_.extent(); }
  data::Spacing spacing() const { return movie_.spacing(); }

  /// Frame t as labels [H,W], valid until the next call.
  const std::vector<uint32_t>& read(int64_t t) {
    read_numbers(t);
    if (codes_) keep_positive(t);
    return frame_;
  }
  /// Whether a voxel of the last frame is to be left out of everything.
  bool ignored(size_t i) const { return codes_ && ignored_[i]; }

 private:
  void keep_positive(int64_t t) {
    ignored_.assign(frame_.size(), false);
    for (size_t i = 0; i < frame_.size(); ++i) {
      uint32_t& v = frame_[i];
      check<FileError>(v <= 2 || v == 255, path_, ": frame ", t, ": the label ", v, " is none of the codes 0, 1, 2 and 255.");
      ignored_[i] = v == 255;
      v = v == 1;
    }
  }
  void read_numbers(int64_t t) {
    const int64_t n = int64_t(frame_.size());
    const io::SampleType type = movie_.sample_type();
    if (threshold_ || is_float(type)) {
      values_.resize(frame_.size());
      movie_.read(t, t + 1, values_.data());
      for (int64_t i = 0; i < n; ++i)
        frame_[size_t(i)] = threshold_ ? values_[size_t(i)] > *threshold_ : whole(values_[size_t(i)]);
      return;
    }
    bytes_.resize(size_t(n * io::sample_bytes(type)));
    movie_.read_native(t, t + 1, bytes_.data());
    switch (type) {
      case io::SampleType::u8:
        copy<uint8_t>();
        break;
      case io::SampleType::i8:
        copy<int8_t>();
        break;
      case io::SampleType::u16:
        copy<uint16_t>();
        break;
      case io::SampleType::i16:
        copy<int16_t>();
        break;
      case io::SampleType::u32:
        copy<uint32_t>();
        break;
      case io::SampleType::i32:
        copy<int32_t>();
        break;
      case io::SampleType::u64:
        copy<uint64_t>();
        break;
      default:
        copy<int64_t>();
        break;
    }
  }
  uint32_t whole(float v) const {
    check<FileError>(v >= 0 && v == std::floor(v) && v < 4294967296.0f, path_, ": holds the value ", v,
                     ", which is no label (expected whole numbers). For a probability give --threshold.");
    return uint32_t(v);
  }
  template <class T>
  void copy() {
    for (size_t i = 0; i < frame_.size(); ++i) {
      T v;
      std::memcpy(&v, bytes_.data() + i * sizeof(T), sizeof(T));
      check<FileError>(!(v < T{}) && uint64_t(v) <= 0xffffffffu, path_, ": holds the value ", +v,
                       ", which is no label (expected 0 to 4294967295)");
      frame_[i] = uint32_t(v);
    }
  }

  std::string path_;
  io::TiffMovie movie_;
  std::optional<float> threshold_;
  bool codes_;
  std::vector<bool> ignored_;
  std::vector<uint32_t> frame_;
  std::vector<float> values_;
  std::vector<uint8_t> bytes_;
};

void check_extent(const std::string& a, const data::Extent3& ea, const std::string& b,
                  const data::Extent3& eb) {
  check<FileError>(ea == eb, a, ": is ", extent_text(ea), ", but ", b, " is ", extent_text(eb),
                   ". Both must belong to the same movie.");
}

/// Components of a label movie with their regions; kept[provisional label] is the event's number, or 0 if too
/// small.
struct LabelledMovie {
  std::vector<metrics::Region> regions;
  std::vector<uint32_t> kept;
};

/// Evaluates one movie; each member is a step.
class Evaluator {
 public:
  Evaluator(const MovieFiles& files, const EvaluationOptions& options,
            const std::function<void(int64_t)>& progress)
      : files_(files), options_(options), progress_(progress) {}

  MovieEvaluation run() {
    result_.name = files_.name;
    predict_points();
    if (options_.codes) leave_out_ignored();
    true_points();
    if (!result_.truth_from.empty())
      result_.matching =
          metrics::match_points(result_.truth, result_.predicted, options_.matcher, options_.distance);
    return std::move(result_);
  }

 private:
  PredictionKind kind() const {
    if (options_.from == PredictionKind::events)
      return require(files_.events, "events table", PredictionKind::events);
    if (options_.from == PredictionKind::labels)
      return require(files_.labels, "label movie", PredictionKind::labels);
    const bool probability =
        options_.from == PredictionKind::probability || (options_.threshold && !files_.probability.empty());
    if (!probability && !files_.events.empty()) return PredictionKind::events;
    if (!probability && !files_.labels.empty()) return PredictionKind::labels;
    check<UsageError>(options_.threshold.has_value(), files_.probability,
                      ": is a probability; give --threshold to make events of it.");
    return require(files_.probability, "probability movie", PredictionKind::probability);
  }
  PredictionKind require(const std::string& file, const char* what, PredictionKind kind) const {
    check<FileError>(!file.empty(), "movie ", files_.name, ": no ", what, " among the predictions");
    return kind;
  }

  void predict_points() {
    const PredictionKind from = kind();
    const bool masks = from == PredictionKind::labels || from == PredictionKind::probability;
    const std::string mask = from == PredictionKind::probability ? files_.probability : files_.labels;
    if (from == PredictionKind::events) {
      result_.predicted_from = "events";
      for (const EventRow& e : read_events(files_.events)) {
        if (!e.box.at_least(options_.min_size)) continue;
        result_.predicted.push_back(e.point);
        result_.labels.push_back(e.label);
      }
    }
    if (!masks && (files_.truth.empty() || mask.empty())) return;  // no voxels to compare
    LabelFrames frames(mask, from == PredictionKind::probability ? options_.threshold : std::nullopt);
    predicted_extent_ = frames.extent();
    spacing_ = frames.spacing();
    const LabelledMovie predicted = label(mask, frames, options_.min_size, masks ? files_.movie : "");
    if (masks) {
      result_.predicted_from = from == PredictionKind::labels ? "labels" : "probability";
      result_.predicted = metrics::centroids(predicted.regions);
      for (const metrics::Region& r : predicted.regions) result_.labels.push_back(r.label);
    }
    if (!files_.truth.empty()) compare(mask, frames, predicted.kept);
  }

  // Labels a movie frame by frame; centroids are weighted by the raw movie if there is one.
  LabelledMovie label(const std::string& path, LabelFrames& frames, const data::Extent3& min_size,
                      const std::string& movie) {
    const data::Extent3 e = frames.extent();
    std::optional<io::TiffMovie> raw;
    if (!movie.empty()) {
      raw.emplace(movie);
      check_extent(path, e, movie, raw->extent());
    }
    metrics::ComponentLabeler<uint32_t> labeler(e[1], e[2]);
    metrics::RegionCollector collector;
    std::vector<uint32_t> labels(size_t(e[1] * e[2]));
    std::vector<float> weights(labels.size(), 1.0f);
    for (int64_t t = 0; t < e[0]; ++t) {
      labeler.add_frame(frames.read(t).data(), labels.data());
      if (raw) raw->read(t, t + 1, weights.data());
      collector.add_frame(t, e[1], e[2], labels.data(), weights.data());
      step();
    }
    LabelledMovie result;
    result.kept = labeler.finish();
    result.regions = collector.finish(result.kept);
    std::vector<metrics::Box> boxes;
    for (const metrics::Region& r : result.regions) boxes.push_back(r.box);
    uint32_t count = 0;
    const std::vector<uint32_t> number = metrics::size_filter(boxes, min_size, count);
    for (uint32_t& k : result.kept) k = number[k];
    metrics::drop_small(result.regions, min_size);
    for (size_t i = 0; i < result.regions.size(); ++i) result.regions[i].label = uint32_t(i + 1);
    return result;
  }

  // Voxels of the kept components against the true mask. Labelling again gives the same provisional labels.
  void compare(const std::string& path, LabelFrames& frames, const std::vector<uint32_t>& kept) {
    LabelFrames truth(files_.truth, std::nullopt, options_.codes);
    const data::Extent3 e = frames.extent();
    check_extent(path, e, files_.truth, truth.extent());
    metrics::ComponentLabeler<uint32_t> labeler(e[1], e[2]);
    std::vector<uint32_t> labels(size_t(e[1] * e[2]));
    metrics::SegmentationScores scores;
    for (int64_t t = 0; t < e[0]; ++t) {
      labeler.add_frame(frames.read(t).data(), labels.data());
      const std::vector<uint32_t>& wanted = truth.read(t);
      for (size_t i = 0; i < labels.size(); ++i) labels[i] = truth.ignored(i) ? 0 : kept[labels[i]];
      scores.add(metrics::compare_masks(labels.data(), wanted.data(), int64_t(labels.size())));
      step();
    }
    result_.segmentation = scores;
  }

  // Where the truth says nothing, a predicted event is neither right nor wrong.
  void leave_out_ignored() {
    if (files_.truth.empty()) return;
    LabelFrames truth(files_.truth, std::nullopt, true);
    const data::Extent3 e = truth.extent();
    std::vector<bool> gone(result_.predicted.size(), false);
    for (int64_t t = 0; t < e[0]; ++t) {
      truth.read(t);
      for (size_t i = 0; i < gone.size(); ++i) {
        const int64_t y = std::llround(result_.predicted[i][1]), x = std::llround(result_.predicted[i][2]);
        if (std::llround(result_.predicted[i][0]) != t || y < 0 || y >= e[1] || x < 0 || x >= e[2]) continue;
        gone[i] = truth.ignored(size_t(y * e[2] + x));
      }
      step();
    }
    size_t left = 0;
    for (size_t i = 0; i < gone.size(); ++i) {
      if (gone[i]) continue;
      result_.predicted[left] = result_.predicted[i];
      result_.labels[left++] = result_.labels[i];
    }
    result_.ignored = int64_t(gone.size() - left);
    result_.predicted.resize(left);
    result_.labels.resize(left);
  }

  void true_points() {
    if (!files_.expert.empty()) {
      ExpertPoints e = read_expert(files_.expert, expert_options());
      result_.truth = std::move(e.points);
      result_.warnings = std::move(e.warnings);
      result_.truth_from = "expert";
    } else if (!files_.truth.empty()) {
      LabelFrames frames(files_.truth, std::nullopt, options_.codes);
      result_.truth = metrics::centroids(label(files_.truth, frames, {1, 1, 1}, files_.movie).regions);
      result_.truth_from = "truth";
    }
  }

  ExpertOptions expert_options() {
    ExpertOptions o;
    o.micron = options_.micron;
    o.slice_offset = options_.slice_offset;
    for (const std::string& path : {files_.movie, files_.truth, files_.labels, files_.probability}) {
      if (path.empty() || (predicted_extent_[0] > 0 && spacing_.y_um > 0)) continue;
      const io::TiffMovie movie(path);
      predicted_extent_ = movie.extent();
      spacing_ = movie.spacing();
    }
    o.extent = predicted_extent_;
    o.y_um = options_.pixel_y_um > 0 ? options_.pixel_y_um : spacing_.y_um;
    o.x_um = options_.pixel_x_um > 0 ? options_.pixel_x_um : spacing_.x_um;
    return o;
  }

  void step() {
    ++frames_;
    if (progress_) progress_(frames_);
  }

  const MovieFiles& files_;
  const EvaluationOptions& options_;
  const std::function<void(int64_t)>& progress_;
  MovieEvaluation result_;
  data::Extent3 predicted_extent_{0, 0, 0};
  data::Spacing spacing_;
  int64_t frames_ = 0;
};

/// Splits "sub/movie7_labels.tif" into the movie's name and the suffix without its underscore.
std::string movie_name(const std::string& relative, std::string& suffix) {
  std::string stem = fs::path(relative).replace_extension().generic_string();
  suffix.clear();
  for (const char* s : {"_events", "_labels", "_prediction"}) {
    const std::string ending = s;
    if (stem.size() <= ending.size() || stem.compare(stem.size() - ending.size(), ending.size(), ending) != 0)
      continue;
    suffix = ending.substr(1);
    stem.resize(stem.size() - ending.size());
    break;
  }
  return stem;
}

}  // namespace

double MovieEvaluation::mean_distance() const {
  if (!matching || matching->pairs.empty()) return metrics::undefined;
  double sum = 0;
  for (const auto& [i, j] : matching->pairs) sum += metrics::distance(truth[size_t(i)], predicted[size_t(j)]);
  return sum / double(matching->pairs.size());
}

bool is_prediction_name(const std::string& name) {
  std::string suffix;
  movie_name(name, suffix);
  return has_ending(name, {".csv"}) ? suffix == "events"
                                    : has_ending(name, {".tif", ".tiff"}) && !suffix.empty();
}

std::vector<MovieFiles> group_predictions(const std::vector<Input>& inputs) {
  std::vector<MovieFiles> movies;
  std::map<std::string, size_t> place;
  std::set<std::string> masks;  // movies whose labels are such a mask
  for (const Input& input : inputs) {
    std::string suffix;
    const std::string name = movie_name(input.relative, suffix);
    const auto [at, fresh] = place.emplace(name, movies.size());
    if (fresh) {
      movies.emplace_back();
      movies.back().name = name;
    }
    MovieFiles& m = movies[at->second];
    std::string* target = &m.events;
    if (!has_ending(input.relative, {".csv"})) {
      const bool scores = suffix != "labels" && is_float(io::TiffMovie(input.path).sample_type());
      target = scores ? &m.probability : &m.labels;
    }
    // The published masks carry the name of predictions; labels of their own name beside them are preferred.
    const bool mask = target == &m.labels && suffix != "labels";
    if (mask && !target->empty() && !masks.count(name)) continue;
    const bool replace = target == &m.labels && !mask && masks.erase(name) > 0;
    if (mask) masks.insert(name);
    check<FileError>(target->empty() || replace, input.path, ": belongs to the same movie as ", *target,
                     ". Give the folders of two runs one at a time.");
    *target = input.path;
  }
  return movies;
}

std::string find_companion(const std::string& folder, const std::string& name,
                           const std::vector<std::string>& patterns) {
  if (folder.empty()) return "";
  check<FileError>(fs::exists(folder), folder, ": no such file or folder.");
  if (!fs::is_directory(folder)) return folder;
  const fs::path movie(name);
  for (const fs::path& where : {fs::path(folder) / movie.parent_path(), fs::path(folder)})
    for (const std::string& pattern : patterns) {
      const size_t star = pattern.find('*');
      const fs::path file =
          where / (pattern.substr(0, star) + movie.filename().string() + pattern.substr(star + 1));
      if (fs::is_regular_file(file)) return file.string();
    }
  return "";
}

MovieEvaluation evaluate_movie(const MovieFiles& files, const EvaluationOptions& options,
                               const std::function<void(int64_t)>& progress) {
  return Evaluator(files, options, progress).run();
}

}  // namespace voxgrad::app
