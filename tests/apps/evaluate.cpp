// SPDX-License-Identifier: BSD-3-Clause
// voxgrad evaluate as a user calls it, on small movies with known events.

#include <filesystem>

#include "catch.hpp"
#include "commands.hpp"
#include "common/cli.hpp"
#include "common/evaluation.hpp"
#include "scratch.hpp"
#include "throws.hpp"
#include "voxgrad/io/tiff.hpp"

using namespace voxgrad;
using namespace voxgrad::app;
using data::Volume;

namespace {

constexpr data::Extent3 extent{12, 30, 40};

template <class T>
void box(Volume<T>& v, data::Extent3 at, data::Extent3 size, T value) {
  for (int64_t t = 0; t < size[0]; ++t)
    for (int64_t y = 0; y < size[1]; ++y)
      for (int64_t x = 0; x < size[2]; ++x) v.at(at[0] + t, at[1] + y, at[2] + x) = value;
}

metrics::RegionSums sums_of(data::Extent3 at, data::Extent3 size) {
  metrics::RegionSums s;
  for (int64_t t = 0; t < size[0]; ++t)
    for (int64_t y = 0; y < size[1]; ++y)
      for (int64_t x = 0; x < size[2]; ++x) s.add(at[0] + t, at[1] + y, at[2] + x, 1);
  return s;
}

/// A results folder: movie a with three events of which two are right, movie b with one event that is right.
struct Results {
  Scratch scratch;
  std::string results = scratch.file("results"), expert = scratch.file("expert"),
              truth = scratch.file("truth");

  Results() {
    for (const std::string& f : {results, expert, truth}) std::filesystem::create_directories(f);
    Volume<uint16_t> a(extent), b(extent);
    box<uint16_t>(a, {2, 4, 4}, {3, 5, 5}, 1);    // centre (3, 6, 6)
    box<uint16_t>(a, {2, 4, 9}, {3, 5, 5}, 2);    // touches it: centre (3, 6, 11)
    box<uint16_t>(a, {8, 20, 30}, {2, 3, 3}, 3);  // centre (8.5, 21, 31)
    box<uint16_t>(a, {0, 0, 30}, {1, 4, 4}, 4);   // too short
    box<uint16_t>(b, {5, 10, 10}, {3, 3, 3}, 1);  // centre (6, 11, 11)
    io::write_tiff_movie(results + "/a_labels.tif", a);
    io::write_tiff_movie(results + "/b_labels.tif", b);
    Volume<float> scores(extent, 0.2f);
    for (size_t i = 0; i < scores.voxels.size(); ++i)
      if (a.voxels[i]) scores.voxels[i] = a.voxels[i] == 3 ? 0.6f : 0.9f;
    io::write_tiff_movie(results + "/a_prediction.tif", scores);
    write_file(results + "/a_events.csv",
               events_csv({metrics::make_region(1, sums_of({2, 4, 4}, {3, 5, 5})),
                           metrics::make_region(2, sums_of({2, 4, 9}, {3, 5, 5})),
                           metrics::make_region(3, sums_of({8, 20, 30}, {2, 3, 3})),
                           metrics::make_region(4, sums_of({0, 0, 30}, {1, 4, 4}))}));
    write_file(expert + "/manual_a.csv", " ,X,Y,Slice\n1,7,6,3\n2,11,7,4\n3,2,25,10\n");
    Volume<uint8_t> true_a(extent);
    box<uint8_t>(true_a, {2, 4, 4}, {3, 5, 5}, 1);
    box<uint8_t>(true_a, {2, 4, 9}, {3, 5, 5}, 2);
    io::write_tiff_movie(truth + "/a.tif", true_a);
    io::write_tiff_movie(truth + "/b_truth.tif", b);
  }
};

struct Outcome {
  int code = -1;
  std::string error, out, err;
};

std::string content_of(std::FILE* f) {
  std::string all;
  std::rewind(f);
  for (int c; (c = std::fgetc(f)) != EOF;) all += char(c);
  std::fclose(f);
  return all;
}

Outcome evaluate(std::vector<std::string> words) {
  Outcome o;
  std::FILE *out = std::tmpfile(), *err = std::tmpfile();
  try {
    const Command command = with_messages(make_evaluate());
    const Arguments arguments = parse_arguments(command, words);
    Session session("evaluate", "voxgrad evaluate", arguments, out, err);
    o.code = command.run(arguments, session);
    session.close(o.code, "");
  } catch (const UsageError& e) {
    o.code = 2;
    o.error = e.what();
  } catch (const Error& e) {
    o.code = 1;
    o.error = e.what();
  }
  o.out = content_of(out);
  o.err = content_of(err);
  return o;
}

bool contains(const std::string& all, const std::string& part) { return all.find(part) != std::string::npos; }

MovieFiles only(const Results& r, const std::string& name) {
  MovieFiles f;
  f.name = name;
  f.expert = find_companion(r.expert, name, expert_patterns);
  f.truth = find_companion(r.truth, name, truth_patterns);
  return f;
}

}  // namespace

