// SPDX-License-Identifier: BSD-3-Clause
// StarDist model folders: weights in every layout of Keras, which file counts, thresholds, and what is refused.

#include "common/stardist_folder.hpp"

#include <filesystem>

#include "apps/scratch.hpp"
#include "apps/throws.hpp"
#include "catch.hpp"
#include "common/files.hpp"
#include "voxgrad/autograd/record.hpp"
#include "voxgrad/io/keras_weights_write.hpp"
#include "voxgrad/nn/keras_state.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

const std::string goldens = VOXGRAD_SOURCE_DIR "/tests/golden/stardist/keras/";
const models::StarDist3dOptions tiny{.n_rays = 4, .unet_n_depth = 0, .unet_n_filter_base = 2, .unet_n_conv_per_depth = 1,
                                     .net_conv_after_unet = 2};
const char* const tiny_config =
    R"({"n_rays": 4, "unet_n_depth": 0, "unet_n_filter_base": 2, "unet_n_conv_per_depth": 1, "net_conv_after_unet": 2})";

/// The formula of make.py.
void check_values(nn::Module& net) {
  int64_t p = 0;
  for (const nn::Named& n : net.state()) {
    INFO(n.name);
    const auto v = n.tensor->span<float>();
    for (size_t i = 0; i < v.size(); ++i) CHECK(v[i] == float(100 * p + int64_t(i)));
    ++p;
  }
  CHECK(p == 8);
}

void age(const std::string& file, int hours) {
  std::filesystem::last_write_time(file, std::filesystem::file_time_type::clock::now() - std::chrono::hours(hours));
}

}  // namespace

TEST_CASE("Keras weights: every layout gives the same weights") {
  for (const auto& [name, version] : {std::pair{"keras2_fixed.h5", "2.2.4"}, {"keras2_variable.h5", "2.13.1"},
                                      {"keras3_model.h5", "3.3.3"}, {"split.h5", "2.13.1"}}) {
    INFO(name);
    const io::KerasWeights file = io::read_keras_weights(goldens + name);
    CHECK(file.keras_version == version);
    CHECK(file.backend == "tensorflow");
    REQUIRE(file.layers.size() == 4);
    CHECK(file.layers[0].name == "middle_1");
    CHECK(file.layers[0].weights[0].name == "kernel");
    models::StarDist3d net(tiny);
    load_keras_weights(goldens + name, net);
    check_values(net);
  }
}

TEST_CASE("Keras weights: what is written reads back, batch norm and all") {
  Scratch dir;
  models::StarDist3dOptions o = tiny;
  o.unet_batch_norm = true, o.n_classes = 2;
  models::StarDist3d net(o, Random(3)), copy(o, Random(4));
  float value = 0;
  for (const nn::KerasLayer& layer : nn::keras_layers(net))
    for (const auto& slot : layer.slots)
      for (float& v : slot.tensor->mutable_span<float>()) v = value += 0.5f;
  save_keras_weights(dir.file("w.h5"), net);
  load_keras_weights(dir.file("w.h5"), copy);
  const auto a = nn::keras_layers(net), b = nn::keras_layers(copy);
  for (size_t i = 0; i < a.size(); ++i)
    for (size_t k = 0; k < a[i].slots.size(); ++k)
      CHECK(std::memcmp(a[i].slots[k].tensor->raw(), b[i].slots[k].tensor->raw(), size_t(a[i].slots[k].tensor->size()) * 4) == 0);
  const io::KerasWeights file = io::read_keras_weights(dir.file("w.h5"));
  CHECK(file.layers[1].name == "middle_1.norm");
  CHECK(file.layers[1].weights[3].name == "moving_variance");
  CHECK(message_of<UsageError>([&] { io::write_keras_weights(dir.file("x.h5"), {{"a/b", {}}}); }) ==
        "write_keras_weights: a layer is called 'a/b'");
  CHECK_FALSE(std::filesystem::exists(dir.file("x.h5")));
}

