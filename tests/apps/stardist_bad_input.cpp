// SPDX-License-Identifier: BSD-3-Clause
// Volumes that are odd, empty or wrong, as users of the StarDist commands meet them: what is documented happens, or the message says what to change.

#include <cmath>
#include <functional>

#include "apps/run_command.hpp"
#include "apps/scratch.hpp"
#include "apps/stardist_tiny.hpp"
#include "apps/throws.hpp"
#include "catch.hpp"
#include "common/files.hpp"
#include "common/stardist_config.hpp"
#include "common/stardist_folder.hpp"
#include "common/tables.hpp"
#include "common/volume_file.hpp"
#include "voxgrad/data/relabel.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

/// `count` volumes under FOLDER/images and masks: noise, brighter where `labels` has an object.
void write_volumes(const std::string& folder, int count, const data::Volume<uint32_t>& labels) {
  Random random(11);
  make_folders(folder + "/images"), make_folders(folder + "/masks");
  for (int i = 0; i < count; ++i) {
    data::Volume<uint16_t> image(labels.extent);
    for (size_t k = 0; k < image.voxels.size(); ++k) image.voxels[k] = uint16_t(1000 + 50 * random.uniform() + (labels.voxels[k] > 0 ? 500 : 0));
    io::write_tiff_movie(folder + text("/images/v", i, ".tif"), image);
    io::write_tiff_movie(folder + text("/masks/v", i, ".tif"), labels);
  }
}

data::Volume<uint32_t> boxes(const data::Extent3& extent, const std::vector<std::pair<uint32_t, data::Box3>>& objects) {
  data::Volume<uint32_t> labels(extent);
  for (const auto& [id, box] : objects)
    for (int64_t z = box.start[0]; z < box.stop[0]; ++z)
      for (int64_t y = box.start[1]; y < box.stop[1]; ++y)
        for (int64_t x = box.start[2]; x < box.stop[2]; ++x) labels.at(z, y, x) = id;
  return labels;
}

/// Two steps of training. The small network's options are last, so that `more` cannot be hidden by them.
int train(const std::string& data, const std::string& model, const std::vector<std::string>& more = {}) {
  std::vector<std::string> words = {data, "--type", "stardist3d", "--out", model, "--overwrite", "--epochs", "1", "--steps-per-epoch", "2", "--batch-size", "1"};
  for (const char* setting : {"n_rays=16", "anisotropy=[auto]", "unet_n_depth=1", "unet_n_filter_base=4", "net_conv_after_unet=8", "train_patch_size=[8, 16, 16]"})
    words.insert(words.end(), {"--set", text("stardist_config.", setting)});
  words.insert(words.end(), more.begin(), more.end());
  return test::run_command(make_train(), words).code;
}

/// A model that finds an object of one voxel at every voxel: all weights 0 but the distances.
void write_model_of_points(const std::string& folder) {
  StarDistRun run = tiny_stardist_run(1, 1);
  run.config.network.grid = {1, 1, 1};
  models::StarDist3d net(run.config.network, Random(3));
  for (nn::Named& n : net.state())
    for (float& v : n.tensor->mutable_span<float>()) v = n.name == "dist.bias" ? 0.4f : 0.f;
  make_folders(folder);
  write_file(folder + "/config.json", stardist_config_json(run.config));
  save_keras_weights(folder + "/weights_best.h5", net);
}

}  // namespace

TEST_CASE("stardist bad input: ids with gaps, objects of one voxel and objects that the volume's end cuts are learnt from") {
  Scratch dir;
  const data::Extent3 extent{12, 24, 24};
  const std::vector<std::pair<std::string, data::Volume<uint32_t>>> cases = {
      {"gaps", boxes(extent, {{3, {{2, 2, 2}, {7, 8, 8}}}, {70000, {{4, 12, 2}, {9, 18, 8}}}, {1000000000, {{3, 5, 14}, {8, 11, 20}}}})},
      {"points", boxes(extent, {{1, {{0, 0, 0}, {1, 1, 1}}}, {2, {{11, 23, 23}, {12, 24, 24}}}, {3, {{5, 9, 9}, {6, 10, 10}}}, {4, {{5, 9, 10}, {6, 10, 11}}}})},
      {"cut", boxes(extent, {{1, {{0, 0, 0}, {4, 6, 6}}}, {2, {{8, 18, 18}, {12, 24, 24}}}, {3, {{0, 8, 8}, {12, 15, 15}}}})}};
  for (const auto& [name, labels] : cases) {
    INFO(name);
    write_volumes(dir.file(name), 3, labels);
    REQUIRE(train(dir.file(name), dir.file(name + "-model")) == 0);
    for (const char* table : {"/train.csv", "/valid.csv"}) {
      const CsvTable losses = CsvTable::read(dir.file(name + "-model") + table);
      REQUIRE(losses.rows() > 0);
      for (size_t i = 0; i < losses.rows(); ++i) CHECK(std::isfinite(losses.number(i, "loss")));
    }
    // The truth against itself: whatever the ids are, each object is matched.
    REQUIRE(test::run_command(make_evaluate(), {dir.file(name + "/masks"), "--truth", dir.file(name + "/masks"), "--instances", "--iou", "0.9", "--out", dir.file(name + "-scores")}).code == 0);
    const CsvTable scores = CsvTable::read(dir.file(name + "-scores/instances.csv"));
    CHECK(scores.number(0, "tp") == double(data::object_ids(labels).size()));
    CHECK(scores.number(0, "f1") == 1);
  }
}

