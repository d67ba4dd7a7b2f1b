// SPDX-License-Identifier: BSD-3-Clause
#include "common/simulated_set.hpp"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "catch.hpp"
#include "common/files.hpp"
#include "common/tables.hpp"
#include "voxgrad/data/hdf5_dataset.hpp"
#include "voxgrad/io/tiff.hpp"

namespace fs = std::filesystem;
using namespace voxgrad;
using namespace voxgrad::app;

namespace {

struct TempDir {
  fs::path path = fs::temp_directory_path() / text("voxgrad_simulated_", ::getpid());
  TempDir() { fs::create_directories(path); }
  ~TempDir() { fs::remove_all(path); }
};

SimulatedSetPlan small() {
  SimulatedSetPlan p;
  p.movie.extent = {80, 96, 80};
  p.movie.event_rate = 12;
  p.train = 2;
  p.valid = p.test = 1;
  p.annotation = Annotated::censored;
  p.valid_annotation = Annotated::complete;
  p.censor = 0.5;
  return p;
}

SimulatedSet write(const SimulatedSetPlan& plan, const std::string& out) {
  const Arguments none(common::messages());
  Session session("simulate", "voxgrad simulate", none, std::tmpfile(), std::tmpfile());
  return write_simulated_set(plan, out, session);
}

}  // namespace

TEST_CASE("simulated set: the published layout, truth and incomplete labels agree") {
  TempDir dir;
  const SimulatedSet set = write(small(), dir.path.string());
  const data::Hdf5Fold train(set.dataset, "train"), valid(set.dataset, "valid");
  REQUIRE(train.movies().size() == 2);
  REQUIRE(valid.movies().size() == 1);
  CHECK(valid.movies()[0].name == "3");
  CHECK(set.valid_events == set.valid_annotated);
  CHECK(set.train_annotated < set.train_events);
  std::int64_t rows = 0;
  for (const data::MovieEntry& m : train.movies()) {
    rows += std::int64_t(m.events.size());
    std::vector<std::int32_t> label(std::size_t(data::voxel_count(m.extent)));
    train.read_label_ids(m, 0, m.extent[0], label.data());
    std::set<std::int64_t> ids(label.begin(), label.end()), expected{0};
    for (const data::Event& e : m.events) expected.insert(e.id);
    CHECK(ids == expected);
    const auto truth = train.file().read<std::int32_t>(m.group + "/truth-label");
    for (std::size_t i = 0; i < truth.size(); ++i) REQUIRE((label[i] == 0 || label[i] == truth[i]));
    const auto flags = train.file().read<std::uint8_t>(m.group + "/annotated");
    CHECK(std::count(flags.begin(), flags.end(), 1) == std::int64_t(m.events.size()));
  }
  CHECK(rows == set.train_annotated);
}

TEST_CASE("simulated set: test movies, expert clicks and truth tables belong together") {
  TempDir dir;
  const SimulatedSet set = write(small(), dir.path.string());
  REQUIRE(set.movies.size() == 1);
  CHECK(set.movies[0] == dir.path.string() + "/testset/raw-input/4-1.tif");
  std::ifstream csv(set.experts[0]);
  std::string header;
  std::getline(csv, header);
  CHECK(header == " ,Area,Mean,X,Y,Slice");
  ExpertOptions options;
  options.slice_offset = 1;
  const ExpertPoints clicks = read_expert(set.experts[0], options);
  const CsvTable truth = CsvTable::read(set.truths[0]);
  REQUIRE(std::int64_t(truth.rows()) == set.test_events);
  REQUIRE(clicks.points.size() == truth.rows());
  for (std::size_t i = 0; i < truth.rows(); ++i) {
    CHECK(std::fabs(clicks.points[i][0] - truth.number(i, "peak_frame")) <= 3);
    CHECK(std::fabs(clicks.points[i][1] - truth.number(i, "y")) <= 5);
    CHECK(std::fabs(clicks.points[i][2] - truth.number(i, "x")) <= 5);
  }
}

TEST_CASE("simulated set: the same plan gives the same bytes") {
  TempDir dir;
  SimulatedSetPlan plan = small();
  plan.train = plan.valid = 0;
  const SimulatedSet a = write(plan, (dir.path / "a").string()), b = write(plan, (dir.path / "b").string());
  CHECK(a.dataset.empty());
  CHECK(read_file(a.movies[0]) == read_file(b.movies[0]));
  CHECK(read_file(a.truth_labels[0]) == read_file(b.truth_labels[0]));
  CHECK(read_file(a.experts[0]) == read_file(b.experts[0]));
  plan.movie.seed = 43;
  CHECK(read_file(write(plan, (dir.path / "c").string()).movies[0]) != read_file(a.movies[0]));
}
