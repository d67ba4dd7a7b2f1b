// SPDX-License-Identifier: BSD-3-Clause
// voxgrad predict: raw movies -> probability, labels, event table, preview.

#include <sys/stat.h>

#include <map>

#include <fmt/format.h>

#include "commands.hpp"
#include "common/event_finder.hpp"
#include "common/files.hpp"
#include "common/model_folder.hpp"
#include "common/movie_outputs.hpp"
#include "common/predictor.hpp"
#include "voxgrad/core/parallel.hpp"
#include "voxgrad/core/trace.hpp"
#include "voxgrad/data/preprocess.hpp"
#include "voxgrad/io/tiff.hpp"

namespace voxgrad::app {
namespace {

struct Job {
  models::UNet3d& net;
  PredictOptions options = {};
  io::TiffOptions tiff = {};
  MovieOutputOptions outputs = {};
  float threshold = 0.5f;
};

/// Where a movie's files go: the structure below the input folder is kept.
std::string output_stem(const std::string& out, const std::string& relative) {
  const size_t dot = relative.find_last_of('.'), slash = relative.find_last_of('/');
  const bool has_ending = dot != std::string::npos && (slash == std::string::npos || dot > slash);
  return out + "/" + (has_ending ? relative.substr(0, dot) : relative);
}

void refuse_shared_outputs(const std::string& out, const std::vector<Input>& inputs) {
  std::map<std::string, std::string> taken;
  for (const Input& input : inputs) {
    const auto at = taken.emplace(output_stem(out, input.relative), input.path);
    check<UsageError>(at.second, at.first->second, " and ", input.path, " would both be written to ", at.first->first,
                      "_*. Give a folder above them and --recursive, or another --out for one.");
  }
}

data::Preprocess measure(io::TiffMovie& movie, Session& session) {
  const data::Extent3 extent = movie.extent();
  auto progress = session.stage("measure", 2 * extent[0], "frames");
  int64_t read = 0;
  try {
    return data::measure_movie(extent, [&](int64_t t, float* out) {
      movie.read(t, t + 1, out);
      session.check_stop();
      progress->update(++read);
    });
  } catch (const ShapeError& e) {
    throw FileError(text(movie.info().path, ": ", e.what()));
  }
}

MovieSummary predict_one(const Job& job, const Input& input, const std::string& stem, Session& session) {
  io::TiffMovie movie(input.path, job.tiff);
  const data::Extent3 extent = movie.extent();
  for (const std::string& note : movie.info().notes) session.note(text(input.path, ": ", note));
  const PredictPlan plan = plan_prediction(job.net, extent, job.options);
  session.note(fmt::format("{}: {} frames of {}x{}; {}", input.path, extent[0], extent[1], extent[2], plan.summary));
  if (session.dry_run()) return {};

  const data::Preprocess measured = measure(movie, session);
  const auto read = [&](int64_t t, float* out) {
    movie.read(t, t + 1, out);
    measured.apply(t, out, out, extent[1] * extent[2]);
  };
  MovieOutputs outputs(stem, extent, movie.spacing(), job.outputs);
  EventFinder finder(extent[1], extent[2], job.threshold);
  std::vector<float> intensity(size_t(extent[1] * extent[2]));
  auto progress = session.stage("predict", plan.tiles.size(), "tiles");
  predict_movie(job.net, plan, job.options, read,
                [&](int64_t t, const float* probability) {
                  read(t, intensity.data());
                  finder.add_frame(probability, intensity.data());
                  outputs.add_frame(probability);
                },
                [&](int64_t done) {
                  session.check_stop();
                  progress->update(done);
                });
  progress->finish();
  const double seconds = progress->seconds();
  finder.finish(job.outputs.min_size);
  auto writing = session.stage("write", (job.outputs.overlay ? 2 : 1) * extent[0], "frames");
  int64_t passed = 0;
  MovieSummary summary = outputs.finish(finder, [&](int64_t t, float* out) {
    movie.read(t, t + 1, out);
    session.check_stop();
    writing->update(++passed);
  });
  writing->finish();
  summary.seconds = seconds;
  summary.voxels_per_second = double(data::voxel_count(extent)) / seconds;
  for (const std::string& file : summary.files) session.print(file);
  session.note(fmt::format("{}: {} events, {:.2f} million voxels/s", input.path, summary.events, summary.voxels_per_second / 1e6));
  return summary;
}

float chosen_threshold(const Arguments& a, const ModelFolder& folder, Session& session) {
  if (a.given("--threshold")) return float(a.real("--threshold", 0, 1));
  const Thresholds t = folder.thresholds();
  const bool detection = a.choice("--objective") == "detection";
  const auto& value = detection ? t.detection : t.segmentation;
  if (value) return float(*value);
  session.warn(text(folder.path(), ": no ", detection ? "detection" : "segmentation", " threshold was chosen, 0.5 is used. Choose one with: voxgrad optimize"));
  return 0.5f;
}

PredictOptions predict_options(const Arguments& a, const TrainConfig& config, Session& session) {
  PredictOptions o;
  o.fast = a.choice("--mode") == "fast";
  o.batch_statistics = a.choice("--batch-norm") == "batch";
  check<UsageError>(!o.fast || !o.batch_statistics, "--batch-norm batch reproduces the published windows: it does not go with --mode fast.");
  o.window = 2 * config.training.patch_size;
  o.batch = a.given("--batch-size") ? a.integer("--batch-size", 1, 4096) : 0;
  o.memory = session.memory_limit();
  return o;
}

int run_predict(const Arguments& a, Session& session) {
  const ModelFolder folder = ModelFolder::existing(a.get("--model"));
  const std::string out = a.given("--out") ? a.get("--out") : a.get("--out") + "/" + folder.name();
  check<UsageError>(!a.inputs().empty(), "no movies. Name TIFF files or folders.");
  refuse_output_in_input(out, a.inputs());
  const bool sequence = a.flag("--sequence");
  std::vector<Input> inputs;
  if (sequence) {
    for (const std::string& folder_name : a.inputs()) {
      std::string path = folder_name;
      while (path.size() > 1 && path.back() == '/') path.pop_back();
      inputs.push_back({path, path.substr(path.find_last_of('/') + 1)});
    }
  } else {
    inputs = expand_inputs(a.inputs(), a.flag("--recursive"), [](const std::string& n) { return has_ending(n, {".tif", ".tiff"}); });
  }
  refuse_shared_outputs(out, inputs);
  const TrainConfig config = train_config(folder.config());
  const auto net = folder.network(a.flag("--latest"));
  set_threads(session.threads());
  Job job{*net};
  job.options = predict_options(a, config, session);
  job.threshold = chosen_threshold(a, folder, session);
  job.tiff.axes = a.maybe("--axes").value_or("");
  job.tiff.channel = a.given("--channel") ? int(a.integer("--channel", 1, 1 << 20)) : 0;
  job.tiff.allow_truncated = a.flag("--allow-truncated");
  job.tiff.sequence = sequence;
  job.outputs.probability = !a.flag("--no-probability");
  job.outputs.labels = !a.flag("--no-labels");
  job.outputs.preview = !a.flag("--no-preview");
  job.outputs.overlay = !a.flag("--no-overlay");
  job.outputs.traces = !a.flag("--no-traces");
  job.outputs.rois = !a.flag("--no-rois");
  job.outputs.deflate = a.flag("--compress");
  job.outputs.wide_labels = a.choice("--labels-type") == "uint32";
  session.note(fmt::format("model {}, threshold {:.4f}, {} threads on the cpu", folder.path(), job.threshold, threads()));

  double conv_ms = 0;
  if (session.verbose())
    trace_sink() = [&](const TraceEvent& e) { if (e.flop > 0) conv_ms += e.ms; };
  SummaryTable table(out, a.flag("--overwrite"));
  std::vector<std::string> failed;
  int64_t skipped = 0;
  double seconds = 0;
  for (const Input& input : inputs) {
    session.check_stop();
    const std::string stem = output_stem(out, input.relative);
    if (!a.flag("--overwrite") && MovieOutputs::finished(stem)) {
      session.note(text(input.path, ": finished already, skipped (--overwrite does it again)"));
      ++skipped;
      continue;
    }
    try {
      const MovieSummary summary = predict_one(job, input, stem, session);
      seconds += summary.seconds;
      if (!session.dry_run()) table.add(input.path, summary, job.threshold);
    } catch (const UsageError&) {
      throw;
    } catch (const Error& e) {
      if (inputs.size() == 1) throw;
      session.note(text("failed: ", e.what()));
      failed.push_back(e.what());
    }
  }
  trace_sink() = nullptr;
  if (session.verbose() && seconds > 0) session.note(fmt::format("convolutions: {:.0f} % of the time", conv_ms / seconds / 10));
  if (!session.dry_run()) {
    table.write();
    session.print(table.path());
  }
  session.result("movies", int64_t(inputs.size()) - skipped - int64_t(failed.size()));
  session.result("skipped", skipped);
  session.result("failed", int64_t(failed.size()));
  if (failed.empty()) return 0;
  session.note(text(failed.size(), " of ", inputs.size(), " movies failed:"));
  for (const std::string& line : failed) session.note("  " + line);
  return 1;
}

}  // namespace

Command make_predict() {
  return {.name = "predict",
          .summary = "Finds events in raw movies: probability, labels, event table and preview of each.",
          .usage_inputs = "MOVIE.tif|FOLDER...",
          .options = join({{"--model", "DIR", "", "model folder", "Model"},
                           {"--latest", "", "", "use the latest weights instead of the best ones", "Model"},
                           {"--threshold", "P", "", "scores above are events (default: the model's, else 0.5)", "Model"},
                           {"--objective", "segmentation|detection", "segmentation", "which of the model's thresholds to use", "Model"},
                           {"--mode", "reference|fast", "reference", "published windows (8 per voxel), or larger tiles", "Model"},
                           {"--batch-norm", "running|batch", "running", "statistics of the training, or of each batch of 128 windows as published", "Model"},
                           {"--batch-size", "N", "", "tiles per step (default: up to 4, as size and memory allow; 128 with batch statistics)", "Model"},
                           {"--axes", "ORDER", "", "order of the planes when the file does not say, for example TYX", "Data"},
                           {"--channel", "N", "", "channel of a file with several, from 1", "Data"},
                           {"--sequence", "", "", "the inputs are folders of single frames", "Data"},
                           {"--allow-truncated", "", "", "work on the complete frames of a truncated file", "Data"},
                           {"--labels-type", "uint16|uint32", "uint16", "type of the label image (uint32 by itself above 65535 events)", "Output"},
                           {"--compress", "", "", "deflate the images", "Output"},
                           {"--no-probability", "", "", "leave out the probability image", "Output"},
                           {"--no-labels", "", "", "leave out the label image", "Output"},
                           {"--no-overlay", "", "", "leave out the movie with event outlines", "Output"},
                           {"--no-rois", "", "", "leave out the outlines for ImageJ", "Output"},
                           {"--no-traces", "", "", "leave out intensity and dF/F of each event over time", "Output"},
                           {"--no-preview", "", "", "leave out the preview picture", "Output"}},
                          {common::recursive(), common::out(), common::overwrite(), common::dry_run(), common::threads(),
                           common::device(), common::memory()}),
          .examples = {{"voxgrad predict movie.tif --model models/first --out results", "one movie"},
                       {"voxgrad predict raw-input --recursive --model models/first --mode fast", "all movies below a folder, faster"},
                       {"voxgrad predict raw-input --model models/first --batch-norm batch", "as the published script ran"}},
          .more = "docs/predict.md",
          .run = run_predict};
}

}  // namespace voxgrad::app