TEST_CASE("evaluate: events, labels and probability of one movie against the expert") {
  const Results r;
  MovieFiles files = only(r, "a");
  files.truth.clear();
  EvaluationOptions options;
  const auto scores = [&](PredictionKind from) {
    files.events = r.results + "/a_events.csv";
    files.labels = r.results + "/a_labels.tif";
    files.probability = r.results + "/a_prediction.tif";
    options.from = from;
    return evaluate_movie(files, options);
  };
  for (const PredictionKind from :
       {PredictionKind::automatic, PredictionKind::events, PredictionKind::labels}) {
    const MovieEvaluation e = scores(from);
    CHECK(e.predicted_from == (from == PredictionKind::labels ? "labels" : "events"));
    CHECK(e.truth_from == "expert");
    REQUIRE(e.matching);
    CHECK((e.matching->scores.tp == 2 && e.matching->scores.fp == 1 && e.matching->scores.fn == 1));
    CHECK(e.labels == std::vector<int64_t>{1, 2, 3});
    CHECK(e.mean_distance() == Approx((1 + std::sqrt(2.0)) / 2));
    CHECK_FALSE(e.segmentation);
  }
  options.threshold = 0.5f;  // touching events become one: (3, 6, 8.5)
  const MovieEvaluation merged = scores(PredictionKind::automatic);
  CHECK(merged.predicted_from == "probability");
  CHECK((merged.matching->scores.tp == 1 && merged.matching->scores.fp == 1 &&
         merged.matching->scores.fn == 2));
  options.threshold = 0.6f;  // strictly greater
  CHECK(scores(PredictionKind::probability).predicted.size() == 1);
}

TEST_CASE("evaluate: true masks give detection and Dice, small predictions erased from both") {
  const Results r;
  MovieFiles files = only(r, "a");
  files.expert.clear();
  files.events = r.results + "/a_events.csv";
  files.labels = r.results + "/a_labels.tif";
  for (const PredictionKind from : {PredictionKind::events, PredictionKind::labels}) {
    EvaluationOptions options;
    options.from = from;
    const MovieEvaluation e = evaluate_movie(files, options);
    CHECK(e.truth_from == "truth");
    CHECK((e.matching->scores.tp == 2 && e.matching->scores.fp == 1 && e.matching->scores.fn == 0));
    REQUIRE(e.segmentation);
    CHECK((e.segmentation->tp == 150 && e.segmentation->fp == 18 && e.segmentation->fn == 0));
    CHECK(e.segmentation->dice() == Approx(300.0 / 318));
  }
}