TEST_CASE("stardist bad input: without any object there is nothing to learn; nothing found where nothing is counts as 0") {
  Scratch dir;
  const data::Volume<uint32_t> none({12, 24, 24});
  write_volumes(dir.file("none"), 3, none);
  for (const std::vector<std::string>& more : {std::vector<std::string>{}, {"--set", "stardist_config.anisotropy=[1, 1, 1]"}, {"--set", "stardist_config.labels=instances"}})
    CHECK(message_of<FileError>([&] { train(dir.file("none"), dir.file("model"), more); }) ==
          dir.file("none") + ": no label above 0 in any of its 2 training volumes, so there is nothing to learn. Do the label volumes hold numbers of objects?");
  CHECK_FALSE(std::filesystem::exists(dir.file("model")));
  REQUIRE(test::run_command(make_evaluate(), {dir.file("none/masks"), "--truth", dir.file("none/masks"), "--instances", "--iou", "0.5", "--out", dir.file("scores")}).code == 0);
  const CsvTable scores = CsvTable::read(dir.file("scores/instances.csv"));
  for (const char* column : {"n_true", "n_pred", "tp", "fp", "fn", "f1", "accuracy"}) CHECK(scores.number(0, column) == 0);

  write_model_of_points(dir.file("points"));
  io::write_tiff_movie(dir.file("black.tif"), data::Volume<uint16_t>({4, 9, 9}));
  const auto predict = [&] { return test::run_command(make_predict(), {dir.file("black.tif"), "--model", dir.file("points"), "--out", dir.file("out"), "--normalize", "percentile"}).code; };
  CHECK(message_of<FileError>(predict).find("black.tif: percentiles 1 and 99.8 of its intensities are 0 and 0, so there is no range to normalise by") != std::string::npos);
}

TEST_CASE("stardist bad input: a volume smaller than a cell of the grid has labels of its shape; training names it") {
  Scratch dir;
  write_tiny_volumes(dir.file("v"), 3);
  REQUIRE(train(dir.file("v"), dir.file("model")) == 0);
  data::Volume<uint16_t> small({2, 1, 1});
  small.voxels = {1000, 2000};
  io::write_tiff_movie(dir.file("small.tif"), small);
  REQUIRE(test::run_command(make_predict(), {dir.file("small.tif"), "--model", dir.file("model"), "--out", dir.file("out")}).code == 0);
  const data::Volume<int32_t> labels = read_label_volume(dir.file("out/small_prediction.tif"));
  CHECK(labels.extent == small.extent);

  write_volumes(dir.file("cells"), 2, boxes({2, 1, 1}, {{1, {{0, 0, 0}, {2, 1, 1}}}}));
  const std::string refused = message_of<UsageError>([&] { train(dir.file("cells"), dir.file("none")); });
  INFO(refused);
  CHECK(refused.find("stardist_config.train_patch_size is 8,16,16, but " + dir.file("cells/images/v")) == 0);
  CHECK(refused.find(".tif has 2x1x1 voxels. Choose smaller patches.") != std::string::npos);
}

