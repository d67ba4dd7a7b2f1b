// SPDX-License-Identifier: BSD-3-Clause
// voxgrad evaluate: predictions against experts and true masks, per movie and in total.

#include <cmath>
#include <filesystem>

#include <fmt/format.h>

#include "commands.hpp"
#include "common/evaluation.hpp"
#include "common/instance_evaluation.hpp"
#include "common/pu_report.hpp"
#include "voxgrad/io/tiff.hpp"

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

EvaluationOptions evaluation_options(const Arguments& a) {
  EvaluationOptions o;
  const std::string from = a.choice("--from");
  o.from = from == "events"        ? PredictionKind::events
           : from == "labels"      ? PredictionKind::labels
           : from == "probability" ? PredictionKind::probability
                                   : PredictionKind::automatic;
  if (a.given("--threshold")) o.threshold = float(a.real("--threshold", 0, 1));
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

/// Sums over movies. The mean counts every movie once, the total every event once.
struct Totals {
  metrics::DetectionScores detection;
  metrics::SegmentationScores segmentation;
  int64_t scored = 0, segmented = 0;
  double precision = 0, recall = 0, f1 = 0, dice = 0, iou = 0;

  void add(const MovieEvaluation& m) {
    if (m.matching) {
      const metrics::DetectionScores& s = m.matching->scores;
      detection.add(s);
      ++scored;
      precision += s.precision(), recall += s.recall(), f1 += s.f1();
    }
    if (m.segmentation) {
      segmentation.add(*m.segmentation);
      ++segmented;
      dice += m.segmentation->dice(), iou += m.segmentation->iou();
    }
  }
};

/// A row of metrics.csv and an object of metrics.json: the same names, undefined values absent.
Fields detection_fields(const metrics::DetectionScores& s) {
  return {{"truth", s.tp + s.fn},
          {"predicted", s.tp + s.fp},
          {"tp", s.tp},
          {"fp", s.fp},
          {"fn", s.fn},
          {"det-precision", s.precision()},
          {"det-recall", s.recall()},
          {"det-f1-score", s.f1()},
          {"det-accuracy", s.accuracy()},
          {"det-jaccard", s.jaccard()},
          {"det-average-precision", s.average_precision()}};
}
Fields segmentation_fields(const metrics::SegmentationScores& s) {
  return {{"seg-dice", s.dice()},
          {"seg-iou", s.iou()},
          {"seg-precision", s.precision()},
          {"seg-recall", s.recall()},
          {"seg-accuracy", s.accuracy()}};
}
Fields& append(Fields& fields, const Fields& more) {
  fields.insert(fields.end(), more.begin(), more.end());
  return fields;
}
Fields movie_fields(const MovieEvaluation& m) {
  Fields f = {{"predicted-from", m.predicted_from}, {"truth-from", m.truth_from}};
  if (m.matching)
    append(f, detection_fields(m.matching->scores)).emplace_back("mean-distance", m.mean_distance());
  if (m.segmentation) append(f, segmentation_fields(*m.segmentation));
  return f;
}
Fields total_fields(const Totals& t) {
  Fields f;
  if (t.scored > 0) append(f, detection_fields(t.detection));
  if (t.segmented > 0) append(f, segmentation_fields(t.segmentation));
  return f;
}
Fields mean_fields(const Totals& t) {
  Fields f;
  const double n = double(t.scored), s = double(t.segmented);
  if (t.scored > 0)
    append(f, {{"det-precision", t.precision / n}, {"det-recall", t.recall / n}, {"det-f1-score", t.f1 / n}});
  if (t.segmented > 0) append(f, {{"seg-dice", t.dice / s}, {"seg-iou", t.iou / s}});
  return f;
}

const std::vector<std::string> columns = {"predicted-from",
                                          "truth-from",
                                          "det-precision",
                                          "det-recall",
                                          "det-f1-score",
                                          "truth",
                                          "predicted",
                                          "tp",
                                          "fp",
                                          "fn",
                                          "det-accuracy",
                                          "det-jaccard",
                                          "det-average-precision",
                                          "mean-distance",
                                          "seg-dice",
                                          "seg-iou",
                                          "seg-precision",
                                          "seg-recall",
                                          "seg-accuracy"};

std::string table_row(const std::string& name, const Fields& fields) {
  std::vector<std::string> cells = {csv_text(name)};
  for (const std::string& column : columns) {
    std::string cell;
    for (const auto& [key, value] : fields)
      if (key == column) cell = value.text();
    if (cell == "null") cell.clear();
    if (cell.size() >= 2 && cell.front() == '"')
      cell = cell.substr(1, cell.size() - 2);  // our own words, nothing to escape
    cells.push_back(cell);
  }
  return csv_line(cells);
}

std::string metrics_csv(const std::vector<MovieEvaluation>& movies, const Totals& totals) {
  std::vector<std::string> header = {"movie"};
  header.insert(header.end(), columns.begin(), columns.end());
  std::string content = csv_line(header);
  for (const MovieEvaluation& m : movies) content += table_row(m.name, movie_fields(m));
  return content + table_row("mean", mean_fields(totals)) + table_row("total", total_fields(totals));
}

std::string metrics_json(const std::vector<MovieEvaluation>& movies, const Totals& totals,
                         const Arguments& a) {
  std::vector<JsonValue> rows;
  for (const MovieEvaluation& m : movies) {
    Fields f = {{"movie", m.name}};
    rows.push_back(append(f, movie_fields(m)));
  }
  const Fields settings = {
      {"matcher", a.get("--matcher")},
      {"distance", a.real("--distance", 0, 1e6)},
      {"min-size", a.get("--min-size")},
      {"from", a.get("--from")},
      {"threshold", a.given("--threshold") ? JsonValue(a.real("--threshold", 0, 1)) : JsonValue::null()},
      {"expert-unit", a.get("--expert-unit")},
      {"slice-offset", a.integer("--slice-offset", -1000000, 1000000)}};
  return json_object({{"settings", settings},
                      {"movies", rows},
                      {"mean", mean_fields(totals)},
                      {"total", total_fields(totals)}}) +
         "\n";
}

/// One row per hit, miss and false alarm.
std::string matches_csv(const std::vector<MovieEvaluation>& movies) {
  std::string content = "movie,kind,label,t,y,x,truth-t,truth-y,truth-x,distance\n";
  const auto row = [&](const std::string& name, const char* kind, const std::string& label,
                       const metrics::Point* predicted, const metrics::Point* truth) {
    std::vector<std::string> cells = {csv_text(name), kind, label};
    for (const metrics::Point* p : {predicted, truth})
      for (size_t a = 0; a < 3; ++a) cells.push_back(p ? csv_number((*p)[a]) : "");
    cells.push_back(predicted && truth ? csv_number(metrics::distance(*predicted, *truth)) : "");
    content += csv_line(cells);
  };
  for (const MovieEvaluation& m : movies) {
    if (!m.matching) continue;
    const auto label = [&](int64_t j) { return std::to_string(m.labels[size_t(j)]); };
    for (const auto& [i, j] : m.matching->pairs)
      row(m.name, "hit", label(j), &m.predicted[size_t(j)], &m.truth[size_t(i)]);
    for (const int64_t i : m.matching->false_negatives)
      row(m.name, "missed", "", nullptr, &m.truth[size_t(i)]);
    for (const int64_t j : m.matching->false_positives)
      row(m.name, "false alarm", label(j), &m.predicted[size_t(j)], nullptr);
  }
  return content;
}

/// Measures without negatives from probabilities and true masks in which only some events are labelled.
MovieScores scores_without_negatives(const std::vector<MovieFiles>& files, bool codes, Session& session) {
  MovieScores scores(codes);
  for (const MovieFiles& f : files) {
    check<UsageError>(!f.probability.empty() && !f.truth.empty(), "--prior compares probabilities with labelled voxels, but movie ", f.name, " has no ",
                      f.probability.empty() ? "probability movie (voxgrad predict writes it without --no-probability)." : "label movie (--truth).");
    io::TiffMovie probability(f.probability), truth(f.truth);
    const data::Extent3 e = probability.extent(), t = truth.extent();
    check<FileError>(e == t, f.truth, ": is ", t[0], "x", t[1], "x", t[2], ", but ", f.probability, " is ", e[0], "x", e[1], "x", e[2], ".");
    std::vector<float> frame(size_t(e[1] * e[2])), mask(frame.size());
    std::vector<int32_t> labels(frame.size());
    for (int64_t at = 0; at < e[0]; ++at) {
      session.check_stop();
      probability.read(at, at + 1, frame.data());
      truth.read(at, at + 1, mask.data());
      for (size_t i = 0; i < mask.size(); ++i) {
        check<FileError>(frame[i] >= 0 && frame[i] <= 1, f.probability, ": frame ", at, " holds ", frame[i], " (expected a probability from 0 to 1).");
        check<FileError>(mask[i] >= 0 && mask[i] <= float(1 << 24) && mask[i] == std::floor(mask[i]), f.truth, ": frame ", at, " holds ", mask[i],
                         " (expected whole numbers from 0 on, one per event).");
        labels[i] = int32_t(mask[i]);
      }
      scores.add_frame(f.truth, at, e, frame.data(), labels.data());
    }
    scores.end_movie();
  }
  return scores;
}

PuReport report_without_negatives(const Arguments& a, const std::vector<MovieFiles>& files, Session& session) {
  std::optional<double> prior;
  if (a.get("--prior") != "auto") {
    prior = parse_real(a.get("--prior"));
    check<UsageError>(prior && *prior > 0 && *prior < 1, "--prior is '", a.get("--prior"), "' (expected a number above 0 and below 1, or auto).");
  }
  std::vector<std::pair<std::string, double>> own;
  if (a.given("--threshold")) own.emplace_back("given", a.real("--threshold", 0, 1));
  return pu_report(scores_without_negatives(files, a.choice("--labels") == "codes", session), prior, own);
}

/// The table, what the model's training says, and how many of the predicted events are real.
void print_without_negatives(const PuReport& report, const Totals& totals, const Arguments& a, Session& session) {
  session.print("");
  print_report(report, session);
  if (a.given("--model"))
    for (const std::string& line : training_signs(a.get("--model"))) session.print(line);
  const metrics::DetectionScores& d = totals.detection;
  if (totals.scored > 0 && d.tp + d.fn > 0 && d.tp + d.fp > 0) {
    const double recall = double(d.tp) / double(d.tp + d.fn);
    session.print(fmt::format("events: recall {:.4f}; of {} predicted ones the share {:.4f} is real, if there are {:.0f} true ones", recall, d.tp + d.fp,
                              pu::event_precision(report.true_events, recall, double(d.tp + d.fp)), report.true_events));
  }
}

void print_table(Session& session, const std::vector<MovieEvaluation>& movies, const Totals& totals) {
  size_t width = 5;
  for (const MovieEvaluation& m : movies) width = std::max(width, m.name.size());
  session.print(
      fmt::format("{:<{}}  truth  pred.     TP     FP     FN  precision  recall      F1    Dice     IoU",
                  "movie", width));
  const auto line = [&](const std::string& name, const metrics::DetectionScores* d,
                        const metrics::SegmentationScores* s) {
    std::string row = fmt::format("{:<{}}", name, width);
    row += d ? fmt::format("  {:>5}  {:>5}  {:>5}  {:>5}  {:>5}     {:.4f}  {:.4f}  {:.4f}", d->tp + d->fn,
                           d->tp + d->fp, d->tp, d->fp, d->fn, d->precision(), d->recall(), d->f1())
             : fmt::format("{:>62}", "(no expert file, no true mask)");
    if (s) row += fmt::format("  {:.4f}  {:.4f}", s->dice(), s->iou());
    session.print(row);
  };
  for (const MovieEvaluation& m : movies)
    line(m.name, m.matching ? &m.matching->scores : nullptr, m.segmentation ? &*m.segmentation : nullptr);
  if (movies.size() > 1)
    line("total", totals.scored > 0 ? &totals.detection : nullptr,
         totals.segmented > 0 ? &totals.segmentation : nullptr);
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
  std::vector<std::string> names = {"/metrics.csv", "/metrics.json", "/matches.csv"};
  if (a.given("--prior")) names.push_back("/pu.csv");
  for (const std::string& name : names) refuse_existing(out + name, a.flag("--overwrite"));
  check<UsageError>(a.given("--prior") || !a.given("--model"), "--model goes with --prior.");
  std::optional<PuReport> report;  // first: what cannot be measured is said before the long part
  if (a.given("--prior")) report = report_without_negatives(a, files, session);

  std::vector<MovieEvaluation> movies;
  std::vector<std::string> failed;
  Totals totals;
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
  write_file(out + "/metrics.json", metrics_json(movies, totals, a));
  write_file(out + "/matches.csv", matches_csv(movies));
  if (report) write_file(out + "/pu.csv", report_csv(*report));
  print_table(session, movies, totals);
  if (report) {
    print_without_negatives(*report, totals, a, session);
    session.result("pu", report_fields(*report));
  }
  for (const std::string& name : names) session.print(out + name);
  session.result("movies", int64_t(movies.size()));
  session.result("failed", int64_t(failed.size()));
  session.result("mean", mean_fields(totals));
  session.result("total", total_fields(totals));
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