TEST_CASE("evaluate: raw movies move the centres of labels") {
  const Results r;
  MovieFiles files = only(r, "b");
  files.labels = r.results + "/b_labels.tif";
  files.movie = r.scratch.file("b.tif");
  Volume<uint16_t> raw(extent, uint16_t(0));
  raw.at(5, 10, 12) = 100;
  io::write_tiff_movie(files.movie, raw);
  const MovieEvaluation e = evaluate_movie(files, {});
  CHECK(e.predicted.at(0) == metrics::Point{5, 10, 12});
  files.movie = r.truth + "/a.tif";  // wrong movie, right extent; and one of another extent
  CHECK(evaluate_movie(files, {}).predicted.at(0) ==
        metrics::Point{6, 11, 11});  // zero weights: plain centroid
  io::write_tiff_movie(r.scratch.file("c.tif"), Volume<uint8_t>({12, 30, 41}));
  files.movie = r.scratch.file("c.tif");
  CHECK(
      contains(message_of<FileError>([&] { evaluate_movie(files, {}); }), "b_labels.tif: is 12x30x40, but "));
}

TEST_CASE("evaluate: predictions are grouped by movie") {
  const Results r;
  write_file(r.results + "/a_traces.csv", "x\n");
  const auto movies = group_predictions(expand_inputs({r.results}, false, is_prediction_name));
  REQUIRE(movies.size() == 2);
  CHECK(movies[0].name == "a");
  CHECK((contains(movies[0].events, "a_events.csv") && contains(movies[0].labels, "a_labels.tif") &&
         contains(movies[0].probability, "a_prediction.tif")));
  CHECK((movies[1].name == "b" && movies[1].events.empty() && contains(movies[1].labels, "b_labels.tif")));
  // A published 0/255 mask is called NAME_prediction.tif.
  io::write_tiff_movie(r.results + "/c_prediction.tif", Volume<uint8_t>(extent));
  CHECK(contains(group_predictions({{r.results + "/c_prediction.tif", "c_prediction.tif"}}).at(0).labels,
                 "c_prediction"));
  CHECK(contains(message_of<FileError>([&] {
                   group_predictions({{r.results + "/a_labels.tif", "a_labels.tif"},
                                      {r.results + "/b_labels.tif", "a_labels.tif"}});
                 }),
                 "b_labels.tif: belongs to the same movie as "));
}

TEST_CASE("evaluate: the command writes per movie and total, and says what is missing") {
  const Results r;
  const std::string out = r.scratch.file("out");
  const Outcome o = evaluate({r.results, "--expert", r.expert, "--out", out});
  CHECK(o.error.empty());
  CHECK(o.code == 0);
  CHECK(contains(o.err, "no expert file for movie b in "));
  CHECK(contains(o.out, "metrics.csv"));
  const CsvTable t = CsvTable::read(out + "/metrics.csv");
  REQUIRE(t.rows() == 4);
  CHECK(t.cell(0, "movie") == "a");
  CHECK(t.number(0, "det-precision") == Approx(2 / 3.000001).epsilon(1e-12));
  CHECK(t.number(0, "det-f1-score") == Approx(2.0 / 3).epsilon(1e-5));
  CHECK(t.cell(1, "movie") == "b");
  for (const char* empty : {"det-precision", "det-recall", "det-f1-score", "tp", "seg-dice", "truth-from"})
    CHECK(t.cell(1, empty).empty());
  CHECK(t.cell(2, "movie") == "mean");
  CHECK(t.number(2, "det-recall") == t.number(0, "det-recall"));
  CHECK(t.cell(3, "movie") == "total");
  CHECK(t.number(3, "fn") == 1);
  const CsvTable m = CsvTable::read(out + "/matches.csv");
  REQUIRE(m.rows() == 4);
  CHECK(m.cell(0, "kind") == "hit");
  CHECK(m.number(0, "distance") == 1);
  CHECK((m.cell(2, "kind") == "missed" && m.number(2, "truth-y") == 25 && m.cell(2, "t").empty()));
  CHECK((m.cell(3, "kind") == "false alarm" && m.number(3, "label") == 3));
  CHECK(contains(read_file(out + "/metrics.json"), "\"total\": {\"truth\": 3, \"predicted\": 3, \"tp\": 2"));
  CHECK(contains(read_file(out + "/report.html"), "<title>Evaluation"));

  CHECK(contains(evaluate({r.results, "--expert", r.expert, "--out", out}).error,
                 "metrics.csv: exists already. Use --overwrite"));
  const Outcome both = evaluate(
      {r.results, "--truth", r.truth, "--out", out, "--overwrite", "--matcher", "nearest", "--json"});
  CHECK(both.code == 0);
  CHECK(contains(both.out, "\"seg-dice\": "));
  const CsvTable pooled = CsvTable::read(out + "/metrics.csv");
  CHECK(pooled.number(1, "seg-dice") == 1);
  CHECK(pooled.number(3, "tp") == 3);
  CHECK(pooled.number(2, "seg-dice") == Approx((300.0 / 318 + 1) / 2));
}