TEST_CASE("stardist bad input: anisotropy of 0, fewer than four rays and thresholds outside the range are refused by name") {
  Scratch dir;
  write_tiny_volumes(dir.file("v"), 3);
  const auto train_with = [&](const char* setting) { return message_of<UsageError>([&] { train(dir.file("v"), dir.file("model"), {"--set", setting}); }); };
  CHECK(train_with("stardist_config.anisotropy=[0, 1, 1]") == "configuration: 'anisotropy' is [0,1,1] (expected numbers above 0).");
  CHECK(train_with("stardist_config.n_rays=3") == "--set stardist_config.n_rays=3: stardist_config.n_rays is '3' (expected an integer from 4 to 4096).");
  CHECK_FALSE(std::filesystem::exists(dir.file("model")));

  write_model_of_points(dir.file("points"));
  const auto predict_with = [&](const char* option, const char* value) {
    return message_of<Error>([&] { test::run_command(make_predict(), {dir.file("v/images/v0.tif"), "--model", dir.file("points"), "--out", dir.file("out"), option, value}); });
  };
  for (const char* option : {"--prob-threshold", "--nms-threshold"})
    for (const char* value : {"-0.1", "1.5", "nan"}) CHECK(predict_with(option, value) == text("option ", option, " is '", value, "' (expected a number from 0 to 1)."));
  for (const char* range : {"0:1:5", "0.1:1.2:3", "0.9:0.1:5", "0.1:0.9:0"})
    CHECK(predict_with("--thresholds", range).find(text("--thresholds is '", range, "' (expected FIRST:LAST:COUNT or one number, from 1e-06 to 0.999999")) == 0);
  // A model of the Python package with such numbers in its files.
  const std::string json = read_file(dir.file("points/config.json"));
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = json;
    const size_t at = changed.find(from);
    REQUIRE(at != std::string::npos);
    write_file(dir.file("points/config.json"), changed.replace(at, from.size(), to));
    return predict_with("--border", "0");
  };
  CHECK(with("\"n\": 16", "\"n\": 3") == dir.file("points/config.json") + ": rays_json: rays: n is 3 (expected 4 to 65536)");
  CHECK(with("\"anisotropy\": [1, 1, 1]", "\"anisotropy\": [0, 1, 1]").find("[0,1,1] (expected numbers above 0).") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(dir.file("out")));
}

TEST_CASE("stardist bad input: volumes that should have one shape and do not are both named with their shapes") {
  Scratch dir;
  write_tiny_volumes(dir.file("v"), 3);
  io::write_tiff_movie(dir.file("v/masks/v1.tif"), boxes({12, 22, 24}, {{1, {{2, 2, 2}, {6, 6, 6}}}}));
  const std::string expected = dir.file("v/masks/v1.tif") + " is 12x22x24, but " + dir.file("v/images/v1.tif") + " is 12x24x24. Both must have the same shape.";
  CHECK(message_of<FileError>([&] { train(dir.file("v"), dir.file("model")); }) == expected);
  const auto evaluate = [&] { test::run_command(make_evaluate(), {dir.file("v/images/v1.tif"), "--truth", dir.file("v/masks/v1.tif"), "--instances", "--out", dir.file("scores")}); };
  CHECK(message_of<Error>(evaluate) == dir.file("v/images/v1.tif") + " against " + dir.file("v/masks/v1.tif") +
                                           ": instances: the true labels are 12x22x24, the predicted ones 12x24x24 voxels");
  CHECK_FALSE(std::filesystem::exists(dir.file("scores")));
}

TEST_CASE("stardist bad input: more than 65 535 objects are predicted, listed, scored and learnt with 32-bit numbers") {
  Scratch dir;
  write_model_of_points(dir.file("points"));
  Random random(5);
  data::Volume<float> image({41, 41, 41});
  for (float& v : image.voxels) v = float(random.uniform());
  make_folders(dir.file("many/images"));
  io::write_tiff_movie(dir.file("many/images/a.tif"), image);
  REQUIRE(test::run_command(make_predict(), {dir.file("many/images/a.tif"), "--model", dir.file("points"), "--out", dir.file("out"), "--prob-threshold", "0.4", "--border", "0",
                                             "--no-overlay", "--no-preview", "--no-rois"}).code == 0);
  const int64_t n = 41 * 41 * 41;
  io::TiffOptions zyx;
  zyx.axes = "TYX";
  CHECK(io::TiffMovie(dir.file("out/a_prediction.tif"), zyx).sample_type() == io::SampleType::u32);
  const data::Volume<int32_t> labels = read_label_volume(dir.file("out/a_prediction.tif"));
  const std::vector<int32_t> ids = data::object_ids(labels);
  CHECK(int64_t(ids.size()) == n);
  CHECK(ids.back() == n);
  CHECK(CsvTable::read(dir.file("out/a_objects.csv")).rows() == size_t(n));
  REQUIRE(test::run_command(make_evaluate(), {dir.file("out"), "--truth", dir.file("out/a_prediction.tif"), "--instances", "--iou", "0.5", "--out", dir.file("scores")}).code == 0);
  CHECK(CsvTable::read(dir.file("scores/instances.csv")).number(0, "tp") == double(n));
  make_folders(dir.file("many/masks"));
  std::filesystem::copy_file(dir.file("out/a_prediction.tif"), dir.file("many/masks/a.tif"));
  CHECK(train(dir.file("many"), dir.file("model")) == 0);
}
