// SPDX-License-Identifier: BSD-3-Clause
// voxgrad demo: the whole job on simulated movies, in about two minutes on two cores.

#include <sys/stat.h>

#include <fmt/format.h>

#include "commands.hpp"
#include "common/baselines.hpp"
#include "common/evaluation.hpp"
#include "common/files.hpp"
#include "common/simulated_set.hpp"
#include "voxgrad/core/parallel.hpp"
#include "voxgrad/data/hdf5_dataset.hpp"
#include "voxgrad/data/preprocess.hpp"
#include "voxgrad/io/tiff.hpp"

namespace voxgrad::app {
namespace {

/// Runs a subcommand as a user would type it, and says what that is.
void run_step(const Command& command, const std::vector<std::pair<std::string, std::string>>& options,
              const std::vector<std::string>& inputs, Session& session) {
  Arguments arguments(command.options);
  std::string line = "voxgrad " + command.name;
  for (const std::string& input : inputs) {
    arguments.add_input(input);
    line += " " + input;
  }
  for (const auto& [name, value] : options) {
    arguments.set(name, value);
    line += " " + name + (value.empty() ? "" : " " + value);
  }
  session.note("$ " + line);
  const int status = command.run(arguments, session);
  check(status == 0, "the step '", line, "' failed.");
}

std::vector<JudgedMovie> validation_movies(const std::string& dataset) {
  const data::Hdf5Fold fold(dataset, "valid");
  std::vector<JudgedMovie> movies;
  for (const data::MovieEntry& m : fold.movies()) {
    JudgedMovie j{data::Volume<float>(m.extent), {}};
    fold.read_input(m, 0, m.extent[0], j.movie.voxels.data());
    for (const data::Event& e : m.events) {
      const data::Extent3 c = e.centre();
      j.truth.push_back({double(c[0]), double(c[1]), double(c[2])});
    }
    movies.push_back(std::move(j));
  }
  return movies;
}

std::vector<JudgedMovie> test_movies(const SimulatedSet& set) {
  std::vector<JudgedMovie> movies;
  for (size_t i = 0; i < set.movies.size(); ++i) {
    io::TiffMovie movie(set.movies[i]);
    JudgedMovie j{data::Volume<float>(movie.extent()), {}};
    movie.read(0, movie.extent()[0], j.movie.voxels.data());
    data::preprocess(j.movie);
    ExpertOptions expert;
    expert.slice_offset = 1;  // ImageJ counts slices from 1
    j.truth = read_expert(set.experts[i], expert).points;
    movies.push_back(std::move(j));
  }
  return movies;
}

std::string score_line(const std::string& name, const metrics::DetectionScores& s) {
  return fmt::format("  {:<44} F1 {:.3f}   precision {:.3f}   recall {:.3f}   ({} hits, {} false, {} missed)", name, s.f1(),
                     s.precision(), s.recall(), s.tp, s.fp, s.fn);
}

int run_demo(const Arguments& a, Session& session) {
  const std::string out = a.get("--out");
  const bool quick = a.flag("--quick");
  struct stat info {};
  check<UsageError>(a.flag("--overwrite") || stat(out.c_str(), &info) != 0, out, " exists already. Choose another --out, or --overwrite.");
  set_threads(session.threads());
  const std::string model = out + "/model", results = out + "/results";

  SimulatedSetPlan plan;
  plan.movie.seed = session.seed().value_or(42);
  plan.movie.extent = quick ? data::Extent3{64, 96, 96} : data::Extent3{128, 160, 160};
  plan.movie.event_rate = quick ? 24 : 6;  // small movies with enough events to choose thresholds from
  plan.train = quick ? 2 : 8;
  plan.valid = quick ? 1 : 2;
  plan.test = quick ? 1 : 2;
  session.note(fmt::format("simulating {} training, {} validation and {} test movies of {}x{}x{}", plan.train, plan.valid, plan.test,
                           plan.movie.extent[0], plan.movie.extent[1], plan.movie.extent[2]));
  make_folders(out);
  const SimulatedSet set = write_simulated_set(plan, out + "/simulated", session);

  const std::string steps = quick ? "20" : a.get("--steps");
  run_step(make_train(), {{"--out", model}, {"--steps", steps}, {"--batch-size", "8"}, {"--learning-rate", "0.002"},
                          {"--valid-interval", quick ? "10" : "50"}, {"--overwrite", ""}},
           {set.dataset}, session);
  run_step(make_optimize(), {{"--model", model}, {"--objective", "both"}, {"--mode", "fast"}}, {set.dataset}, session);
  run_step(make_predict(), {{"--model", model}, {"--out", results}, {"--mode", "fast"}, {"--objective", "detection"}, {"--overwrite", ""}},
           set.movies, session);
  run_step(make_evaluate(), {{"--expert", out + "/simulated/testset/manual-expert"}, {"--truth", out + "/simulated/testset/truth"},
                             {"--slice-offset", "1"}, {"--out", out + "/evaluation"}, {"--overwrite", ""}},
           {results}, session);
  run_step(make_report(), {}, {model, results}, session);

  metrics::DetectionScores ours;
  for (size_t i = 0; i < set.movies.size(); ++i) {
    const std::string stem = set.movies[i].substr(set.movies[i].find_last_of('/') + 1);
    MovieFiles files;
    files.name = stem.substr(0, stem.find_last_of('.'));
    files.events = results + "/" + files.name + "_events.csv";
    files.expert = set.experts[i];
    EvaluationOptions options;
    options.slice_offset = 1;
    const MovieEvaluation e = evaluate_movie(files, options);
    if (!e.matching) continue;
    ours.tp += e.matching->scores.tp;
    ours.fp += e.matching->scores.fp;
    ours.fn += e.matching->scores.fn;
  }
  const auto validation = validation_movies(set.dataset), test = test_movies(set);
  const double level = tune<IntensityThreshold>(validation), k = tune<IntensityRule>(validation);
  session.print("");
  session.print(fmt::format("Detection of {} simulated events in {} test movies (parameters chosen on the validation movies):",
                            ours.tp + ours.fn, set.movies.size()));
  session.print(score_line("3-D U-Net, " + steps + " steps", ours));
  session.print(score_line(fmt::format("{} ({:.2f})", IntensityThreshold::name, level), judge<IntensityThreshold>(test, level)));
  session.print(score_line(fmt::format("{} ({:.1f} sd)", IntensityRule::name, k), judge<IntensityRule>(test, k)));
  session.print("");
  session.print("Reports:  " + model + "/report.html, " + results + "/report.html, " + out + "/evaluation/report.html");
  session.print("Pictures: " + results + "/*_preview.png   Tables: " + results + "/*_events.csv, " + out + "/evaluation/metrics.csv");
  session.result("f1", ours.f1());
  session.result("f1_intensity_threshold", judge<IntensityThreshold>(test, level).f1());
  session.result("results", results);
  return 0;
}

}  // namespace

Command make_demo() {
  return {.name = "demo",
          .summary = "Simulates movies, trains on them, chooses thresholds, predicts and evaluates: the whole job in about two minutes.",
          .options = join({{"--quick", "", "", "a few seconds only, to see that everything works; the model finds little", "Training"},
                           {"--steps", "N", "300", "training steps", "Training"}},
                          {common::out("voxgrad-out/demo"), common::overwrite(), common::seed(), common::threads(), common::memory()}),
          .examples = {{"voxgrad demo", "everything, into voxgrad-out/demo"}, {"voxgrad demo --quick --out /tmp/demo", "a smoke test"}},
          .more = "README.md",
          .run = run_demo};
}

}  // namespace voxgrad::app