TEST_CASE("evaluate: options change what is compared") {
  const Results r;
  const auto f1 = [&](std::vector<std::string> more) {
    std::vector<std::string> words = {r.results, "--expert",          r.expert,
                                      "--out",   r.scratch.file("o"), "--overwrite"};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome o = evaluate(words);
    CHECK(o.error.empty());
    return CsvTable::read(r.scratch.file("o") + "/metrics.csv").number(0, "tp");
  };
  CHECK(f1({}) == 2);
  CHECK(f1({"--distance", "1"}) == 0);                          // Hungarian: below 1
  CHECK(f1({"--distance", "1", "--matcher", "nearest"}) == 1);  // nearest: up to 1
  CHECK(f1({"--slice-offset", "8"}) == 0);
  CHECK(f1({"--min-size", "4,3,3"}) == 0);
  CHECK(f1({"--expert-unit", "micron", "--pixel-size", "1"}) == 2);
}

TEST_CASE("evaluate: wrong use is refused before anything is written") {
  const Results r;
  const std::string out = r.scratch.file("out");
  const auto error = [&](std::vector<std::string> more, int code) {
    std::vector<std::string> words = {"--out", out};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome o = evaluate(words);
    CHECK(o.code == code);
    CHECK_FALSE(std::filesystem::exists(out));
    return o.error;
  };
  CHECK(contains(error({"--expert", r.expert}, 2), "no predictions."));
  CHECK(error({r.results}, 2) == "nothing to compare with. Give --expert, --truth or both.");
  CHECK(error({r.results, "--expert", r.expert, "--from", "probability"}, 2) ==
        "--from probability needs --threshold.");
  CHECK(contains(error({r.results, "--expert", r.expert, "--min-size", "2,3"}, 2),
                 "--min-size is '2,3' (expected frames,rows,columns"));
  CHECK(contains(error({r.results, "--expert", r.expert + "/manual_a.csv"}, 2),
                 "is one file, but there are 2 movies. Give a folder."));
  CHECK(contains(error({r.results, "--expert", r.scratch.file("none")}, 1), "none: no such file or folder."));
  CHECK(contains(error({r.results + "/b_labels.tif", "--expert", r.expert}, 1),
                 "no movie could be compared: 1 without an expert file"));
  CHECK(contains(error({r.results + "/a_prediction.tif", "--expert", r.expert}, 2),
                 "is a probability; give --threshold"));
  write_file(r.expert + "/manual_b.csv", "X,Y\n1,2\n");
  CHECK(contains(error({r.results + "/b_labels.tif", "--expert", r.expert}, 1),
                 "manual_b.csv: no column Slice. Found: X, Y."));
}

