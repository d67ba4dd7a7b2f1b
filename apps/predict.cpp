// SPDX-License-Identifier: BSD-3-Clause
// voxgrad predict: raw movies -> probability, labels, event table, preview.

#include <chrono>
#include <map>
#include <mutex>

#include <fmt/format.h>

#include "commands.hpp"
#include "common/event_finder.hpp"
#include "common/model_bundle.hpp"
#include "common/model_folder.hpp"
#include "common/movie_outputs.hpp"
#include "common/movie_queue.hpp"
#include "common/predictor.hpp"
#include "common/stardist_commands.hpp"
#include "common/stardist_model.hpp"
#include "voxgrad/core/parallel.hpp"
#include "voxgrad/data/preprocess.hpp"
#include "voxgrad/io/tiff.hpp"

namespace voxgrad::app {
namespace {

/// The options of both kinds of model.
std::vector<Option> with_stardist(std::vector<Option> options) {
  for (const Option& o : stardist_predict_options()) options.push_back(o);
  return options;
}

/// What the run of all movies took.
struct Total {
  double voxels = 0, seconds = 0, lane_seconds = 0, convolution = 0, all_seconds = 0;

  void add(const PredictTimes& t, int64_t voxel_count, double with_files) {
    voxels += double(voxel_count);
    seconds += t.seconds;
    lane_seconds += t.seconds * double(t.lanes);
    convolution += t.convolution;
    all_seconds += with_files;
  }
};

struct Job {
  models::UNet3d& net;
  PredictOptions options = {};
  io::TiffOptions tiff = {};
  MovieOutputOptions outputs = {};
  float threshold = 0.5f;
  Total total = {};
};

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

MovieSummary predict_one(Job& job, const Input& input, const std::string& stem, Session& session) {
  io::TiffMovie movie(input.path, job.tiff);
  const data::Extent3 extent = movie.extent();
  for (const std::string& note : movie.info().notes) session.note(text(input.path, ": ", note));
  const PredictPlan plan = plan_prediction(job.net, extent, job.options);
  session.note(fmt::format("{}: {} frames of {}x{}; {}", input.path, extent[0], extent[1], extent[2], plan.summary));
  if (session.dry_run()) return {};

  const auto began = std::chrono::steady_clock::now();
  const data::Preprocess measured = measure(movie, session);
  std::mutex file;  // tiles are filled on one thread while results are written on another
  const auto read = [&](int64_t t, float* out) {
    {
      const std::lock_guard lock(file);
      movie.read(t, t + 1, out);
    }
    measured.apply(t, out, out, extent[1] * extent[2]);
  };
  MovieOutputs outputs(stem, extent, movie.spacing(), job.outputs);
  EventFinder finder(extent[1], extent[2], job.threshold);
  std::vector<float> intensity(size_t(extent[1] * extent[2]));
  auto progress = session.stage("predict", plan.tiles.size(), "tiles");
  const PredictTimes times = predict_movie(job.net, plan, job.options, read,
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
  finder.finish(job.outputs.min_size);
  auto writing = session.stage("write", (job.outputs.overlay ? 2 : 1) * extent[0], "frames");
  int64_t passed = 0;
  MovieSummary summary = outputs.finish(finder, {measured.low, measured.high}, [&](int64_t t, float* out) {
    movie.read(t, t + 1, out);
    session.check_stop();
    writing->update(++passed);
  });
  writing->finish();
  summary.seconds = times.seconds;
  summary.voxels_per_second = double(data::voxel_count(extent)) / times.seconds;
  for (const std::string& file_name : summary.files) session.print(file_name);
  job.total.add(times, data::voxel_count(extent), std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
  session.note(fmt::format("{}: {} events, {:.2f} million voxels/s{}", input.path, summary.events, summary.voxels_per_second / 1e6,
                           job.options.card ? std::string() : fmt::format(", {:.0f} % of the time in convolutions", 100 * times.convolution_share())));
  const double whole = times.seconds * double(times.lanes) / 100;
  session.detail(fmt::format("{:.0f} % in the network, {:.1f} % reading and cutting tiles, {:.1f} % joining tiles and finding events",
                             times.network / whole, times.input / whole, times.output / whole));
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

PredictOptions predict_options(const Arguments& a, const TrainConfig& config, models::UNet3d& net, Session& session) {
  PredictOptions o;
  o.fast = a.choice("--mode") == "fast";
  o.batch_statistics = a.choice("--batch-norm") == "batch";
  check<UsageError>(!o.fast || !o.batch_statistics, "--batch-norm batch reproduces the published windows: it does not go with --mode fast.");
  o.window = 2 * config.training.patch_size;
  o.batch = a.given("--batch-size") ? a.integer("--batch-size", 1, 4096) : 0;
  o.memory = session.memory_limit();
  if (const auto card = chosen_card(a, session)) o.card = std::make_shared<CardInference>(card, net);
  return o;
}

int predict_with_model(const Arguments& given, Session& session) {
  const OpenedModel model(given.get("--model"));
  Arguments a = given;
  if (model.bundle()) a.set("--model", model.path());
  if (is_stardist_folder(a.get("--model"))) return predict_stardist(a, session);
  for (const Option& o : stardist_predict_options())
    check<UsageError>(!a.given(o.name), o.name, " goes with StarDist models; ", a.get("--model"), " is none.");
  const ModelFolder folder = ModelFolder::existing(a.get("--model"));
  const std::string out = a.given("--out") ? a.get("--out") : a.get("--out") + "/" + folder.name();
  const std::vector<Input> movies = movies_to_predict(a, out);
  const TrainConfig config = train_config(folder.config());
  const auto net = folder.network(a.flag("--latest"));
  set_threads(session.threads());
  Job job{*net};
  job.options = predict_options(a, config, *net, session);
  job.threshold = chosen_threshold(a, folder, session);
  job.tiff.axes = a.maybe("--axes").value_or("");
  job.tiff.channel = a.given("--channel") ? int(a.integer("--channel", 1, 1 << 20)) : 0;
  job.tiff.allow_truncated = a.flag("--allow-truncated");
  job.tiff.sequence = a.flag("--sequence");
  job.outputs.probability = !a.flag("--no-probability");
  job.outputs.labels = !a.flag("--no-labels");
  job.outputs.preview = !a.flag("--no-preview");
  job.outputs.overlay = !a.flag("--no-overlay");
  job.outputs.traces = !a.flag("--no-traces");
  job.outputs.rois = !a.flag("--no-rois");
  job.outputs.deflate = a.flag("--compress");
  job.outputs.wide_labels = a.choice("--labels-type") == "uint32";
  const Card* const card = job.options.card ? &job.options.card->card() : nullptr;
  session.note(fmt::format("model {}, threshold {:.4f}, {}", folder.path(), job.threshold, where_text(card, threads())));

  const auto predict = [&](const Input& movie, const std::string& stem, SummaryTable& table) {
    const MovieSummary summary = predict_one(job, movie, stem, session);
    if (!session.dry_run()) table.add(movie.path, summary, job.threshold);
  };
  return predict_each(movies, out, a, session, predict, [&] {
    const Total& total = job.total;
    if (total.seconds == 0) return;
    session.note(fmt::format("{:.2f} million voxels/s through the network{}; {:.2f} million voxels/s with all files", total.voxels / total.seconds / 1e6,
                             card ? std::string() : fmt::format(", {:.0f} % of the time in convolutions", 100 * total.convolution / total.lane_seconds),
                             total.voxels / total.all_seconds / 1e6));
    session.result("voxels_per_second", total.voxels / total.seconds);
    session.result("voxels_per_second_with_files", total.voxels / total.all_seconds);
    session.result("device", session.device());
    if (card) session.result("precision", std::string(cuda::name(card->precision)));
    else session.result("convolution_share", total.convolution / total.lane_seconds);
  });
}

/// One model after the other; of several, each writes into a folder of its own name.
int run_predict(const Arguments& a, Session& session) {
  const std::vector<std::string> models = a.list("--model");
  if (models.size() < 2) return predict_with_model(a, session);
  std::map<std::string, std::string> taken;
  std::vector<std::pair<std::string, std::string>> runs;  // model, folder
  for (std::string model : models) {
    while (model.size() > 1 && model.back() == '/') model.pop_back();
    const std::string folder = a.get("--out") + "/" + model.substr(model.rfind('/') + 1);
    const auto at = taken.emplace(folder, model);
    check<UsageError>(at.second, at.first->second, " and ", model, " would both write into ", folder, ". Predict with one at a time.");
    runs.emplace_back(model, folder);
  }
  int code = 0;
  std::vector<JsonValue> results;
  for (const auto& [model, folder] : runs) {
    Arguments one = a;
    one.set("--model", model);
    one.set("--out", folder);
    const auto report = [&, name = model, path = folder] {
      Fields fields = {{"model", name}, {"out", path}};
      for (auto& field : session.take_results()) fields.push_back(std::move(field));
      results.emplace_back(fields);
    };
    try {
      code = std::max(code, predict_with_model(one, session));
    } catch (...) {  // the models that are done stay in the closing line
      report();
      session.result("models", results);
      throw;
    }
    report();
  }
  session.result("models", results);
  return code;
}

}  // namespace

Command make_predict() {
  return {.name = "predict",
          .summary = "Finds events in raw movies, or objects in volumes: probability, labels, event table and preview of each.",
          .usage_inputs = "MOVIE.tif|FOLDER...",
          .options = with_stardist(join({{"--model", "DIR", "", "model folder (ours, the published pipeline's or StarDist's) or bundle; given more than once: each model in turn, into a folder of its name below --out", "Model", {}, true},
                           {"--latest", "", "", "use the latest weights instead of the best ones", "Model"},
                           {"--threshold", "P", "", "scores above are events (default: the model's, else 0.5)", "Model"},
                           {"--objective", "segmentation|detection", "segmentation", "which of the model's thresholds to use", "Model"},
                           {"--mode", "reference|fast", "reference", "published windows (8 per voxel), or larger tiles", "Model"},
                           {"--batch-norm", "running|batch", "running", "statistics of the training, or of each batch of 128 windows as published", "Model"},
                           {"--batch-size", "N", "", "tiles per step (default: up to 4, on a card up to 64, as size and memory allow; 128 with batch statistics)", "Model"},
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
                           common::device(), common::precision(), common::memory()})),
          .examples = {{"voxgrad predict movie.tif --model models/first --out results", "one movie"},
                       {"voxgrad predict raw-input --recursive --model models/first --mode fast", "all movies below a folder, faster"},
                       {"voxgrad predict raw-input --model models/first --batch-norm batch", "as the published script ran"},
                       {"voxgrad predict raw-input --model models/first --mode fast --device cuda:1 --precision tf32", "on the second card (docs/cuda_using.md)"},
                       {"voxgrad predict volume.tif --model models/nuclei --prob-threshold 0.5", "objects of a volume with a StarDist model (docs/stardist_program.md)"},
                       {"voxgrad predict volume.tif --model models/nuclei --axes XYZ --scale 1,2,2 --obj", "a volume that lies another way, with small objects; also a mesh"},
                       {"voxgrad predict raw-input --model models/a --model models/b --out results", "two models, into results/a and results/b"}},
          .more = "docs/predict.md",
          .run = run_predict};
}

}  // namespace voxgrad::app
