// SPDX-License-Identifier: BSD-3-Clause
// voxgrad evaluate: predictions against experts and true masks, per movie and in total.

#include <filesystem>

#include "commands.hpp"
#include "common/evaluation_tables.hpp"
#include "common/instance_evaluation.hpp"
#include "common/pu_evaluation.hpp"
#include "common/report.hpp"

namespace voxgrad::app {
namespace {

metrics::Extent3 parse_size(const std::string& value) {
  metrics::Extent3 size{};
  size_t axis = 0;
  std::string rest = value + ",";
  for (size_t comma; (comma = rest.find(',')) != std::string::npos; rest = rest.substr(comma + 1)) {
    const auto n = parse_integer(rest.substr(0, comma));
    check<UsageError>(n && *n >= 1 && axis < 3, "--min-size is '", value,
                      "' (expected frames,rows,columns such as 2,3,3)");
    size[axis++] = *n;
  }
  check<UsageError>(axis == 3, "--min-size is '", value, "' (expected frames,rows,columns such as 2,3,3)");
  return size;
}

std::optional<double> threshold_of(const Arguments& a) {
  if (!a.given("--threshold")) return std::nullopt;
  return a.real("--threshold", 0, 1);
}

EvaluationOptions evaluation_options(const Arguments& a) {
  EvaluationOptions o;
  const std::string from = a.choice("--from");
  o.from = from == "events"        ? PredictionKind::events
           : from == "labels"      ? PredictionKind::labels
           : from == "probability" ? PredictionKind::probability
                                   : PredictionKind::automatic;
  if (const auto threshold = threshold_of(a)) o.threshold = float(*threshold);
  check<UsageError>(o.from != PredictionKind::probability || o.threshold,
                    "--from probability needs --threshold.");
  check<UsageError>(
      !o.threshold || o.from == PredictionKind::probability || o.from == PredictionKind::automatic,
      "--threshold applies to probabilities, not to --from ", from, ".");
  o.matcher = metrics::matcher_named(a.choice("--matcher"));
  o.distance = a.real("--distance", 0, 1e6);
  o.min_size = parse_size(a.get("--min-size"));
  o.micron = a.choice("--expert-unit") == "micron";
  if (a.given("--pixel-size")) o.pixel_y_um = o.pixel_x_um = a.real("--pixel-size", 1e-6, 1e6);
  o.slice_offset = a.integer("--slice-offset", -1000000, 1000000);
  o.codes = a.choice("--labels") == "codes";
  check<UsageError>(!o.codes || a.given("--truth"), "--labels codes says what the numbers of --truth mean; give --truth.");
  return o;
}

/// What metrics.json says about how movies were compared.
Fields settings_of(const Arguments& a) {
  const auto threshold = threshold_of(a);
  return {{"matcher", a.get("--matcher")},
          {"distance", a.real("--distance", 0, 1e6)},
          {"min-size", a.get("--min-size")},
          {"from", a.get("--from")},
          {"threshold", threshold ? JsonValue(*threshold) : JsonValue::null()},
          {"expert-unit", a.get("--expert-unit")},
          {"slice-offset", a.integer("--slice-offset", -1000000, 1000000)}};
}

std::vector<MovieFiles> gather_files(const Arguments& a, Session& session) {
  check<UsageError>(!a.inputs().empty(),
                    "no predictions. Name the folder that 'voxgrad predict' wrote, or its files.");
  check<UsageError>(a.given("--expert") || a.given("--truth"),
                    "nothing to compare with. Give --expert, --truth or both.");
  std::vector<MovieFiles> movies =
      group_predictions(expand_inputs(a.inputs(), a.flag("--recursive"), is_prediction_name));
  const std::string expert = a.get("--expert"), truth = a.get("--truth"), raw = a.get("--movies");
  for (const char* option : {"--expert", "--truth", "--movies"})
    check<UsageError>(movies.size() == 1 || !std::filesystem::is_regular_file(a.get(option)), option, " ",
                      a.get(option), " is one file, but there are ", movies.size(),
                      " movies. Give a folder.");
  for (MovieFiles& m : movies) {
    m.expert = find_companion(expert, m.name, expert_patterns);
    m.truth = find_companion(truth, m.name, truth_patterns);
    m.movie = find_companion(raw, m.name, movie_patterns);
    if (!expert.empty() && m.expert.empty())
      session.warn(text("no expert file for movie ", m.name, " in ", expert,
                        " (looked for manual_NAME.csv, NAME.csv and the like)",
                        m.truth.empty() ? "; its scores stay empty." : "; its true mask is used."));
    if (!truth.empty() && m.truth.empty())
      session.warn(text("no true mask for movie ", m.name, " in ", truth, "; its Dice stays empty."));
    if (!raw.empty() && m.movie.empty())
      session.warn(text("no raw movie ", m.name, " in ", raw, "; plain centroids are used."));
  }
  return movies;
}

int run_evaluate(const Arguments& a, Session& session) {
  if (a.flag("--instances")) return evaluate_instances(a, session);
  for (const char* option : {"--iou", "--criterion", "--classes", "--by-image"})
    check<UsageError>(!a.given(option), option, " goes with --instances, which compares whole objects.");
  const EvaluationOptions options = evaluation_options(a);
  const std::vector<MovieFiles> files = gather_files(a, session);
  const std::string out = a.get("--out");
  std::vector<std::string> names = {"/metrics.csv", "/metrics.json", "/matches.csv", "/report.html"};
  if (a.given("--prior")) names.push_back("/pu.csv");
  for (const std::string& name : names) refuse_existing(out + name, a.flag("--overwrite"));
  check<UsageError>(a.given("--prior") || !a.given("--model"), "--model goes with --prior.");
  std::optional<PuReport> report;  // first: what cannot be measured is said before the long part
  if (a.given("--prior")) report = report_without_negatives(files, a.get("--prior"), threshold_of(a), options.codes, session);

  std::vector<MovieEvaluation> movies;
  std::vector<std::string> failed;
  EvaluationTotals totals;
  auto progress = session.stage("evaluate", int64_t(files.size()), "movies");
  for (const MovieFiles& f : files) {
    try {
      movies.push_back(evaluate_movie(f, options, [&](int64_t) { session.check_stop(); }));
    } catch (const UsageError&) {
      throw;
    } catch (const Error& e) {
      if (files.size() == 1) throw;
      failed.push_back(e.what());
      session.note(text("failed: ", e.what()));
    }
    progress->update(int64_t(movies.size() + failed.size()));
  }
  progress->finish();
  for (const MovieEvaluation& m : movies) {
    for (const std::string& w : m.warnings) session.warn(w);
    if (m.ignored > 0) session.note(text("movie ", m.name, ": ", m.ignored, " predicted events are in ignored voxels and left out"));
    totals.add(m);
  }
  check<FileError>(totals.scored + totals.segmented > 0, "no movie could be compared: ", movies.size(),
                   " without an expert file or true mask, ", failed.size(), " failed. Nothing is written.");

  make_folders(out);
  write_file(out + "/metrics.csv", metrics_csv(movies, totals));
  write_file(out + "/metrics.json", metrics_json(movies, totals, settings_of(a)));
  write_file(out + "/matches.csv", matches_csv(movies));
  if (report) write_file(out + "/pu.csv", report_csv(*report));
  write_report(out);
  print_table(session, movies, totals);
  if (report) {
    print_without_negatives(*report, totals.scored > 0 ? &totals.detection : nullptr, a.get("--model"), session);
    session.result("pu", report_fields(*report));
  }
  for (const std::string& name : names) session.print(out + name);
  session.result("movies", int64_t(movies.size()));
  session.result("failed", int64_t(failed.size()));
  session.result("mean", totals.mean());
  session.result("total", totals.total());
  session.result("out", out);
  if (failed.empty()) return 0;
  session.note(text(failed.size(), " of ", files.size(), " movies failed:"));
  for (const std::string& line : failed) session.note("  " + line);
  return 1;
}

}  // namespace

Command make_evaluate() {
  Command command = {
      .name = "evaluate",
      .summary =
          "Compares predictions with experts' marks and true masks: detection and segmentation scores.",
      .usage_inputs = "RESULTS...",
      .options = join(
          {{"--expert", "DIR|FILE", "",
            "experts' tables: ImageJ results with Slice, X, Y (manual_NAME.csv, NAME.csv)", "Data"},
           {"--truth", "DIR|FILE", "", "true masks or labels as TIFF (NAME.tif, NAME_labels.tif)", "Data"},
           {"--movies", "DIR|FILE", "", "raw movies: event positions of labels become intensity-weighted",
            "Data"},
           {"--from", "auto|events|labels|probability", "auto",
            "which predictions; auto: probability with --threshold, else events, else labels", "Data"},
           {"--threshold", "P", "", "for probabilities: score > P is an event", "Data"},
           {"--prior", "P|auto", "",
            "only some events are in --truth: measures without negatives, if the share P of voxels is positive; auto: estimated", "Data"},
           {"--labels", "instances|codes", "instances",
            "numbers of --truth: events, or 0 unlabeled, 1 positive, 2 known negative, 255 ignored", "Data"},
           {"--model", "DIR", "", "with --prior: also what this model's training says", "Data"},
           {"--matcher", "hungarian|nearest", "hungarian", "how predictions and truth are paired", "Data"},
           {"--distance", "D", "6",
            "largest distance of a pair, voxels (a frame counts as a pixel); hungarian < D, nearest <= D",
            "Data"},
           {"--min-size", "T,H,W", "2,3,3",
            "smaller predicted events are dropped (3,3,3 in the published tables)", "Data"},
           {"--expert-unit", "pixel|micron", "pixel", "unit of X and Y in the experts' tables", "Data"},
           {"--pixel-size", "UM", "", "micrometres per pixel (default: what the TIFF says)", "Data"},
           {"--slice-offset", "N", "0", "frame = Slice - N: 0 as published, 1 for ImageJ's count from 1",
            "Data"}},
          {common::recursive(), common::out("voxgrad-out/evaluation"), common::overwrite()}),
      .examples = {{"voxgrad evaluate results/ --expert manual-expert/ --slice-offset 1 --out evaluation/",
                    "events against experts' marks"},
                   {"voxgrad evaluate results/ --truth truth/ --out evaluation/",
                    "detection and Dice against true masks"},
                   {"voxgrad evaluate results/ --truth labelled/ --threshold 0.5 --prior 0.01",
                    "where the truth holds only some of the events"},
                   {"voxgrad evaluate results/ --expert manual-expert/ --threshold 0.7 --min-size 3,3,3",
                    "another threshold, without predicting again"},
                   {"voxgrad evaluate results/v1_prediction.tif --truth masks/v1.tif --instances",
                    "objects of a label volume: F1 and panoptic quality from IoU 0.1 to 0.9"}},
      .more = "docs/metrics.md",
      .run = run_evaluate};
  for (const Option& o : instance_options()) command.options.push_back(o);
  return command;
}

}  // namespace voxgrad::app