TEST_CASE("evaluate: one bad movie does not stop the others, and the exit code says so") {
  const Results r;
  write_file(r.expert + "/manual_b.csv", "X,Y,Slice\n1,2,bad\n");
  const Outcome o = evaluate({r.results, "--expert", r.expert, "--out", r.scratch.file("out")});
  CHECK(o.code == 1);
  CHECK(contains(o.err, "1 of 2 movies failed:"));
  CHECK(contains(o.err, "manual_b.csv:2: column 'Slice' is 'bad' (expected a number)"));
  CHECK(CsvTable::read(r.scratch.file("out") + "/metrics.csv").rows() == 3);
}

TEST_CASE("evaluate: a label movie with fractions is refused") {
  const Results r;
  io::write_tiff_movie(r.scratch.file("x_labels.tif"), Volume<float>(extent, 0.5f));
  MovieFiles files = only(r, "a");
  files.labels = r.scratch.file("x_labels.tif");
  CHECK(contains(message_of<FileError>([&] { evaluate_movie(files, {}); }),
                 "x_labels.tif: holds the value 0.5, which is no label (expected whole numbers). For a "
                 "probability give --threshold."));
}

TEST_CASE("evaluate: true masks of fractions are refused by name where only some events are labelled") {
  const Results r;
  std::filesystem::remove(r.results + "/b_labels.tif");
  data::Volume<float> half({12, 30, 40});
  half.at(3, 0, 0) = 0.5f;
  io::write_tiff_movie(r.truth + "/a.tif", half);
  const Outcome o = evaluate({r.results, "--truth", r.truth, "--out", r.scratch.file("out"), "--threshold", "0.7", "--prior", "0.012"});
  CHECK(o.code == 1);
  INFO(o.error << o.err << o.out);
  CHECK(contains(o.error, "a.tif: frame 3 holds 0.5 (expected whole numbers from 0 on, one per event)."));
}

TEST_CASE("evaluate: true masks of codes: known negatives, and voxels that count for nothing") {
  const Results r;
  std::filesystem::remove(r.results + "/b_labels.tif");
  Volume<uint8_t> codes(extent);
  box<uint8_t>(codes, {2, 4, 4}, {3, 5, 10}, 1);     // both predicted events of 75 voxels, which touch: one event
  box<uint8_t>(codes, {8, 20, 30}, {2, 3, 3}, 255);  // the third predicted event: nobody looked
  box<uint8_t>(codes, {10, 0, 0}, {1, 10, 10}, 2);
  io::write_tiff_movie(r.truth + "/a.tif", codes);
  const auto words = [&](const std::string& out, const std::string& labels) {
    return std::vector<std::string>{r.results, "--truth", r.truth, "--out", r.scratch.file(out), "--threshold", "0.5", "--prior", "0.02", "--labels", labels};
  };
  const Outcome o = evaluate(words("codes", "codes"));
  INFO(o.error << o.err << o.out);
  REQUIRE(o.code == 0);
  // 12 x 30 x 40 voxels without 18 ignored ones; 150 are labelled and all score 0.9, as do 16 others.
  const double all = 12 * 30 * 40 - 18, rate = 166 / all;
  const CsvTable pu = CsvTable::read(r.scratch.file("codes") + "/pu.csv");
  CHECK(pu.number(0, "rate") == Approx(rate));
  CHECK(pu.number(0, "recall") == 1);
  CHECK(pu.number(0, "precision-raw") == Approx(0.02 / rate));
  CHECK(contains(o.err, "movie a: 1 predicted events are in ignored voxels and left out"));
  const CsvTable m = CsvTable::read(r.scratch.file("codes") + "/metrics.csv");
  CHECK(m.number(0, "tp") == 1);
  CHECK(m.number(0, "fp") == 0);
  CHECK(m.number(0, "fn") == 0);
  CHECK(m.number(0, "seg-dice") == 1);  // 150 predicted voxels (the fourth event is too short), 150 labelled

  // As event numbers the same files say something else: 2 and 255 are events then.
  const Outcome numbers = evaluate(words("numbers", "instances"));
  REQUIRE(numbers.code == 0);
  CHECK(CsvTable::read(r.scratch.file("numbers") + "/pu.csv").number(0, "rate") == Approx((150 + 18 + 16) / double(12 * 30 * 40)));
  CHECK(CsvTable::read(r.scratch.file("numbers") + "/metrics.csv").number(0, "fn") == 1);

  Volume<uint8_t> wrong(extent);
  wrong.at(4, 1, 1) = 7;
  io::write_tiff_movie(r.truth + "/a.tif", wrong);
  const Outcome refused = evaluate(words("none", "codes"));
  CHECK(refused.code == 1);
  CHECK(contains(refused.error, "a.tif: frame 4: the label 7 is none of the codes 0, 1, 2 and 255."));
  const Outcome without = evaluate({r.results, "--expert", r.expert, "--labels", "codes", "--out", r.scratch.file("none")});
  CHECK(without.code == 2);
  CHECK(without.error == "--labels codes says what the numbers of --truth mean; give --truth.");
}

