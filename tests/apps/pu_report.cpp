// SPDX-License-Identifier: BSD-3-Clause
// Thresholds and measures of whole movies of which some events are labelled, against counts by hand.

#include "common/pu_report.hpp"

#include <cmath>

#include "apps/scratch.hpp"
#include "apps/throws.hpp"
#include "apps/tiny.hpp"
#include "catch.hpp"
#include "common/files.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

/// Movies of 4 x 40 x 40: 3 % of the voxels are positive in blocks of 2 x 2 x 2, half of the blocks are labelled; positives score higher.
struct Movies {
  static constexpr data::Extent3 extent{4, 40, 40};
  std::vector<float> score;
  std::vector<int32_t> label;
  std::vector<bool> truth;

  explicit Movies(uint64_t seed) : score(6400), label(6400), truth(6400) {
    Random random(seed);
    for (int block = 0; block < 24; ++block) {
      const int64_t t = 2 * int64_t(random.below(2)), y = 3 * (block / 4 * 2), x = 3 * (block % 4 * 3) + int64_t(random.below(2));
      for (int64_t v = 0; v < 8; ++v) {
        const size_t i = size_t(((t + v / 4) * 40 + y + v / 2 % 2) * 40 + x + v % 2);
        truth[i] = true;
        if (block % 2 == 0) label[i] = 1;
      }
    }
    for (size_t i = 0; i < score.size(); ++i) score[i] = float(1 / (1 + std::exp(-(random.normal() + (truth[i] ? 2.5 : -2.5)))));
  }
  void add(MovieScores& m) const {
    for (int64_t t = 0; t < extent[0]; ++t) m.add_frame("a.tif", t, extent, score.data() + t * 1600, label.data() + t * 1600);
    m.end_movie();
  }
};

}  // namespace

TEST_CASE("movie scores: events are connected voxels, blocks hold the rest, movies stay apart") {
  const data::Extent3 e{3, 2, 40};
  std::vector<float> score(80, 0.25f);
  MovieScores m;
  for (int movie = 0; movie < 2; ++movie) {
    // A 'U': two pieces that meet in the last frame are one event; a third one has the same number and is apart.
    std::vector<int32_t> arms(80, 0), base(80, 0);
    arms[0] = arms[2] = arms[30] = 1;
    base[0] = base[1] = base[2] = 1;
    m.add_frame("a.tif", 0, e, score.data(), arms.data());
    m.add_frame("a.tif", 1, e, score.data(), arms.data());
    m.add_frame("a.tif", 2, e, score.data(), base.data());
    m.end_movie();
  }
  CHECK(m.movies() == 2);
  CHECK(m.events().size() == 4);
  std::vector<double> sizes;
  for (const pu::UnitCount& u : m.events().counts(0.5)) sizes.push_back(u.total);
  CHECK(sizes == std::vector<double>{7, 2, 7, 2});
  CHECK(m.blocks().size() == 4);  // columns 0 to 31 and 32 to 39 of either movie
  CHECK(m.all().table().positive == 18);
  CHECK(m.all().table().unlabeled == 2 * 240 - 18);
}

TEST_CASE("movie scores: codes, and what is none") {
  const data::Extent3 e{1, 1, 5};
  const std::vector<float> score = {0.9f, 0.1f, 0.2f, 0.3f, 0};
  const std::vector<int32_t> codes = {1, 0, 2, 255, 0}, wrong = {1, 0, 3, 0, 0}, negative = {0, -1, 0, 0, 0};
  MovieScores m(true);
  m.add_frame("a.tif", 0, e, score.data(), codes.data());
  m.end_movie();
  CHECK(m.all().table().positive == 1);
  CHECK(m.all().table().unlabeled == 3);
  CHECK(message_of<FileError>([&] { MovieScores(true).add_frame("a.tif", 7, e, score.data(), wrong.data()); }) ==
        "a.tif: frame 7: the label 3 is none of the codes 0, 1, 2 and 255.");
  CHECK(message_of<FileError>([&] { MovieScores().add_frame("a.tif", 0, e, score.data(), negative.data()); }) == "a.tif: frame 0: the label -1 is below 0.");
  const std::vector<float> nan = {NAN, 0, 0, 0, 0};
  CHECK(message_of<FileError>([&] { MovieScores().add_frame("a.tif", 0, e, nan.data(), codes.data()); }) == "a.tif: frame 0: a score is nan.");
}