TEST_CASE("Keras weights: another network, another order and other files are refused by name") {
  models::StarDist3d net(tiny);
  Scratch dir;
  std::vector<LayerWeights> layers = io::read_keras_weights(goldens + "split.h5").layers;
  std::swap(layers[0], layers[1]);
  const std::string wrong = dir.file("wrong.h5");
  io::write_keras_weights(wrong, layers);
  CHECK(message_of<FileError>([&] { load_keras_weights(wrong, net); }) ==
        wrong + ": layer 'features', number 1 with weights, has kernel 3x3x3x2x2, bias 2 (the network's 'middle_1' needs kernel "
                "3x3x3x1x2, bias 2). Is config.json the one these weights were trained with?");
  io::H5Writer plain(dir.file("plain.h5"));
  plain.create_group("/data");
  plain.commit();
  CHECK(message_of<FileError>([&] { load_keras_weights(dir.file("plain.h5"), net); }) ==
        dir.file("plain.h5") + ": holds no Keras weights (no attribute 'layer_names'). Expected a file written by Keras' "
                               "save_weights or by StarDist.");
  io::H5Writer newer(dir.file("new.weights.h5"));
  newer.create_group("/layers/conv3d/vars");
  newer.commit();
  CHECK(message_of<FileError>([&] { load_keras_weights(dir.file("new.weights.h5"), net); }).find("It is in Keras 3's own format") !=
        std::string::npos);
  io::H5Writer cut(dir.file("cut.h5"));
  cut.set_attribute("/", "layer_names", std::vector<std::string>{"conv3d"});
  cut.commit();
  CHECK(message_of<FileError>([&] { load_keras_weights(dir.file("cut.h5"), net); }) ==
        dir.file("cut.h5") + ": names a layer 'conv3d' but has no group /conv3d, the file is damaged.");
  io::H5Writer odd(dir.file("odd.h5"));
  odd.create_group("/conv3d");
  odd.set_attribute("/", "layer_names", std::vector<std::string>{"conv3d"});
  odd.set_attribute("/conv3d", "weight_names", std::vector<double>{1});
  odd.commit();
  CHECK(message_of<FileError>([&] { load_keras_weights(dir.file("odd.h5"), net); }) ==
        dir.file("odd.h5") + ": attribute 'weight_names' of /conv3d holds numbers (expected names).");
  io::H5Writer bare(dir.file("bare.h5"));
  bare.create_group("/conv3d");
  bare.set_attribute("/", "layer_names", std::vector<std::string>{"conv3d"});
  bare.commit();
  CHECK(message_of<FileError>([&] { load_keras_weights(dir.file("bare.h5"), net); }) ==
        dir.file("bare.h5") + ": /conv3d has no attribute 'weight_names', the file is damaged or was not written by Keras.");
}

TEST_CASE("StarDist folder: the newest best weights count, then the newest of all") {
  Scratch dir;
  write_file(dir.file("config.json"), tiny_config);
  CHECK(message_of<FileError>([&] { StarDistFolder::existing(dir.folder()); }) ==
        dir.folder() + ": holds no weights (expected a file *.h5 or *.hdf5, such as weights_best.h5).");
  models::StarDist3d net(tiny);
  const auto put = [&](const std::string& name, int hours) {
    save_keras_weights(dir.file(name), net);
    age(dir.file(name), hours);
  };
  put("weights_now.h5", 1);
  put("weights_last.hdf5", 2);
  const StarDistFolder folder = StarDistFolder::existing(dir.folder() + "/");
  CHECK(folder.path() == dir.folder());
  CHECK(folder.weights_file() == dir.file("weights_now.h5"));
  put("weights_best.h5", 5);
  CHECK(folder.weights_file() == dir.file("weights_best.h5"));
  put("best_of_all.h5", 3);
  CHECK(folder.weights_file() == dir.file("best_of_all.h5"));
  write_file(dir.file("best.txt"), "");
  std::filesystem::copy_file(goldens + "keras2_variable.h5", dir.file("the_best.h5"));
  const auto loaded = folder.network();
  CHECK_FALSE(loaded->training());
  check_values(*loaded);
  CHECK(message_of<FileError>([&] { StarDistFolder::existing(dir.file("none")); }) == dir.file("none") + ": no such model folder.");
  std::filesystem::remove(dir.file("config.json"));
  CHECK(message_of<FileError>([&] { StarDistFolder::existing(dir.folder()); }) ==
        dir.folder() + ": holds no StarDist model (no config.json).");
}

TEST_CASE("StarDist thresholds: each value falls back alone, with a note") {
  Scratch dir;
  write_file(dir.file("config.json"), tiny_config);
  models::StarDist3d net(tiny);
  save_keras_weights(dir.file("weights_best.h5"), net);
  const StarDistFolder folder = StarDistFolder::existing(dir.folder());
  const std::string file = folder.path() + "/thresholds.json";
  StarDistThresholds t = folder.thresholds();
  CHECK((t.prob == 0.5 && t.nms == 0.4));
  REQUIRE(t.notes.size() == 1);
  CHECK(t.notes[0] == dir.folder() + ": holds no thresholds.json, so prob 0.5 and nms 0.4 are used.");
  save_stardist_thresholds(file, 0.45605700051352493, 0.3);
  t = folder.thresholds();
  CHECK((t.prob == 0.45605700051352493 && t.nms == 0.3 && t.notes.empty()));
  write_file(file, R"({"prob": 1.0})");
  t = folder.thresholds();
  CHECK((t.prob == 0.5 && t.nms == 0.4));
  REQUIRE(t.notes.size() == 2);
  CHECK(t.notes[0] == file + ": 'prob' is 1.0, not a number between 0 and 1, so 0.5 is used.");
  CHECK(t.notes[1] == file + ": 'nms' is missing, not a number between 0 and 1, so 0.4 is used.");
  write_file(file, R"({"prob": null, "nms": 0.2})");
  CHECK(folder.thresholds().nms == 0.2);
  write_file(file, "[0.5]");
  CHECK(message_of<FileError>([&] { folder.thresholds(); }) ==
        file + ": is not a JSON object (expected {\"prob\": P, \"nms\": T}).");
  CHECK(message_of<UsageError>([&] { save_stardist_thresholds(file, 0, 0.3); }) ==
        "thresholds: prob is 0 (expected a number between 0 and 1)");
}
