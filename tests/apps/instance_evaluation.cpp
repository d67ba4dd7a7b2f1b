// SPDX-License-Identifier: BSD-3-Clause
// evaluate --instances: pairs by name, scores of a data set, errors.

#include "common/instance_evaluation.hpp"

#include "apps/run_command.hpp"
#include "apps/scratch.hpp"
#include "apps/stardist_tiny.hpp"
#include "apps/throws.hpp"
#include "catch.hpp"
#include "common/tables.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

void write_labels(const std::string& path, const data::Volume<int32_t>& labels) {
  data::Volume<uint16_t> v(labels.extent);
  for (size_t i = 0; i < v.voxels.size(); ++i) v.voxels[i] = uint16_t(labels.voxels[i]);
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  io::write_tiff_movie(path, v);
}

}  // namespace

TEST_CASE("evaluate --instances: counts, ratios and panoptic quality per volume and of all") {
  Scratch dir;
  for (int i = 0; i < 2; ++i) {
    data::Volume<int32_t> truth = tiny_balls(uint64_t(i)).labels, found = truth;
    if (i == 0)  // one object is missed, another one found where nothing is
      for (int64_t k = 0; k < found.size(); ++k)
        if (found.voxels[size_t(k)] == 300) found.voxels[size_t(k)] = 0;
    if (i == 0) found.at(0, 0, 0) = 9;
    write_labels(dir.file(text("truth/a", i, ".tif")), truth);
    write_labels(dir.file(text("out/a", i, "_prediction.tif")), found);
  }
  const test::Ran ran = test::run_command(make_evaluate(), {dir.file("out"), "--truth", dir.file("truth"), "--instances", "--iou", "0.5:0.9:2", "--out", dir.file("e")});
  CHECK(ran.code == 0);
  const CsvTable table = CsvTable::read(dir.file("e/instances.csv"));
  REQUIRE(table.rows() == 6);
  CHECK(table.cell(0, "volume") == "a0");
  CHECK(table.number(0, "tp") == 3);
  CHECK(table.number(0, "fp") == 1);
  CHECK(table.number(0, "fn") == 1);
  CHECK(table.number(0, "f1") == Approx(0.75));
  CHECK(table.number(3, "f1") == 1);
  CHECK(table.cell(4, "volume") == "all");
  CHECK(table.number(4, "f1") == Approx(14.0 / 16));
  CHECK(table.number(4, "panoptic_quality") == Approx(7.0 / 8));
  CHECK(ran.out.find("0.8750") != std::string::npos);

  const auto refusal = [&](std::vector<std::string> words) { return message_of<Error>([&] { test::run_command(make_evaluate(), words); }); };
  CHECK(refusal({dir.file("out"), "--instances"}).find("Give --truth") != std::string::npos);
  CHECK(refusal({dir.file("out"), "--truth", dir.file("truth"), "--instances", "--iou", "2"}).find("--iou is '2'") != std::string::npos);
  CHECK(refusal({dir.file("out"), "--truth", dir.file("out"), "--instances", "--out", dir.file("f")}).find("no true labels in ") != std::string::npos);
  for (const char* option : {"--prior", "--model", "--min-size", "--from", "--expert-unit", "--pixel-size", "--slice-offset"}) {
    std::vector<std::string> words{dir.file("out"), "--truth", dir.file("truth"), "--instances", option, option == std::string("--from") ? "labels" : "1"};
    if (option == std::string("--expert-unit")) words.back() = "pixel";
    CHECK(refusal(words).find(std::string(option) + " does not go with --instances") == 0);
  }
  CHECK(refusal({dir.file("out"), "--truth", dir.file("truth"), "--iou", "0.5"}) == "--iou goes with --instances, which compares whole objects.");
}

TEST_CASE("evaluate --instances: volumes at many thresholds are no predictions, and regions without annotation do not count") {
  Scratch dir;
  data::Volume<int32_t> truth = tiny_balls(0).labels;
  const data::Volume<int32_t> found = truth;
  for (int32_t& l : truth.voxels)
    if (l == 300) l = -1;
  data::Volume<float> partial(truth.extent);  // uint16 has no numbers below 0
  std::copy(truth.voxels.begin(), truth.voxels.end(), partial.voxels.begin());
  std::filesystem::create_directories(dir.file("truth"));
  io::write_tiff_movie(dir.file("truth/a.tif"), partial);
  write_labels(dir.file("out/a_prediction.tif"), found);
  write_labels(dir.file("out/a_thresholds/labels-0.100.tif"), found);
  const std::vector<std::string> words{dir.file("out"), "--truth", dir.file("truth"), "--instances", "--iou", "0.5", "--recursive", "--out", dir.file("e")};
  REQUIRE(test::run_command(make_evaluate(), words).code == 0);
  const CsvTable table = CsvTable::read(dir.file("e/instances.csv"));
  REQUIRE(table.rows() == 2);
  CHECK(table.number(0, "tp") == 3);
  CHECK(table.number(0, "fp") == 0);
  CHECK(table.number(0, "n_pred") == 3);
  io::write_tiff_movie(dir.file("out/a_prediction.tif"), partial);
  std::vector<std::string> again = words;
  again.push_back("--overwrite");
  CHECK(message_of<FileError>([&] { test::run_command(make_evaluate(), again); }).find("a_prediction.tif: holds the label -1") != std::string::npos);
}
