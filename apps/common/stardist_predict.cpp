// SPDX-License-Identifier: BSD-3-Clause
// The prediction command for StarDist-3D: volumes in, label volumes and tables of objects out.

#include <algorithm>
#include <filesystem>
#include <optional>

#include <fmt/format.h>

#include "event_finder.hpp"
#include "files.hpp"
#include "movie_outputs.hpp"
#include "movie_queue.hpp"
#include "stardist_commands.hpp"
#include "stardist_data.hpp"
#include "stardist_model.hpp"
#include "stardist_objects.hpp"
#include "tables.hpp"
#include "voxgrad/core/parallel.hpp"
#include "voxgrad/data/stream_percentiles.hpp"
#include "voxgrad/data/preprocess.hpp"
#include "voxgrad/io/tiff.hpp"

namespace voxgrad::app {
namespace {

struct Job {
  StarDistModel& model;
  stardist::Rays rays;
  StarDistSearch search;
  double prob = 0.5, nms = 0.4;
  std::vector<double> thresholds;  // empty: only `prob`
  std::string normalize;
  io::TiffOptions tiff;
  MovieOutputOptions outputs;
};

struct Done {
  int64_t objects = 0, candidates = 0;
  MovieSummary summary;
};

/// "0.01:0.99:100" -> 100 numbers.
std::vector<double> parse_range(const std::string& value) {
  const size_t a = value.find(':'), b = a == std::string::npos ? a : value.find(':', a + 1);
  check<UsageError>(b != std::string::npos, "--thresholds is '", value, "' (expected FIRST:LAST:COUNT, such as 0.01:0.99:100).");
  const auto first = parse_real(value.substr(0, a)), last = parse_real(value.substr(a + 1, b - a - 1));
  const auto count = parse_integer(value.substr(b + 1));
  check<UsageError>(first && last && count && *first > 0 && *last < 1 && *first <= *last && *count >= 1 && *count <= 10000, "--thresholds is '", value,
                    "' (expected FIRST:LAST:COUNT with 0 < FIRST <= LAST < 1, such as 0.01:0.99:100).");
  check<UsageError>(*count == 1 || *last - *first >= 1e-9 * double(*count), "--thresholds is '", value, "': ", *count, " thresholds do not differ there. Ask for fewer.");
  std::vector<double> out;
  for (int64_t i = 0; i < *count; ++i) out.push_back(*count == 1 ? *first : *first + (*last - *first) * double(i) / double(*count - 1));
  return out;
}

/// Rising thresholds with three digits behind the point, or as many as tell them apart.
std::vector<std::string> threshold_names(const std::vector<double>& thresholds) {
  for (int digits = 3;; ++digits) {
    std::vector<std::string> names;
    for (const double t : thresholds) names.push_back(fmt::format("{:.{}f}", t, digits));
    if (std::adjacent_find(names.begin(), names.end()) == names.end()) return names;
  }
}

/// The input of the network, plane by plane.
class Planes {
  using Scale = data::PercentileScale;

 public:
  Planes(io::TiffMovie& movie, const std::string& how, Session& session) : movie_(movie), extent_(movie.extent()) {
    const int64_t size = extent_[1] * extent_[2];
    auto progress = session.stage("measure", 2 * extent_[0], "planes");
    int64_t read = 0;
    const auto plane = [&](int64_t z, float* out) {
      movie_.read(z, z + 1, out);
      session.check_stop();
      progress->update(++read);
    };
    try {
      if (how == "study") {
        movie_scale_ = data::measure_movie(extent_, plane);
        range_ = {movie_scale_->low, movie_scale_->high};
        return;
      }
      const auto p = data::stream_percentiles({0, Scale::low_percent, Scale::high_percent, 100}, [&](auto&& add) {
        std::vector<float> values(static_cast<size_t>(size));
        for (int64_t z = 0; z < extent_[0]; ++z) {
          plane(z, values.data());
          add(values.data(), size);
        }
      });
      range_ = {p[0], p[3]};
      if (how == "percentile") {
        scale_ = {p[1], p[2]};
        check_scale(movie.info().path, *scale_);
      }
    } catch (const ShapeError& e) {
      throw FileError(text(movie_.info().path, ": ", e.what()));
    }
  }
  GreyRange range() const { return range_; }  ///< of the raw volume
  void operator()(int64_t z, float* out) const {
    const int64_t size = extent_[1] * extent_[2];
    movie_.read(z, z + 1, out);
    if (movie_scale_) movie_scale_->apply(z, out, out, size);
    else if (scale_) scale_->apply(out, out, size);
  }

