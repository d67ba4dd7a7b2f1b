// SPDX-License-Identifier: BSD-3-Clause
// voxgrad optimize: the thresholds above which a score counts as an event, from validation data.

#include <ctime>

#include <fmt/format.h>

#include "commands.hpp"
#include "common/files.hpp"
#include "common/model_bundle.hpp"
#include "common/model_folder.hpp"
#include "common/predictor.hpp"
#include "common/pu_report.hpp"
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

/// Scores and 0/1 marks of one patch, without the voxels that are ignored (class 255).
void add_counted(metrics::SegmentationThreshold& threshold, const float* scores, const float* classes, int64_t voxels) {
  std::vector<float> s, t;
  for (int64_t i = 0; i < voxels; ++i) {
    if (classes[i] == 255) continue;
    s.push_back(scores[i]);
    t.push_back(classes[i] == 1 ? 1.0f : 0.0f);
  }
  threshold.add_crop(s.data(), t.data(), int64_t(s.size()));
}

/// Mean over validation crops of the threshold nearest to perfect precision and recall (centre patches).
double segmentation_threshold(models::UNet3d& net, CardInference* card, const TrainConfig& config, const std::string& dataset, Session& session) {
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
    const Tensor scores = probabilities(net, card, Tensor::from(batch.input, {batch.count, p, p, p, 1}));
    for (int64_t i = 0; i < batch.count; ++i)
      add_counted(threshold, scores.span<float>().data() + i * voxels, batch.target.data() + i * voxels, voxels);
    progress->update(threshold.crops());
  }
  progress->finish();
  check<FileError>(threshold.used() > 0, dataset, ": ", threshold.crops(), " of ", threshold.crops(),
                   " validation crops contain no event: no threshold can be chosen. Check the label data with: voxgrad inspect ", dataset);
  session.note(fmt::format("{} of {} validation crops hold an event", threshold.used(), threshold.crops()));
  return threshold.value();
}

/// Scores of all voxels of the whole validation movies, with their labels.
MovieScores score_movies(models::UNet3d& net, const TrainConfig& config, const std::string& dataset, const PredictOptions& options,
                         Session& session) {
  MovieScores scores(config.training.pu.labels == "codes");
  for (const std::string& name : config.training.valid_folds) {
    const data::Hdf5Fold fold(dataset, name);
    for (const data::MovieEntry& movie : fold.movies()) {
      check<FileError>(!movie.crops_only, dataset, ": ", movie.group, " holds crops only, whose share of positives is not that of a movie; whole ",
                       "movies are needed. Use --criterion reference.");
      std::vector<int32_t> labels(size_t(movie.extent[1] * movie.extent[2]));
      const PredictPlan plan = plan_prediction(net, movie.extent, options);
      auto progress = session.stage("predict movie " + movie.name, plan.tiles.size(), "tiles");
      predict_movie(net, plan, options, [&](int64_t t, float* out) { fold.read_input(movie, t, 1, out); },
                    [&](int64_t t, const float* p) {
                      fold.read_label_ids(movie, t, 1, labels.data());
                      scores.add_frame(dataset + ": " + movie.group, t, movie.extent, p, labels.data());
                    },
                    [&](int64_t done) {
                      session.check_stop();
                      progress->update(done);
                    });
      progress->finish();
      scores.end_movie();
    }
  }
  check<FileError>(scores.events().size() > 0, dataset, ": no validation movie has a labelled voxel: no threshold can be chosen.");
  return scores;
}

