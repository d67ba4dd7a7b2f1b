// SPDX-License-Identifier: BSD-3-Clause
// inspect and predict on recordings made by others, with a small network of random weights: what it finds means nothing,
// but every movie must go through and every output must fit its movie.

#include <cstdio>
#include <filesystem>

#include "catch.hpp"
#include "commands.hpp"
#include "common/cli.hpp"
#include "common/files.hpp"
#include "common/model_folder.hpp"
#include "common/tables.hpp"
#include "io/real_data.hpp"
#include "run_command.hpp"
#include "scratch.hpp"
#include "throws.hpp"
#include "voxgrad/io/tiff.hpp"

using namespace voxgrad;
using namespace voxgrad::app;
using test::Ran, test::run_command;

namespace {

/// A model folder with two stages of two channels and random weights.
std::string tiny_model(const Scratch& s) {
  const ModelFolder folder(s.file("tiny"));
  make_folders(folder.path());
  write_file(folder.config_file(), "type: unet3d\nmodel_config: {n_layer: 2, nbf: 2}\ntraining_config: {patch_size: 16}\n");
  auto net = make_network(train_config(folder.config()).model, 7);
  save_weights(folder.weights_file(), *net, {});
  return folder.path();
}

/// Outputs fit the movie [T,H,W]: extents, scores within [0,1], every event inside and at its label.
void check_outputs(const std::string& stem, const data::Extent3& extent) {
  INFO(stem);
  io::TiffMovie probability(stem + "_prediction.tif"), labels(stem + "_labels.tif");
  io::TiffOptions grey;
  grey.channel = 1;
  io::TiffMovie overlay(stem + "_overlay.tif", grey);
  CHECK(probability.extent() == extent);
  CHECK(labels.extent() == extent);
  CHECK(overlay.extent() == extent);
  std::vector<float> frame(size_t(extent[1] * extent[2]));
  float low = 2, high = -1;
  double highest_label = 0;
  for (int64_t t = 0; t < extent[0]; ++t) {
    probability.read(t, t + 1, frame.data());
    for (float v : frame) low = std::min(low, v), high = std::max(high, v);
    labels.read(t, t + 1, frame.data());
    for (float v : frame) highest_label = std::max(highest_label, double(v));
  }
  CHECK(low >= 0);
  CHECK(high <= 1);
  CHECK(low < high);
  const CsvTable events = CsvTable::read(stem + "_events.csv");
  CHECK(highest_label == double(events.rows()));
  for (size_t e = 0; e < events.rows(); ++e)
    for (size_t a = 0; a < 3; ++a) {
      const char* const axes[3][3] = {{"axis-0", "t_start", "t_end"}, {"axis-1", "y_min", "y_max"}, {"axis-2", "x_min", "x_max"}};
      const double at = events.number(e, axes[a][0]), begin = events.number(e, axes[a][1]), end = events.number(e, axes[a][2]);
      CHECK((begin >= 0 && begin <= at && at <= end - 1 && end <= double(extent[a])));
    }
  CHECK(std::filesystem::file_size(stem + "_preview.png") > 1000);
}

struct Case {
  std::string file;
  data::Extent3 extent;
  std::vector<std::string> more;
};

}  // namespace

TEST_CASE("predict: real movies of every form", "[real]") {
  const std::string data = test::real_data("predict on real movies");
  if (data.empty()) return;
  const Scratch s;
  const std::string model = tiny_model(s);
  const std::vector<Case> cases = {
      {"bouton_phluorin.tif", {20, 124, 117}, {}},                       // big-endian, frames that call themselves slices
      {"bouton_phluorin.tif", {20, 124, 117}, {"--axes", "TYX", "--mode", "fast"}},
      {"calcium_imaging_1000f.tif", {1000, 30, 40}, {"--mode", "fast"}},  // many small frames
      {"mouse_2p_64x64_int16.tif", {500, 64, 64}, {"--mode", "fast"}},    // signed
      {"astrocyte_events_0.tiff", {100, 100, 100}, {"--mode", "fast"}},   // stored with an offset of 32768
      {"layer_2p_20f.tif", {20, 128, 256}, {}},
      {"dendrite_2p_2ch.tif", {20, 256, 256}, {"--channel", "2", "--mode", "fast"}},
  };
  for (const Case& c : cases) {
    INFO(c.file);
    std::vector<std::string> words = {data + "/movies/" + c.file, "--model", model, "--out", s.file("out"), "--overwrite", "--threshold", "0.5"};
    words.insert(words.end(), c.more.begin(), c.more.end());
    REQUIRE(run_command(make_predict(), words).code == 0);
    const std::string name = c.file.substr(0, c.file.find('.'));
    check_outputs(s.file("out/" + name), c.extent);
  }
}

TEST_CASE("predict: real files that are no movie are refused with what to do", "[real]") {
  const std::string data = test::real_data("predict on real images");
  if (data.empty()) return;
  const Scratch s;
  const std::string model = tiny_model(s);
  const auto refusal = [&](const std::string& file, std::vector<std::string> more = {}) {
    std::vector<std::string> words = {data + "/movies/" + file, "--model", model, "--out", s.file("out")};
    words.insert(words.end(), more.begin(), more.end());
    const std::string message = message_of<FileError>([&] { run_command(make_predict(), words); });
    return message.substr(std::min(message.size(), data.size() + std::string("/movies/").size()));
  };
  CHECK(refusal("linescan_628_cycle01_ch1.ome.tif") ==
        "linescan_628_cycle01_ch1.ome.tif: this is a single frame of 1000x70, but a movie [T,H,W] is needed. "
        "If the file is one of a sequence, give the folder and --sequence.");
  CHECK(refusal("dendrite_2p_2ch.tif") ==
        "dendrite_2p_2ch.tif: has 2 channels (ImageJ: frames=20, channels=2). Choose one with --channel 1 or --channel 2.");
  CHECK_FALSE(std::filesystem::exists(s.file("out/dendrite_2p_2ch_events.csv")));
}

TEST_CASE("inspect: a whole folder of real recordings", "[real]") {
  const std::string data = test::real_data("inspect on real recordings");
  if (data.empty()) return;
  size_t movies = 0, files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(data + "/movies")) {
    const std::string path = entry.path().string();
    if (!entry.is_regular_file() || !has_ending(path, {".tif", ".tiff", ".h5"})) continue;
    INFO(path);
    const Ran done = run_command(make_inspect(), {path});
    CHECK(done.code == 0);
    CHECK(done.out.rfind(path + ": ", 0) == 0);
    ++files;
    movies += done.out.find("-> voxgrad predict --model MODEL ") != std::string::npos;
  }
  CHECK(files >= 11);
  CHECK(movies >= 7);
}
