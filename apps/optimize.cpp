// SPDX-License-Identifier: BSD-3-Clause
// voxgrad optimize: the thresholds above which a score counts as an event, from validation data.

#include <ctime>

#include <fmt/format.h>

#include "commands.hpp"
#include "common/files.hpp"
#include "common/model_folder.hpp"
#include "common/predictor.hpp"
#include "common/stardist_commands.hpp"
#include "common/stardist_model.hpp"
#include "common/training_data.hpp"
#include "voxgrad/autograd/record.hpp"
#include "voxgrad/core/parallel.hpp"
#include "voxgrad/data/hdf5_dataset.hpp"
#include "voxgrad/data/loader.hpp"
#include "voxgrad/metrics/detection_threshold.hpp"
#include "voxgrad/metrics/pr_threshold.hpp"

namespace voxgrad::app {
namespace {

std::string today() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  return fmt::format("{:04}-{:02}-{:02}", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday);
}

/// Mean over validation crops of the threshold nearest to perfect precision and recall (centre patches).
double segmentation_threshold(models::UNet3d& net, const TrainConfig& config, const std::string& dataset, Session& session) {
  const auto crops = open_validation_crops(dataset, config, int64_t(1) << 30);
  const int64_t p = config.training.patch_size;
  data::LoaderOptions o;
  o.batch = config.training.inference_batch_size;
  o.patch = {p, p, p};
  o.shuffle = o.augment = false;
  data::Loader loader(crops, o);
  data::Batch batch;
  metrics::SegmentationThreshold threshold;
  NoGrad no_grad;
  auto progress = session.stage("segmentation threshold", crops->size(), "crops");
  const int64_t batches = loader.batches_per_epoch(), voxels = p * p * p;
  for (int64_t b = 0; b < batches; ++b) {
    session.check_stop();
    loader.next(batch);
    const Tensor scores = net(Tensor::from(batch.input, {batch.count, p, p, p, 1}));
    for (int64_t i = 0; i < batch.count; ++i)
      threshold.add_crop(scores.span<float>().data() + i * voxels, batch.target.data() + i * voxels, voxels);
    progress->update(threshold.crops());
  }
  progress->finish();
  check<FileError>(threshold.used() > 0, dataset, ": ", threshold.crops(), " of ", threshold.crops(),
                   " validation crops contain no event: no threshold can be chosen. Check the label data with: voxgrad inspect ", dataset);
  session.note(fmt::format("{} of {} validation crops hold an event", threshold.used(), threshold.crops()));
  return threshold.value();
}

struct MovieResult {
  std::string name;
  float threshold;
  metrics::ThresholdScore best;
  std::vector<metrics::ThresholdScore> table;
};

MovieResult score_movie(models::UNet3d& net, const data::Hdf5Fold& fold, const data::MovieEntry& movie, const PredictOptions& options,
                        Session& session) {
  data::Volume<float> scores(movie.extent);
  const PredictPlan plan = plan_prediction(net, movie.extent, options);
  {
    auto progress = session.stage("predict movie " + movie.name, plan.tiles.size(), "tiles");
    predict_movie(net, plan, options, [&](int64_t t, float* out) { fold.read_input(movie, t, 1, out); },
                  [&](int64_t t, const float* p) { std::copy_n(p, scores.frame_size(), scores.frame(t)); },
                  [&](int64_t done) {
                    session.check_stop();
                    progress->update(done);
                  });
  }
  data::Volume<int32_t> truth(movie.extent);
  fold.read_label_ids(movie, 0, movie.extent[0], truth.voxels.data());
  for (int32_t& v : truth.voxels) v = v != 0;
  MovieResult r{movie.name, 0, {}, metrics::score_thresholds(scores, metrics::truth_centroids(truth))};
  r.threshold = metrics::best_detection_threshold(r.table);
  for (const auto& row : r.table)
    if (row.threshold == r.threshold) r.best = row;
  return r;
}

/// Mean over whole validation movies of the highest threshold with the best F1.
double detection_threshold(models::UNet3d& net, const ModelFolder& folder, const TrainConfig& config, const std::string& dataset,
                           bool skip_empty, PredictOptions options, Session& session) {
  std::string curves = "movie,threshold,predicted,tp,fp,fn,f1\n";
  double sum = 0;
  int64_t used = 0;
  for (const std::string& name : config.training.valid_folds) {
    const data::Hdf5Fold fold(dataset, name);
    for (const data::MovieEntry& movie : fold.movies()) {
      check<FileError>(!movie.crops_only, dataset, ": ", movie.group, " holds crops only; the detection threshold needs whole movies. ",
                       "Use --objective segmentation.");
      const MovieResult r = score_movie(net, fold, movie, options, session);
      for (const auto& row : r.table)
        curves += fmt::format("{},{:.2f},{},{},{},{},{:.6f}\n", r.name, row.threshold, row.predicted, row.scores.tp, row.scores.fp,
                              row.scores.fn, row.f1);
      const bool empty = r.best.scores.tp + r.best.scores.fn == 0;
      session.print(fmt::format("movie {}: threshold {:.2f}, F1 {:.3f}{}", r.name, r.threshold, r.best.f1,
                                empty ? (skip_empty ? " (no truth, left out)" : " (no truth)") : ""));
      if (empty && skip_empty) continue;
      sum += double(r.threshold);
      ++used;
    }
  }
  check<FileError>(used > 0, dataset, ": no validation movie holds an event: no detection threshold can be chosen.");
  make_folders(folder.path() + "/quality");
  write_file(folder.path() + "/quality/detection-thresholds.csv", curves);
  return sum / double(used);
}

int run_optimize(const Arguments& a, Session& session) {
  if (is_stardist_folder(a.get("--model"))) return optimize_stardist(a, session);
  for (const char* option : {"--repetitions", "--n-samples", "--seed"})
    check<UsageError>(!a.given(option), option, " goes with StarDist models; ", a.get("--model"), " is none.");
  const ModelFolder folder = ModelFolder::existing(a.get("--model"));
  TrainConfig config = train_config(folder.config());
  if (a.given("--valid-fold")) config.training.valid_folds = a.list("--valid-fold");
  const std::string dataset = a.inputs().empty() ? config.dataset : a.inputs()[0];
  check<UsageError>(!dataset.empty(), "no data set. Name the HDF5 file with the validation data.");
  const std::string objective = a.choice("--objective");
  set_threads(session.threads());
  if (session.dry_run()) {
    session.print(text("would choose the ", objective, " threshold of ", folder.path(), " on ", dataset, " (nothing was written)"));
    return 0;
  }
  const auto net = folder.network(a.flag("--latest"));
  Thresholds chosen;
  chosen.data = dataset;
  chosen.date = today();
  if (objective != "detection") {
    chosen.segmentation = segmentation_threshold(*net, config, dataset, session);
    chosen.method = "segmentation: nearest to precision = recall = 1, mean over crops";
    session.print(fmt::format("segmentation threshold {:.6f}", *chosen.segmentation));
    session.result("segmentation", *chosen.segmentation);
  }
  if (objective != "segmentation") {
    PredictOptions options;
    options.fast = a.choice("--mode") == "fast";
    options.window = 2 * config.training.patch_size;
    options.memory = session.memory_limit();
    chosen.detection = detection_threshold(*net, folder, config, dataset, a.flag("--skip-empty"), options, session);
    chosen.method += text(chosen.method.empty() ? "" : "; ", "detection: highest of 100 with the best F1, mean over movies");
    session.print(fmt::format("detection threshold {:.6f}", *chosen.detection));
    session.result("detection", *chosen.detection);
  }
  folder.save_thresholds(chosen);
  session.print(folder.path() + "/thresholds.json");
  return 0;
}

}  // namespace