/// Share of the labelled voxels of event crops (at most 128, centre patches) that are found.
double crop_recall(models::UNet3d& net, CardInference* card, const data::CropSource& crops, const TrainConfig& config, double threshold, Session& session) {
  const int64_t p = config.training.patch_size, voxels = p * p * p, step = std::max<int64_t>(1, crops.size() / 128);
  double found = 0, labelled = 0;
  std::vector<float> input(static_cast<size_t>(voxels)), target(input.size());
  NoGrad no_grad;
  for (int64_t i = 0; i < crops.size(); i += step) {
    session.check_stop();
    const auto crop = crops.crop(i);
    const data::PatchDraw centre = data::centre_patch(crops.crop_extent(), {p, p, p});
    data::cut_patch(crop->input.data(), crops.crop_extent(), centre, {p, p, p}, input.data());
    data::cut_patch(crop->target.data(), crops.crop_extent(), centre, {p, p, p}, target.data());
    const Tensor scores = probabilities(net, card, Tensor::from(input, {1, p, p, p, 1}));
    for (size_t v = 0; v < target.size(); ++v)
      if (target[v] == 1) ++labelled, found += double(scores.span<float>()[v]) >= threshold;
  }
  return labelled > 0 ? found / labelled : 0;
}

/// The table of all criteria, and the threshold of the one that was asked for.
double chosen_without_negatives(models::UNet3d& net, const ModelFolder& folder, const TrainConfig& config, const std::string& dataset,
                                const std::string& criterion, std::optional<double> prior, double reference, const PredictOptions& options,
                                Session& session) {
  const PuReport report = pu_report(score_movies(net, config, dataset, options, session), prior, {{"reference", reference}});
  print_report(report, session);
  for (const std::string& line : training_signs(folder.path())) session.print(line);
  const PuRow* row = report.find(criterion);
  check(row != nullptr, "no threshold by quantile: even the highest score is that of more than the share ", report.prior, " of all voxels.");
  const TrainingData data = open_training_data(dataset, config, 0);
  const double train = crop_recall(net, options.card.get(), *data.train, config, row->at.threshold, session),
               valid = crop_recall(net, options.card.get(), *data.valid, config, row->at.threshold, session);
  session.print(fmt::format("recall of labelled voxels in crops: training {:.4f}, validation {:.4f}", train, valid));
  if (train - valid > 0.2) session.warn("training events are found much more often than held-out ones: they were learnt by heart.");
  Fields fields = report_fields(report);
  fields.emplace_back("recall-training-crops", train);
  fields.emplace_back("recall-validation-crops", valid);
  session.result("pu", fields);
  make_folders(folder.path() + "/quality");
  write_file(folder.path() + "/quality/pu-thresholds.csv", report_csv(report));
  return row->at.threshold;
}