TEST_CASE("evaluate: measures without negatives where the truth holds a part of the events") {
  const Results r;
  std::filesystem::remove(r.results + "/b_labels.tif");
  const std::string out = r.scratch.file("out");
  // Movie a: 150 labelled voxels score 0.9; the 18 of another event score 0.6, so do not 16 of a fourth (0.9); the rest 0.2.
  const Outcome o = evaluate({r.results, "--truth", r.truth, "--out", out, "--threshold", "0.7", "--prior", "0.012"});
  INFO(o.error << o.err << o.out);
  CHECK(o.code == 0);
  const double all = 12 * 30 * 40, rate = 166 / all;
  const CsvTable t = CsvTable::read(out + "/pu.csv");
  REQUIRE(t.rows() == 4);
  CHECK(t.cell(0, "criterion") == "given");
  CHECK(t.number(0, "recall") == 1);
  CHECK(t.number(0, "rate") == Approx(rate));
  CHECK(t.number(0, "precision-raw") == Approx(0.012 / rate));
  CHECK(t.number(0, "f1") == Approx(2 * 0.012 / (0.012 + rate)));
  CHECK(t.cell(3, "criterion") == "quantile");
  CHECK(t.number(3, "rate") == Approx(rate));  // one level of scores more would be 184 voxels, above the prior's 172.8
  CHECK(contains(o.out, "without negatives: prior 0.012 (given, 0.01042 to 0.024)"));
  CHECK(contains(o.out, "metrics.csv\n"));
  CHECK(contains(o.out, "pu.csv"));
  CHECK(contains(o.out, "checks: rate at 1/2 0.01278"));
  const Outcome estimated = evaluate({r.results, "--truth", r.truth, "--out", r.scratch.file("auto"), "--threshold", "0.7", "--prior", "auto"});
  INFO(estimated.error);
  CHECK(estimated.code == 0);
  CHECK(contains(estimated.out, "(estimated, "));

  const auto refused = [&](std::vector<std::string> more) {
    std::vector<std::string> words = {r.results, "--truth", r.truth, "--out", r.scratch.file("none")};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome failed = evaluate(words);
    CHECK(failed.code == 2);
    return failed.error;
  };
  CHECK(refused({"--prior", "1.5"}) == "--prior is '1.5' (expected a number above 0 and below 1, or auto).");
  CHECK(refused({"--prior", "0.001"}).rfind("the prior is 0.001, but 0.0104167 of the voxels are labelled positive", 0) == 0);
  CHECK(refused({"--model", "m"}) == "--model goes with --prior.");
  std::filesystem::remove(r.results + "/a_prediction.tif");
  CHECK(refused({"--prior", "0.02"}) == "--prior compares probabilities with labelled voxels, but movie a has no probability movie (voxgrad predict "
                                        "writes it without --no-probability).");
  CHECK_FALSE(std::filesystem::exists(r.scratch.file("none")));
}
