// SPDX-License-Identifier: BSD-3-Clause
// The files of one movie: what is in them, and that none is left half-written.

#include "common/movie_outputs.hpp"

#include <filesystem>
#include <set>

#include "apps/scratch.hpp"
#include "apps/throws.hpp"
#include "catch.hpp"
#include "common/files.hpp"
#include "common/imagej_roi.hpp"
#include "common/tables.hpp"
#include "voxgrad/core/random.hpp"
#include "voxgrad/io/tiff.hpp"

using namespace voxgrad;
using namespace voxgrad::app;
using data::Extent3;

namespace {

constexpr Extent3 extent{9, 20, 24};

/// Two blocks of high probability on noise, and the raw movie of which they come.
struct Study {
  data::Volume<float> probability{extent}, raw{extent};
  EventFinder finder{extent[1], extent[2], 0.5f};

  Study() {
    Random random(2);
    for (size_t i = 0; i < raw.voxels.size(); ++i) {
      raw.voxels[i] = float(100 + random.below(50));
      probability.voxels[i] = float(0.4 * random.uniform());
    }
    block({1, 2, 3}, {4, 7, 8});
    block({3, 12, 15}, {8, 16, 19});
    block({6, 3, 20}, {7, 6, 23});  // one frame: too short to be an event
    for (int64_t t = 0; t < extent[0]; ++t) finder.add_frame(probability.frame(t), raw.frame(t));
    finder.finish();
  }
  void block(const Extent3& a, const Extent3& b) {
    for (int64_t t = a[0]; t < b[0]; ++t)
      for (int64_t y = a[1]; y < b[1]; ++y)
        for (int64_t x = a[2]; x < b[2]; ++x) {
          probability.frame(t)[y * extent[2] + x] = 0.9f;
          raw.frame(t)[y * extent[2] + x] += 500;
        }
  }
  MovieSummary write(const std::string& stem, const MovieOutputOptions& options = {}, int64_t fail_at = -1) const {
    MovieOutputs outputs(stem, extent, {0.1, 0, 0.2, 0.2}, options);
    for (int64_t t = 0; t < extent[0]; ++t) outputs.add_frame(probability.frame(t));
    int64_t reads = 0;
    const auto [low, high] = std::minmax_element(raw.voxels.begin(), raw.voxels.end());
    return outputs.finish(finder, {*low, *high}, [&](int64_t t, float* out) {
      check<FileError>(reads++ != fail_at, "movie.tif: went away.");
      std::copy_n(raw.frame(t), raw.frame_size(), out);
    });
  }
};

std::set<std::string> names_in(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

std::vector<float> tiff_values(const std::string& path) {
  io::TiffMovie movie(path);
  REQUIRE(movie.extent() == extent);
  std::vector<float> values(size_t(data::voxel_count(extent)));
  movie.read(0, extent[0], values.data());
  return values;
}

}  // namespace

TEST_CASE("movie outputs: every file is there and says what the finder found") {
  const Study study;
  REQUIRE(study.finder.events().size() == 2);
  for (const bool wide : {false, true}) {
    Scratch dir;
    MovieOutputOptions options;
    options.wide_labels = wide;
    options.deflate = wide;
    const MovieSummary summary = study.write(dir.file("a/b/movie7"), options);
    CHECK(summary.events == 2);
    CHECK(summary.extent == extent);
    std::set<std::string> expected = {"movie7_prediction.tif", "movie7_labels.tif", "movie7_overlay.tif", "movie7_preview.png",
                                      "movie7_traces.csv", "movie7_events.csv"};
    if (RoiArchive::can_write()) expected.insert("movie7_rois.zip");
    CHECK(names_in(dir.file("a/b")) == expected);
    std::set<std::string> listed;
    for (const std::string& file : summary.files) listed.insert(file.substr(file.find_last_of('/') + 1));
    CHECK(listed == expected);

    CHECK((tiff_values(dir.file("a/b/movie7_prediction.tif")) == study.probability.voxels));
    std::vector<float> labels;
    std::vector<uint32_t> frame(size_t(extent[1] * extent[2]));
    for (int64_t t = 0; t < extent[0]; ++t) {
      study.finder.labels(t, frame.data());
      labels.insert(labels.end(), frame.begin(), frame.end());
    }
    CHECK((tiff_values(dir.file("a/b/movie7_labels.tif")) == labels));
    CHECK(*std::max_element(labels.begin(), labels.end()) == 2);

    const std::vector<EventRow> events = read_events(dir.file("a/b/movie7_events.csv"));
    REQUIRE(events.size() == 2);
    for (size_t i = 0; i < 2; ++i) {
      const metrics::Region& e = study.finder.events()[i];
      CHECK(events[i].label == int64_t(i) + 1);
      CHECK(events[i].point == e.weighted_centroid);
      CHECK((events[i].box.begin == e.box.begin && events[i].box.end == e.box.end));
      CHECK(events[i].score == Approx(0.9));
    }
    CHECK(events[0].box.begin == Extent3{1, 2, 3});
    CHECK(events[1].box.end == Extent3{8, 16, 19});

    const CsvTable traces = CsvTable::read(dir.file("a/b/movie7_traces.csv"));
    REQUIRE(traces.rows() == 18);  // two events, nine frames
    CHECK(traces.number(9, "label") == 2);
    CHECK(traces.number(13, "frame") == 4);
    CHECK(traces.number(13, "time_s") == Approx(0.4));
    CHECK(traces.number(13, "mean") > traces.number(9, "mean") + 300);  // inside the second event and before it
    CHECK(CsvTable::read(dir.file("a/b/movie7_events.csv")).number(0, "duration_s") == Approx(0.3));
  }
}

TEST_CASE("movie outputs: each part can be left out") {
  const Study study;
  Scratch dir;
  MovieOutputOptions none;
  none.probability = none.labels = none.preview = none.overlay = none.rois = none.traces = false;
  study.write(dir.file("m"), none);
  CHECK(names_in(dir.folder()) == std::set<std::string>{"m_events.csv"});
  CHECK(MovieOutputs::finished(dir.file("m")));
  CHECK_FALSE(MovieOutputs::finished(dir.file("other")));
}

TEST_CASE("movie outputs: a failure leaves no part under its name, and the movie unfinished") {
  const Study study;
  for (const int64_t fail_at : {int64_t(3), extent[0], extent[0] + 5}) {  // while the grey values are measured, while files are written
    Scratch dir;
    CHECK(message_of<FileError>([&] { study.write(dir.file("m"), {}, fail_at); }) == "movie.tif: went away.");
    CHECK(names_in(dir.folder()) == std::set<std::string>{"m_prediction.tif"});  // which is complete
    CHECK((tiff_values(dir.file("m_prediction.tif")) == study.probability.voxels));
    CHECK_FALSE(MovieOutputs::finished(dir.file("m")));
  }
  Scratch dir;
  {
    MovieOutputs outputs(dir.file("m"), extent, {}, {});
    outputs.add_frame(study.probability.frame(0));
  }
  CHECK(names_in(dir.folder()).empty());
}

TEST_CASE("movie outputs: a movie that is done again is unfinished until it is done") {
  const Study study;
  Scratch dir;
  study.write(dir.file("m"));
  const std::string events = read_file(dir.file("m_events.csv"));
  CHECK_THROWS_AS(study.write(dir.file("m"), {}, 2), FileError);
  CHECK_FALSE(MovieOutputs::finished(dir.file("m")));
  study.write(dir.file("m"));
  CHECK(read_file(dir.file("m_events.csv")) == events);
}

TEST_CASE("movie outputs: an uncalibrated, empty movie has tables without rows") {
  Scratch dir;
  EventFinder finder(4, 5, 0.5f);
  const std::vector<float> zeros(20, 0.f);
  MovieOutputs outputs(dir.file("m"), {3, 4, 5}, {}, {});
  for (int t = 0; t < 3; ++t) {
    finder.add_frame(zeros.data(), zeros.data());
    outputs.add_frame(zeros.data());
  }
  finder.finish();
  const MovieSummary summary = outputs.finish(finder, {0, 0}, [&](int64_t, float* out) { std::copy(zeros.begin(), zeros.end(), out); });
  CHECK(summary.events == 0);
  CHECK(read_events(dir.file("m_events.csv")).empty());
  CHECK(CsvTable::read(dir.file("m_traces.csv")).rows() == 0);
}

TEST_CASE("summary table: rows of other movies stay, those done again are replaced, unless all is started anew") {
  Scratch dir;
  MovieSummary s;
  s.extent = {600, 10, 20};
  s.spacing.seconds = 0.1;
  s.events = 5;
  SummaryTable first(dir.folder(), false);
  first.add("data/a, b.tif", s, 0.5f);
  first.add("data/c.tif", s, 0.25f);
  first.write();
  s.events = 7;
  s.spacing.seconds = 0;
  SummaryTable second(dir.folder(), false);
  second.add("data/a, b.tif", s, 0.5f);
  second.write();
  const CsvTable table = CsvTable::read(second.path());
  REQUIRE(table.rows() == 2);
  CHECK(table.cell(0, "movie") == "data/c.tif");
  CHECK(table.number(0, "events") == 5);
  CHECK(table.number(0, "events_per_minute") == Approx(5));
  CHECK(table.number(0, "threshold") == 0.25);
  CHECK(table.cell(1, "movie") == "data/a, b.tif");
  CHECK(table.number(1, "events") == 7);
  CHECK(table.cell(1, "events_per_minute").empty());  // no frame interval, no rate
  CHECK(read_file(dir.file("summary.json")).find("\"movie\": \"data/a, b.tif\"") != std::string::npos);
  SummaryTable third(dir.folder(), true);
  third.add("new.tif", s, 0.5f);
  third.write();
  CHECK(CsvTable::read(third.path()).rows() == 1);
}