/// --prior, or that of the model; nothing when it is to be estimated.
std::optional<double> asked_prior(const Arguments& a, const TrainConfig& config) {
  if (!a.given("--prior")) {
    check<UsageError>(a.choice("--criterion") == "lee_liu" || config.training.pu.prior > 0 || config.training.pu.prior_auto,
                      "--criterion ", a.get("--criterion"), " needs the share of positive voxels: --prior P, or --prior auto to estimate it.");
    if (config.training.pu.prior > 0) return config.training.pu.prior;
    return std::nullopt;
  }
  if (a.get("--prior") == "auto") return std::nullopt;
  const auto prior = parse_real(a.get("--prior"));
  check<UsageError>(prior && *prior > 0 && *prior < 1, "--prior is '", a.get("--prior"), "' (expected a number above 0 and below 1, or auto).");
  return *prior;
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
  check<UsageError>(!OpenedModel(a.get("--model")).bundle(), a.get("--model"), ": is a bundle, which keeps no thresholds. Unpack it: voxgrad convert ",
                    a.get("--model"), " --export voxgrad --out DIR");
  if (is_stardist_folder(a.get("--model"))) return optimize_stardist(a, session);
  for (const char* option : {"--repetitions", "--n-samples", "--seed"})
    check<UsageError>(!a.given(option), option, " goes with StarDist models; ", a.get("--model"), " is none.");
  const ModelFolder folder = ModelFolder::existing(a.get("--model"));
  TrainConfig config = train_config(folder.config());
  if (a.given("--valid-fold")) config.training.valid_folds = a.list("--valid-fold");
  const std::string dataset = a.inputs().empty() ? config.dataset : a.inputs()[0];
  check<UsageError>(!dataset.empty(), "no data set. Name the HDF5 file with the validation data.");
  const std::string objective = a.choice("--objective"), criterion = a.choice("--criterion");
  check<UsageError>(criterion != "reference" || !a.given("--prior"), "--prior goes with --criterion pu_f1, lee_liu or quantile.");
  check<UsageError>(criterion == "reference" || objective != "detection", "--criterion ", criterion,
                    " chooses the segmentation threshold; --objective detection counts events against the truth.");
  const std::optional<double> prior = criterion == "reference" ? std::nullopt : asked_prior(a, config);
  const std::shared_ptr<const Card> card = chosen_card(a, session);
  set_threads(session.threads());
  if (session.dry_run()) {
    session.print(text("would choose the ", objective, " threshold of ", folder.path(), " on ", dataset, " (nothing was written)"));
    return 0;
  }
  const auto net = folder.network(a.flag("--latest"));
  PredictOptions options;
  options.fast = a.choice("--mode") == "fast";
  options.window = 2 * config.training.patch_size;
  options.memory = session.memory_limit();
  if (card) options.card = std::make_shared<CardInference>(card, *net);
  session.note("scores are computed by " + where_text(card.get(), threads()));
  Thresholds chosen;
  chosen.data = dataset;
  chosen.date = today();
  if (objective != "detection") {
    chosen.segmentation = segmentation_threshold(*net, options.card.get(), config, dataset, session);
    chosen.method = "segmentation: nearest to precision = recall = 1, mean over crops";
    if (criterion != "reference") {
      session.print(fmt::format("reference threshold {:.6f}", *chosen.segmentation));
      chosen.segmentation = chosen_without_negatives(*net, folder, config, dataset, criterion, prior, *chosen.segmentation, options, session);
      chosen.method = "segmentation: " + criterion + " from labelled and unlabeled voxels of whole movies";
    }
    session.print(fmt::format("segmentation threshold {:.6f}", *chosen.segmentation));
    session.result("segmentation", *chosen.segmentation);
  }
  if (objective != "segmentation") {
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
                           {"--criterion", "reference|pu_f1|lee_liu|quantile", "reference",
                            "what the segmentation threshold is chosen by: the published rule on crops; or on whole movies, without negatives: highest F1, highest recall^2 / rate, or as many voxels as the prior says", "Data"},
                           {"--prior", "P|auto", "", "share of voxels that are positive, for --criterion (default: the model's); auto: estimated from the same scores", "Data"},
                           {"--valid-fold", "NAME", "", "group with the validation data (default: the model's)", "Data", {}, true},
                           {"--repetitions", "N", "", "StarDist: average of that many draws of validation crops (default 5; 1 when all are taken)", "Data"},
                           {"--n-samples", "N", "", "StarDist: crops per draw (default 300 of an HDF5 file, all volumes of a folder)", "Data"},
                           {"--skip-empty", "", "", "detection: leave out movies without truth (they count as 1.00 otherwise)", "Data"},
                           {"--mode", "reference|fast", "reference", "whole movies: published windows, or larger tiles", "Model"}},
                          {common::dry_run(), common::seed(), common::threads(), common::device(), common::precision(), common::memory()}),
          .examples = {{"voxgrad optimize data.h5 --model models/first", "the segmentation threshold"},
                       {"voxgrad optimize volumes --model models/nuclei", "probability and overlap thresholds of a StarDist model"},
                       {"voxgrad optimize data.h5 --model models/first --objective both", "both thresholds"},
                       {"voxgrad optimize data.h5 --model models/pu --criterion pu_f1 --prior 0.01", "where only some events are annotated"}},
          .more = "docs/thresholds.md",
          .run = run_optimize};
}

}  // namespace voxgrad::app
