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
#include "number_range.hpp"
#include "stardist_commands.hpp"
#include "stardist_input.hpp"
#include "stardist_model.hpp"
#include "stardist_outputs.hpp"
#include "tables.hpp"
#include "voxgrad/core/parallel.hpp"

namespace voxgrad::app {
namespace {

struct Job {
  StarDistModel& model;
  stardist::Rays rays;
  StarDistSearch search;
  double prob = 0.5, nms = 0.4;
  std::vector<double> thresholds;  // empty: only `prob`
  StarDistInputOptions input;
  VolumeOptions volume;
  StarDistLabelOptions labels;
  MovieOutputOptions outputs;
  bool mesh = false;
};

struct Done {
  int64_t objects = 0, candidates = 0;
  MovieSummary summary;
};

/// The numbers of an option "A,B,C": as many as `count`, or with 0 one or three.
std::vector<double> numbers_of(const Arguments& a, const char* option, size_t count, const char* expected) {
  std::vector<double> numbers;
  std::string rest = a.get(option) + ",";
  bool fits = true;
  for (size_t comma; (comma = rest.find(',')) != std::string::npos; rest = rest.substr(comma + 1)) {
    const auto n = parse_real(rest.substr(0, comma));
    fits &= n.has_value();
    numbers.push_back(n.value_or(0));
  }
  check<UsageError>(fits && (numbers.size() == count || (count == 0 && (numbers.size() == 1 || numbers.size() == 3))), option, " is '", a.get(option),
                    "' (expected ", expected, ").");
  return numbers;
}

/// Rising thresholds with three digits behind the point, or as many as tell them apart.
std::vector<std::string> threshold_names(const std::vector<double>& thresholds) {
  for (int digits = 3;; ++digits) {
    std::vector<std::string> names;
    for (const double t : thresholds) names.push_back(fmt::format("{:.{}f}", t, digits));
    if (std::adjacent_find(names.begin(), names.end()) == names.end()) return names;
  }
}

Done predict_one(Job& job, const Input& input, const std::string& stem, Session& session) {
  VolumeFile volume(input.path, job.volume);
  const data::Extent3 extent = volume.extent();
  for (const std::string& note : volume.info().notes) session.note(text(input.path, ": ", note));
  StarDistSearch search = job.search;
  search.prob_thresh = job.thresholds.empty() ? job.prob : std::min(job.prob, job.thresholds.front());
  StarDistInput planes(volume, job.input);
  const StarDistPlan plan = plan_stardist(*job.model.net, planes.extent(), search);
  session.note(fmt::format("{}: {} planes of {}x{}{}; {}", input.path, extent[0], extent[1], extent[2],
                           volume.axes() == "ZYX" ? "" : fmt::format(" ({})", volume.axes()), plan.summary));
  for (size_t a = 0; a < 3; ++a)
    if (const int64_t grid = job.model.config.network.grid[a]; (planes.extent()[a] + grid - 1) / grid <= 2 * search.border)
      session.warn(text(input.path, ": the network's axis ", job.input.network_axes[a], " is so short that the margin of ", search.border,
                        " grid points leaves no place for objects; lower it with --border."));
  if (session.dry_run()) return {};
  make_folders(std::filesystem::path(stem).parent_path().string());
  std::remove((stem + "_events.csv").c_str());  // a volume without its event table counts as unfinished

  planes.prepare(session);
  auto progress = session.stage("predict", plan.count(), "tiles");
  const auto find = [&] {
    try {
      return find_stardist_candidates(*job.model.net, plan, search, [&](int64_t z, float* out) { planes.plane(z, out); }, [&](int64_t done) {
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
  StarDistObjects survivors = suppress_candidates(found, job.rays, job.nms, [&](int64_t decided, int64_t) {
    session.check_stop();
    suppressing->update(decided);
    return true;
  });
  suppressing->finish();
  place_objects(survivors, planes.placement());
  const stardist::Rays rays = placed_rays(job.rays, planes.placement());
  const StarDistObjects objects = visible_objects(survivors, rays, extent, job.search.memory / 8);

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
      write_label_volume(path, objects, rays, count, extent, volume.spacing(), job.labels);
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
  auto writing = session.stage("write", (job.outputs.overlay ? 3 : 2) * extent[0], "planes");
  int64_t passed = 0;
  write_label_volume(stem + "_prediction.tif", objects, rays, done.objects, extent, volume.spacing(), job.labels, [&](int64_t z, const uint32_t* labels) {
    planes.file_plane(z, intensity.data());
    finder.add_labels(labels, intensity.data());
    session.check_stop();
    writing->update(++passed);
  });
  finder.finish_labels(objects.list.scores);
  write_file(stem + "_objects.csv", objects_csv(objects, rays, done.objects, finder.events(), job.model.config.network.n_classes));
  for (const char* name : {"_prediction.tif", "_objects.csv"}) files.push_back(stem + name);
  if (job.model.config.network.n_classes > 0) {
    write_class_volume(stem + "_classes.tif", objects, rays, done.objects, extent, volume.spacing(), job.labels);
    files.push_back(stem + "_classes.tif");
  }
  if (job.mesh) {
    write_mesh(stem + "_objects.obj", objects, rays, done.objects, volume.spacing());
    files.push_back(stem + "_objects.obj");
  }
  MovieOutputs outputs(stem, extent, volume.spacing(), job.outputs);
  MovieSummary& summary = done.summary = outputs.finish(finder, planes.range(), [&](int64_t z, float* out) {
    volume.read(z, 0, out);
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
  Job job{model, stardist::make_rays(model.config.rays), {}, 0.5, 0.4, {}, {}, {}, {}, {}};
  job.prob = a.given("--prob-threshold") ? a.real("--prob-threshold", 0, 1) : model.thresholds.prob;
  job.nms = a.given("--nms-threshold") ? a.real("--nms-threshold", 0, 1) : model.thresholds.nms;
  if (a.given("--thresholds")) job.thresholds = parse_range("--thresholds", a.get("--thresholds"), 1e-6, 1 - 1e-6, 10000);
  job.input.normalize = a.given("--normalize") ? a.choice("--normalize") : model.normalization;
  job.search.border = a.given("--border") ? a.integer("--border", 0, 1 << 20) : 2;
  const std::string rule = a.given("--candidates") ? a.choice("--candidates") : job.input.normalize == "study" ? "dense" : "sparse";
  job.search.rule = rule == "dense" ? BorderRule::dense : BorderRule::sparse;
  job.search.memory = session.memory_limit();
  if (const auto card = chosen_card(a, session)) job.search.card = std::make_shared<StarDistCardInference>(card, *model.net);
  if (a.given("--n-tiles")) {
    const std::vector<double> n = numbers_of(a, "--n-tiles", 3, "three numbers from 1 on, such as 1,4,4");
    for (size_t axis = 0; axis < 3; ++axis) {
      check<UsageError>(n[axis] >= 1 && n[axis] < 1e6 && n[axis] == double(int64_t(n[axis])), "--n-tiles is '", a.get("--n-tiles"), "' (expected three numbers from 1 on, such as 1,4,4).");
      job.search.n_tiles[axis] = int64_t(n[axis]);
    }
  }
  if (a.given("--scale")) {
    const std::vector<double> s = numbers_of(a, "--scale", 0, "one number above 0, or three for z, y, x, such as 2,1,1");
    for (size_t axis = 0; axis < 3; ++axis) {
      job.input.scale[axis] = s[s.size() == 1 ? 0 : axis];
      check<UsageError>(job.input.scale[axis] > 0 && job.input.scale[axis] <= 1000, "--scale is '", a.get("--scale"), "' (expected one number above 0, or three for z, y, x, such as 2,1,1).");
    }
  }
  job.input.network_axes = model.config.axes.substr(0, 3);
  job.input.memory = job.search.memory;
  const int64_t channels = model.config.network.n_channel_in;
  check<UsageError>(channels == 1 || !a.given("--channel"), "--channel ", a.get("--channel"), ": the model takes all of ", channels, " channels; leave it out.");
  job.volume.axes = a.maybe("--axes").value_or(model.data_axes);
  job.volume.channels = channels;
  job.volume.channel = a.given("--channel") ? int(a.integer("--channel", 1, 1 << 20)) : 0;
  job.volume.trust_file = job.input.normalize == "study";
  job.volume.allow_truncated = a.flag("--allow-truncated");
  job.volume.sequence = a.flag("--sequence");
  job.labels.deflate = a.flag("--compress");
  job.labels.wide = a.choice("--labels-type") == "uint32";
  job.labels.depth = job.input.normalize != "study";
  job.labels.memory = job.search.memory / 8;
  if (a.given("--overlap-label")) job.labels.overlap_label = int32_t(a.integer("--overlap-label", -2147483647, 2147483647));
  job.mesh = a.flag("--obj");
  job.outputs.deflate = a.flag("--compress");
  job.outputs.depth = job.labels.depth;
  job.outputs.probability = job.outputs.labels = false;  // _prediction.tif holds the labels, as published
  job.outputs.overlay = !a.flag("--no-overlay");
  job.outputs.preview = !a.flag("--no-preview");
  job.outputs.rois = !a.flag("--no-rois");
  job.outputs.traces = !job.outputs.depth && !a.flag("--no-traces");  // over time
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
          {"--scale", "Z,Y,X", "", "StarDist: the network sees the volume resized by this, for objects of another size than it was trained on; outputs stay in the volume's voxels", "StarDist"},
          {"--overlap-label", "N", "", "StarDist: label of voxels that several objects cover (default: the most probable keeps them)", "StarDist"},
          {"--obj", "", "", "StarDist: also the objects' surfaces as a mesh, NAME_objects.obj", "StarDist"},
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
  const Card* const card = job.search.card ? &job.search.card->card() : nullptr;
  for (const std::string& note : model.notes) session.note(note);
  session.note(fmt::format("StarDist model {}: prob {:.4f}, nms {:.4f}, normalisation {}, {}", model.path, job.prob, job.nms,
                           job.input.normalize, where_text(card, threads())));
  int64_t objects = 0;
  const auto predict = [&](const Input& movie, const std::string& stem, SummaryTable& table) {
    const Done done = predict_one(job, movie, stem, session);
    objects += done.objects;
    if (!session.dry_run()) table.add(movie.path, done.summary, float(job.prob));
  };
  return predict_each(movies, out, a, session, predict, [&] {
    session.result("objects", objects);
    session.result("device", session.device());
    if (card) session.result("precision", std::string(cuda::name(card->precision)));
  });
}

}  // namespace voxgrad::app