TEST_CASE("pu report: the numbers are those of counting, the thresholds those of trying all") {
  MovieScores m;
  const std::vector<Movies> movies = {Movies(1), Movies(2), Movies(3)};
  double positives = 0;
  for (const Movies& one : movies) {
    one.add(m);
    positives += double(std::count(one.truth.begin(), one.truth.end(), true));
  }
  const double prior = positives / (3 * 6400);
  const PuReport r = pu_report(m, prior, {{"given", 0.3}});
  const auto count = [&](double threshold, bool labelled_only) {
    double above = 0, all = 0;
    for (const Movies& one : movies)
      for (size_t i = 0; i < one.score.size(); ++i) {
        if (labelled_only && one.label[i] == 0) continue;
        ++all;
        above += double(one.score[i]) >= threshold;
      }
    return above / all;
  };
  const PuRow& given = *r.find("given");
  CHECK(given.at.recall == Approx(count(0.3, true)).epsilon(1e-3));
  CHECK(given.at.rate == Approx(count(0.3, false)).epsilon(1e-3));
  CHECK(given.at.precision_raw == Approx(prior * given.at.recall / given.at.rate));
  CHECK(given.precision_low < given.at.precision);
  CHECK(given.precision_high > given.at.precision);
  CHECK(given.recall.low <= given.at.recall);
  CHECK(given.recall.high >= given.at.recall);
  CHECK(given.rate.low < given.at.rate);
  CHECK(given.rate.high > given.at.rate);
  CHECK(r.events == 36);
  CHECK(r.voxels_per_event == 8);
  CHECK(r.true_events == Approx(72));

  double f1 = 0, lee_liu = 0;
  for (double t = 0.001; t < 1; t += 0.001) {
    const double recall = count(t, true), rate = count(t, false);
    f1 = std::max(f1, 2 * prior * recall / (prior + rate));
    if (rate > 0) lee_liu = std::max(lee_liu, recall * recall / rate);
  }
  CHECK(r.find("pu_f1")->at.f1 >= f1);
  CHECK(r.find("pu_f1")->at.f1 == Approx(f1).epsilon(0.01));
  CHECK(r.find("lee_liu")->at.lee_liu == Approx(lee_liu).epsilon(0.01));
  CHECK(r.find("quantile")->at.rate <= prior);
  CHECK(r.find("quantile")->at.rate > 0.98 * prior);

  // What is true of the F1 that used no negative: it is that against the whole truth, to a few percent.
  double tp = 0, called = 0;
  for (const Movies& one : movies)
    for (size_t i = 0; i < one.score.size(); ++i)
      if (double(one.score[i]) >= r.find("pu_f1")->at.threshold) ++called, tp += one.truth[i];
  CHECK(r.find("pu_f1")->at.f1 == Approx(2 * tp / (called + positives)).epsilon(0.06));
}

TEST_CASE("pu report: an estimated prior, refusals, and signs that something is wrong") {
  MovieScores m;
  Movies(1).add(m);
  const MoviePrior e = estimate_prior(m);
  const PuReport r = pu_report(m, std::nullopt, {});
  CHECK(r.estimated);
  CHECK(r.prior == e.prior);
  CHECK(r.low == e.low);
  CHECK(e.prior > 1.3 * e.labelled);
  CHECK(e.prior < 3 * e.labelled);
  CHECK(message_of<UsageError>([&] { pu_report(m, 0.01, {}); }) == "the prior is 0.01, but 0.015 of the voxels are labelled positive: it is at least that.");
  CHECK(message_of<UsageError>([&] { pu_report(m, 1.0, {}); }) == "measures without negatives: prior is 1 (expected above 0 and below 1)");
  CHECK(message_of<UsageError>([&] { pu_report(MovieScores(), 0.1, {}); }).rfind("measures without negatives: scores: no labelled voxel", 0) == 0);
  const auto warned = [](const PuReport& report, const std::string& part) {
    return std::any_of(report.warnings.begin(), report.warnings.end(), [&](const std::string& w) { return w.find(part) != std::string::npos; });
  };
  CHECK(r.warnings.empty());
  CHECK(warned(pu_report(m, 0.3, {}), "of all voxels score 1/2 and above, which is not within a factor of two of the prior 0.3"));
  CHECK(warned(pu_report(m, 0.3, {}), "the prior 0.3 is too high for these scores"));
  CHECK(warned(pu_report(m, 0.03, {{"mine", 0.9999999}}), "at the threshold of mine no labelled voxel is found."));
  Movies flat(1);
  std::fill(flat.score.begin(), flat.score.end(), 0.4f);
  MovieScores same;
  flat.add(same);
  CHECK(warned(pu_report(same, 0.1, {}), "the scores are the same everywhere"));
  CHECK(pu_report(same, 0.1, {}).find("quantile") == nullptr);

  QuietSession session;
  print_report(pu_report(same, 0.1, {}), session);
  CHECK(session.out().find("quantile   none: even the highest score is that of more voxels than the prior says") != std::string::npos);
  const std::string csv = report_csv(r);
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 4);
}

TEST_CASE("pu report: what the last thousand steps of a training say") {
  const Scratch dir;
  CHECK(training_signs(dir.folder()).empty());
  std::string csv = "step,objective,corrected,r\n";
  for (int i = 0; i < 1500; ++i) csv += text(i, ",1,", i < 500 || i % 4 == 0 ? 1 : 0, ",0.5\n");
  write_file(dir.file("risk.csv"), csv);
  CHECK(training_signs(dir.folder()) == std::vector<std::string>{"training: 25.0 % of the last 1000 steps were corrected, mean r 0.5"});
  write_file(dir.file("risk.csv"), "step,objective,corrected\n0,1,1\n");
  REQUIRE(training_signs(dir.folder()).size() == 2);
  CHECK(training_signs(dir.folder())[1].rfind("more than half:", 0) == 0);
}
