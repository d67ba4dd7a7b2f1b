// SPDX-License-Identifier: BSD-3-Clause
// voxgrad prior: the share of positive voxels in movies of which only some events were annotated, from a network's scores.

#include <fmt/format.h>

#include "commands.hpp"
#include "common/model_folder.hpp"
#include "common/movie_scores.hpp"
#include "common/predictor.hpp"
#include "voxgrad/core/parallel.hpp"
#include "voxgrad/data/hdf5_dataset.hpp"
#include "voxgrad/pu/prior.hpp"

namespace voxgrad::app {
namespace {

void score_movie(models::UNet3d& net, const data::Hdf5Fold& fold, const data::MovieEntry& movie, const PredictOptions& options,
                 MovieScores& into, Session& session) {
  const PredictPlan plan = plan_prediction(net, movie.extent, options);
  auto progress = session.stage("predict movie " + movie.name, plan.tiles.size(), "tiles");
  std::vector<int32_t> labels(size_t(movie.extent[1] * movie.extent[2]));
  predict_movie(net, plan, options, [&](int64_t t, float* out) { fold.read_input(movie, t, 1, out); },
                [&](int64_t t, const float* scores) {
                  fold.read_label_ids(movie, t, 1, labels.data());
                  into.add_frame(fold.file().path() + ": " + movie.group, t, movie.extent, scores, labels.data());
                },
                [&](int64_t done) {
                  session.check_stop();
                  progress->update(done);
                });
  progress->finish();
  into.end_movie();
}

/// The numbers, for people and as results.
void report(const MovieScores& m, const TrainConfig& config, Session& session) {
  const pu::ScoreTable table = m.all().table();
  const double events = double(m.events().size()), voxels_per_event = std::max(1.0, table.positive / events);
  session.print(fmt::format("{} movies, {} annotated events, labelled share {:.6g}: the prior is at least that", m.movies(), m.events().size(), table.alpha()));
  const MoviePrior e = estimate_prior(m);
  session.print(fmt::format("best bin: prior {:.6g}, 95 % from {:.6g} to {:.6g}, upper bound {:.6g} (among unlabeled voxels {:.6g}; read at score {:.4g})",
                            e.prior, e.low, e.high, e.upper, e.unlabeled, e.threshold));
  session.result("labelled_share", e.labelled);
  session.result("prior", e.prior);
  session.result("prior_low", e.low);
  session.result("prior_high", e.high);
  session.result("prior_unlabeled", e.unlabeled);
  try {
    const pu::Tice t = pu::tice(table, voxels_per_event);
    session.print(fmt::format("TIcE: prior at most {:.6g} (at least {:.3g} of the positives are labelled)", t.prior, t.c));
    session.result("prior_tice", t.prior);
  } catch (const UsageError& error) {
    session.note(text("no estimate by TIcE: ", error.what()));
  }
  if (m.all().deviation() < 1e-3) session.note("the network says the same everywhere: these numbers mean nothing.");
  if (const double used = config.training.pu.prior; used > 0 && (e.prior < used / 2 || e.prior > used * 2))
    session.note(fmt::format("the model was trained with the prior {:.6g}, which is not within a factor of two.", used));
}

int run_prior(const Arguments& a, Session& session) {
  const ModelFolder folder = ModelFolder::existing(a.get("--model"));
  TrainConfig config = train_config(folder.config());
  if (a.given("--valid-fold")) config.training.valid_folds = a.list("--valid-fold");
  const std::string dataset = a.inputs().empty() ? config.dataset : a.inputs()[0];
  check<UsageError>(!dataset.empty(), "no data set. Name the HDF5 file with the validation movies.");
  const std::shared_ptr<const Card> card = chosen_card(a, session);
  set_threads(session.threads());
  if (session.dry_run()) {
    session.print(text("would estimate the prior of ", dataset, " with ", folder.path(), " (nothing is ever written)"));
    return 0;
  }
  const auto net = folder.network(a.flag("--latest"));
  PredictOptions options;
  options.fast = a.choice("--mode") == "fast";
  options.window = 2 * config.training.patch_size;
  options.memory = session.memory_limit();
  if (card) options.card = std::make_shared<CardInference>(card, *net);
  session.note("scores are computed by " + where_text(card.get(), threads()));
  MovieScores scores(config.training.pu.labels == "codes");
  for (const std::string& name : config.training.valid_folds) {
    const data::Hdf5Fold fold(dataset, name);
    for (const data::MovieEntry& movie : fold.movies()) {
      check<FileError>(!movie.crops_only, dataset, ": ", movie.group, " holds crops only, which say nothing about the share of positives in a movie; ",
                       "whole movies are needed.");
      score_movie(*net, fold, movie, options, scores, session);
    }
  }
  check<FileError>(scores.events().size() > 0, dataset, ": no validation movie has a labelled voxel: there is nothing to compare with.");
  report(scores, config, session);
  return 0;
}

}  // namespace

Command make_prior() {
  return {.name = "prior",
          .summary = "Estimates which share of voxels is positive where only some events were annotated.",
          .usage_inputs = "[DATA.h5]",
          .options = join({{"--model", "DIR", "", "model folder", "Model"},
                           {"--latest", "", "", "use the latest weights instead of the best ones", "Model"},
                           {"--valid-fold", "NAME", "", "group with the held-out movies (default: the model's)", "Data", {}, true},
                           {"--mode", "reference|fast", "reference", "published windows, or larger tiles", "Model"}},
                          {common::dry_run(), common::threads(), common::device(), common::precision(), common::memory()}),
          .examples = {{"voxgrad prior data.h5 --model models/first", "from the validation movies"}},
          .more = "docs/pu.md",
          .run = run_prior};
}

}  // namespace voxgrad::app