Command make_optimize() {
  return {.name = "optimize",
          .summary = "Chooses a model's thresholds from validation data.",
          .usage_inputs = "[DATA.h5]",
          .options = join({{"--model", "DIR", "", "model folder", "Model"},
                           {"--latest", "", "", "use the latest weights instead of the best ones", "Model"},
                           {"--objective", "segmentation|detection|both", "segmentation",
                            "segmentation: on validation crops; detection: on whole validation movies", "Data"},
                           {"--valid-fold", "NAME", "", "group with the validation data (default: the model's)", "Data", {}, true},
                           {"--repetitions", "N", "", "StarDist: average of that many draws of validation crops (default 5; 1 when all are taken)", "Data"},
                           {"--n-samples", "N", "", "StarDist: crops per draw (default 300 of an HDF5 file, all volumes of a folder)", "Data"},
                           {"--skip-empty", "", "", "detection: leave out movies without truth (they count as 1.00 otherwise)", "Data"},
                           {"--mode", "reference|fast", "reference", "detection: published windows, or larger tiles", "Model"}},
                          {common::dry_run(), common::seed(), common::threads(), common::device(), common::memory()}),
          .examples = {{"voxgrad optimize data.h5 --model models/first", "the segmentation threshold"},
                       {"voxgrad optimize volumes --model models/nuclei", "probability and overlap thresholds of a StarDist model"},
                       {"voxgrad optimize data.h5 --model models/first --objective both", "both thresholds"}},
          .more = "docs/thresholds.md",
          .run = run_optimize};
}

}  // namespace voxgrad::app