 private:
  io::TiffMovie& movie_;
  data::Extent3 extent_;
  std::optional<data::Preprocess> movie_scale_;
  std::optional<Scale> scale_;
  GreyRange range_{0, 1};
};

/// Writes a label volume; calls also(z, labels) for each plane.
void write_labels(const Job& job, const std::string& path, const StarDistObjects& objects, int64_t count, const data::Extent3& extent,
                  const data::Spacing& spacing, const std::function<void(int64_t, const int32_t*)>& also) {
  io::TiffWriteOptions options;
  options.spacing = spacing;
  options.deflate = job.outputs.deflate;
  options.depth = job.outputs.depth;
  options.lowest = 0, options.highest = double(std::max<int64_t>(count, 1));
  const bool wide = job.outputs.wide_labels || count > 65535;
  io::TiffWriter writer(path, extent, wide ? io::SampleType::u32 : io::SampleType::u16, options);
  std::vector<uint16_t> narrow(size_t(extent[1] * extent[2]));
  draw_objects(objects, job.rays, count, extent, job.search.memory / 8, [&](int64_t z, const int32_t* labels) {
    if (also) also(z, labels);
    if (wide) return writer.write(labels);
    std::transform(labels, labels + narrow.size(), narrow.begin(), [](int32_t l) { return uint16_t(l); });
    writer.write(narrow.data());
  });
  writer.close();
}

/// What rays tell of each object.
std::string objects_csv(const Job& job, const StarDistObjects& objects, int64_t count, const std::vector<metrics::Region>& regions) {
  std::map<uint32_t, int64_t> voxels;
  for (const metrics::Region& r : regions) voxels[r.label] = r.area;
  const bool classes = !objects.classes.empty();
  std::string out = text("label,prob,axis-0,axis-1,axis-2,volume,voxels,min-0,min-1,min-2,max-0,max-1,max-2", classes ? ",class\n" : "\n");
  const stardist::Polyhedra p = objects.list.polyhedra(job.rays);
  std::vector<stardist::Vec3f> corners;
  for (int64_t i = 0; i < count; ++i) {
    stardist::scaled_corners(job.rays, p.distances(i), {1, 1, 1}, corners);
    const stardist::Box box = stardist::bounding_box(job.rays, p.distances(i), p.centre(i));
    std::vector<std::string> cells{std::to_string(i + 1), csv_number(double(objects.list.scores[size_t(i)]))};
    for (size_t a = 0; a < 3; ++a) cells.push_back(csv_number(double(p.centre(i)[a])));
    cells.push_back(csv_number(double(stardist::polyhedron_volume(job.rays, corners))));
    cells.push_back(std::to_string(voxels[uint32_t(i + 1)]));
    for (size_t a = 0; a < 3; ++a) cells.push_back(std::to_string(box.lo[a]));
    for (size_t a = 0; a < 3; ++a) cells.push_back(std::to_string(box.hi[a]));
    if (classes) cells.push_back(std::to_string(objects.classes[size_t(i)]));
    out += csv_line(cells);
  }
  return out;
}

Done predict_one(Job& job, const Input& input, const std::string& stem, Session& session) {
  io::TiffMovie movie(input.path, job.tiff);
  const data::Extent3 extent = movie.extent();
  for (const std::string& note : movie.info().notes) session.note(text(input.path, ": ", note));
  StarDistSearch search = job.search;
  search.prob_thresh = job.thresholds.empty() ? job.prob : std::min(job.prob, job.thresholds.front());
  const StarDistPlan plan = plan_stardist(*job.model.net, extent, search);
  session.note(fmt::format("{}: {} planes of {}x{}; {}", input.path, extent[0], extent[1], extent[2], plan.summary));
  for (size_t a = 0; a < 3; ++a)
    if ((extent[a] + job.model.config.network.grid[a] - 1) / job.model.config.network.grid[a] <= 2 * search.border)
      session.warn(text(input.path, ": axis ", a, " is so short that the margin of ", search.border, " grid points leaves no place for objects; lower it with --border."));
  if (session.dry_run()) return {};
  make_folders(std::filesystem::path(stem).parent_path().string());
  std::remove((stem + "_events.csv").c_str());  // a volume without its event table counts as unfinished

  const Planes planes(movie, job.normalize, session);
  auto progress = session.stage("predict", plan.count(), "tiles");
  const auto find = [&] {
    try {
      return find_stardist_candidates(*job.model.net, plan, search, planes, [&](int64_t done) {
        session.check_stop();
        progress->update(done);
      });
    } catch (const FileError&) {
      throw;
    } catch (const Error& e) {
      throw Error(text(input.path, ": ", e.what()));
    }
  };
  const StarDistFound found = find();
  progress->finish();
  Done done{0, found.candidates.size(), {}};
  auto suppressing = session.stage("suppress", std::max<int64_t>(1, found.candidates.size()), "candidates");
  const StarDistObjects survivors = suppress_candidates(found, job.rays, job.nms, [&](int64_t decided, int64_t) {
    session.check_stop();
    suppressing->update(decided);
    return true;
  });
  suppressing->finish();
  const StarDistObjects objects = visible_objects(survivors, job.rays, extent, job.search.memory / 8);

  std::vector<std::string> files;
  if (!job.thresholds.empty()) {
    std::string counts = "threshold,objects\n";
    const std::vector<std::string> names = threshold_names(job.thresholds);
    auto drawing = session.stage("draw", int64_t(job.thresholds.size()), "thresholds");
    for (size_t i = 0; i < job.thresholds.size(); ++i) {
      session.check_stop();
      const double t = job.thresholds[i];
      const int64_t count = objects.above(t);
      const std::string path = stem + "_thresholds/labels-" + names[i] + ".tif";
      make_folders(stem + "_thresholds");
      write_labels(job, path, objects, count, extent, movie.spacing(), {});
      counts += csv_line({csv_number(t), std::to_string(count)});
      files.push_back(path);
      drawing->update(int64_t(i + 1));
    }
    write_file(stem + "_thresholds.csv", counts);
    files.push_back(stem + "_thresholds.csv");
  }
  done.objects = objects.above(job.prob);
  EventFinder finder(extent[1], extent[2], float(job.prob));
  std::vector<float> intensity(size_t(extent[1] * extent[2]));
  std::vector<uint32_t> plane(intensity.size());
  auto writing = session.stage("write", (job.outputs.overlay ? 3 : 2) * extent[0], "planes");
  int64_t passed = 0;
  write_labels(job, stem + "_prediction.tif", objects, done.objects, extent, movie.spacing(), [&](int64_t z, const int32_t* labels) {
    planes(z, intensity.data());
    std::copy_n(labels, plane.size(), plane.data());
    finder.add_labels(plane.data(), intensity.data());
    session.check_stop();
    writing->update(++passed);
  });
  finder.finish_labels(objects.list.scores);
  write_file(stem + "_objects.csv", objects_csv(job, objects, done.objects, finder.events()));
  for (const char* name : {"_prediction.tif", "_objects.csv"}) files.push_back(stem + name);
  MovieOutputs outputs(stem, extent, movie.spacing(), job.outputs);
  MovieSummary& summary = done.summary = outputs.finish(finder, planes.range(), [&](int64_t z, float* out) {
    movie.read(z, z + 1, out);
    session.check_stop();
    writing->update(++passed);
  });
  writing->finish();
  files.insert(files.end(), summary.files.begin(), summary.files.end());
  summary.seconds = found.seconds;
  summary.voxels_per_second = double(data::voxel_count(extent)) / std::max(found.seconds, 1e-9);
  if (job.outputs.depth) summary.spacing.seconds = 0;  // nothing happens per minute
  for (const std::string& file : files) session.print(file);
  session.note(fmt::format("{}: {} objects of {} candidates; {:.2f} million voxels/s through the network", input.path, done.objects, done.candidates,
                           summary.voxels_per_second / 1e6));
  return done;
}

Job make_job(const Arguments& a, StarDistModel& model, Session& session) {
  Job job{model, stardist::make_rays(model.config.rays), {}, 0.5, 0.4, {}, "", {}, {}};
  job.prob = a.given("--prob-threshold") ? a.real("--prob-threshold", 0, 1) : model.thresholds.prob;
  job.nms = a.given("--nms-threshold") ? a.real("--nms-threshold", 0, 1) : model.thresholds.nms;
  if (a.given("--thresholds")) job.thresholds = parse_range(a.get("--thresholds"));
  job.normalize = a.given("--normalize") ? a.choice("--normalize") : model.normalization;
  job.search.border = a.given("--border") ? a.integer("--border", 0, 1 << 20) : 2;
  const std::string rule = a.given("--candidates") ? a.choice("--candidates") : job.normalize == "study" ? "dense" : "sparse";
  job.search.rule = rule == "dense" ? BorderRule::dense : BorderRule::sparse;
  job.search.memory = session.memory_limit();
  if (a.given("--n-tiles")) {
    const std::string value = a.get("--n-tiles");
    std::string rest = value + ",";
    size_t axis = 0;
    for (size_t comma; (comma = rest.find(',')) != std::string::npos; rest = rest.substr(comma + 1)) {
      const auto n = parse_integer(rest.substr(0, comma));
      check<UsageError>(n && *n >= 1 && axis < 3, "--n-tiles is '", value, "' (expected three numbers from 1 on, such as 1,4,4).");
      job.search.n_tiles[axis++] = *n;
    }
    check<UsageError>(axis == 3, "--n-tiles is '", value, "' (expected three numbers from 1 on, such as 1,4,4).");
  }
  job.tiff.axes = a.maybe("--axes").value_or(job.normalize == "study" ? "" : "TYX");
  job.tiff.channel = a.given("--channel") ? int(a.integer("--channel", 1, 1 << 20)) : 0;
  job.tiff.allow_truncated = a.flag("--allow-truncated");
  job.tiff.sequence = a.flag("--sequence");
  job.outputs.deflate = a.flag("--compress");
  job.outputs.depth = job.normalize != "study";
  job.outputs.probability = job.outputs.labels = false;  // _prediction.tif holds the labels, as published
  job.outputs.overlay = !a.flag("--no-overlay");
  job.outputs.preview = !a.flag("--no-preview");
  job.outputs.rois = !a.flag("--no-rois");
  job.outputs.traces = !job.outputs.depth && !a.flag("--no-traces");  // over time
  job.outputs.wide_labels = a.choice("--labels-type") == "uint32";
  return job;
}

}  // namespace

std::vector<Option> stardist_predict_options() {
  return {{"--prob-threshold", "P", "", "StarDist: probabilities above propose objects (default: the model's)", "StarDist"},
          {"--nms-threshold", "T", "", "StarDist: share of the smaller volume above which the worse of two objects goes (default: the model's)", "StarDist"},
          {"--thresholds", "FIRST:LAST:COUNT", "", "StarDist: labels at many probability thresholds from one prediction, such as 0.01:0.99:100", "StarDist"},
          {"--normalize", "study|percentile|none", "", "StarDist: the study's preprocessing of movies, percentiles 1 and 99.8, or none (default: the model's)", "StarDist"},
          {"--border", "N", "", "StarDist: grid points at the ends of the volume without object centres (default 2)", "StarDist"},
          {"--candidates", "sparse|dense", "", "StarDist: whether that margin counts from the padded volume or from the volume (default sparse; dense with study)", "StarDist"},
          {"--n-tiles", "Z,Y,X", "", "StarDist: tiles along each axis (default: what computes least within --memory)", "StarDist"}};
}

int predict_stardist(const Arguments& a, Session& session) {
  for (const char* option : {"--threshold", "--objective", "--mode", "--batch-norm", "--batch-size", "--no-probability", "--no-labels"})
    check<UsageError>(!a.given(option), option, " goes with U-Net models; for StarDist see --prob-threshold, --nms-threshold and --n-tiles.");
  StarDistModel model = open_stardist_model(a.get("--model"), a.flag("--latest"));
  const std::string name = std::filesystem::path(model.path).filename().string();
  const std::string out = a.given("--out") ? a.get("--out") : a.get("--out") + "/" + name;
  const std::vector<Input> movies = movies_to_predict(a, out);
  set_threads(session.threads());
  Job job = make_job(a, model, session);
  for (const std::string& note : model.notes) session.note(note);
  session.note(fmt::format("StarDist model {}: prob {:.4f}, nms {:.4f}, normalisation {}, {} threads on the cpu", model.path, job.prob, job.nms,
                           job.normalize, threads()));
  int64_t objects = 0;
  const auto predict = [&](const Input& movie, const std::string& stem, SummaryTable& table) {
    const Done done = predict_one(job, movie, stem, session);
    objects += done.objects;
    if (!session.dry_run()) table.add(movie.path, done.summary, float(job.prob));
  };
  return predict_each(movies, out, a, session, predict, [&] { session.result("objects", objects); });
}

}  // namespace voxgrad::app
