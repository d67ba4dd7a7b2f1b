// SPDX-License-Identifier: BSD-3-Clause
// Model folders: what is stored comes back, what is damaged is refused with a reason.

#include "common/model_folder.hpp"

#include <filesystem>

#include "apps/scratch.hpp"
#include "apps/throws.hpp"
#include "apps/tiny.hpp"
#include "catch.hpp"
#include "common/files.hpp"
#include "common/trainer.hpp"
#include "voxgrad/autograd/record.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

std::vector<float> values(nn::Module& net) {
  std::vector<float> all;
  for (const nn::Named& n : net.state()) all.insert(all.end(), n.tensor->span<float>().begin(), n.tensor->span<float>().end());
  return all;
}

/// A folder with weights and a configuration, as train leaves it.
void write_model(const std::string& folder, uint64_t seed = 3) {
  Config config;
  config.assign("model_config.n_layer=2");
  config.assign("model_config.nbf=2");
  config.assign("training_config.patch_size=8");
  config.assign("training_config.crop_size=16");
  std::filesystem::create_directories(folder);
  write_file(folder + "/config.yaml", config.yaml(false));
  save_weights(folder + "/weights.safetensors", *make_network(tiny_config(1).model, seed), {{"step", "7"}});
}

}  // namespace

TEST_CASE("model folder: weights and configuration come back to the bit; the latest only when asked") {
  Scratch dir;
  const std::string path = dir.file("models/first");
  write_model(path);
  const auto latest = make_network(tiny_config(1).model, 4);
  save_weights(path + "/checkpoint.safetensors", *latest, {});
  const ModelFolder folder = ModelFolder::existing(path + "//");
  CHECK(folder.path() == path);
  CHECK(folder.name() == "first");
  CHECK(train_config(folder.config()).model.nbf == 2);
  const auto best = folder.network();
  CHECK_FALSE(best->training());
  CHECK((values(*best) == values(*make_network(tiny_config(1).model, 3))));
  CHECK((values(*folder.network(true)) == values(*latest)));
  std::filesystem::remove(path + "/weights.safetensors");
  CHECK((values(*ModelFolder::existing(path).network()) == values(*latest)));
  const auto other = make_network(tiny_config(1).model, 8);
  write_model(path);
  CHECK(load_weights(path + "/weights.safetensors", *other).at("step") == "7");
  CHECK((values(*other) == values(*best)));
}

TEST_CASE("model folder: a checkpoint gives the optimiser back, and its weights alone to load_weights") {
  Scratch dir;
  const auto net = make_network(tiny_config(1).model, 3), copy = make_network(tiny_config(1).model, 4);
  const auto adam = make_optimizer({}, *net), again = make_optimizer({}, *copy);
  for (const nn::Named& n : adam->state())
    for (float& v : n.tensor->mutable_span<float>()) v = float(n.name.size());
  adam->set_step_count(12);
  save_checkpoint(dir.file("c"), *net, *adam, {{"step", "12"}});
  CHECK(load_checkpoint(dir.file("c"), *copy, *again).at("step") == "12");
  CHECK((values(*copy) == values(*net)));
  CHECK(again->step_count() == 12);
  for (const nn::Named& n : again->state()) CHECK(n.tensor->span<float>()[0] == float(n.name.size()));
  const auto third = make_network(tiny_config(1).model, 5);
  load_weights(dir.file("c"), *third);
  CHECK((values(*third) == values(*net)));
}

TEST_CASE("model folder: weights of another shape are refused by name") {
  Scratch dir;
  write_model(dir.folder());
  ModelConfig wide = tiny_config(1).model;
  wide.nbf = 4;
  const auto net = make_network(wide, 1);
  const std::string path = dir.file("weights.safetensors");
  const std::string message = message_of<FileError>([&] { load_weights(path, *net); });
  CHECK(message.rfind(path + ": ", 0) == 0);
  CHECK(message.find("'bottleneck.dilated_conv.0.weight' is [3x3x3x4x8], the network needs [3x3x3x8x16]") != std::string::npos);
  CHECK(message.find(". Is config.yaml the one these weights were trained with?") != std::string::npos);
  ModelConfig deep = tiny_config(1).model;
  deep.n_layer = 3;
  CHECK_THROWS_AS(load_weights(path, *make_network(deep, 1)), FileError);
  deep.n_layer = 1;
  CHECK_THROWS_AS(load_weights(path, *make_network(deep, 1)), FileError);
}

TEST_CASE("model folder: damaged weights are refused, wherever the damage is") {
  Scratch dir;
  write_model(dir.folder());
  const std::string path = dir.file("weights.safetensors"), good = read_file(path);
  const ModelFolder folder = ModelFolder::existing(dir.folder());
  for (const size_t length : {size_t(0), size_t(5), size_t(8), size_t(100), good.size() / 2, good.size() - 1}) {
    INFO("cut to " << length);
    write_file(path, good.substr(0, length));
    CHECK(message_of<FileError>([&] { folder.network(); }).rfind(path + ": ", 0) == 0);
  }
  write_file(path, "PK\x03\x04 something else entirely, long enough for a header");
  CHECK(message_of<FileError>([&] { folder.network(); }).find("is no file of weights but: zip archive (expected safetensors, or what torch.save wrote).") != std::string::npos);
  std::string bad = good;
  bad[20] = '\x01';  // inside the JSON header
  write_file(path, bad);
  CHECK_THROWS_AS(folder.network(), FileError);
}

TEST_CASE("model folder: a damaged configuration in it is a damaged file, not wrong usage") {
  Scratch dir;
  write_model(dir.folder());
  const ModelFolder folder = ModelFolder::existing(dir.folder());
  for (const std::string yaml : {"model_config: {nbf: many}\n", "model_config: [\n", "no_such_key: 3\n", "\x01\x02\xff\n"}) {
    INFO(yaml);
    write_file(folder.config_file(), yaml);
    CHECK(message_of<FileError>([&] { folder.config(); }).rfind(folder.config_file() + ":", 0) == 0);
  }
  write_file(folder.config_file(), "model_config: {nbf: many}\n");
  CHECK(message_of<FileError>([&] { folder.network(); }).find("model_config.nbf is 'many' (expected an integer from ") != std::string::npos);
}

TEST_CASE("model folder: what is no model says what it is") {
  Scratch dir;
  const auto refusal = [&](const std::string& name) { return message_of<FileError>([&] { ModelFolder::existing(dir.file(name)); }); };
  CHECK(refusal("none") == dir.file("none") + ": no such model folder.");
  make_folders(dir.file("empty"));
  CHECK(refusal("empty") == dir.file("empty") + ": holds no model (expected config.yaml and weights.safetensors or results.pt). Train one with: voxgrad train");
  write_model(dir.file("bare"));
  std::filesystem::remove(dir.file("bare/config.yaml"));
  CHECK(refusal("bare") == dir.file("bare") + ": holds weights but no config.yaml, which says how the network is built.");
  make_folders(dir.file("torch"));
  write_file(dir.file("torch/results.pt"), "PK");
  CHECK(refusal("torch") == dir.file("torch") + ": holds weights but no config.yaml, which says how the network is built.");
  make_folders(dir.file("keras"));
  write_file(dir.file("keras/weights_best.h5"), "H");
  CHECK(refusal("keras").find("is a StarDist model folder (weights_best.h5)") != std::string::npos);
}

TEST_CASE("thresholds: round trip, one does not erase the other, text files as the reference has them") {
  Scratch dir;
  const ModelFolder folder(dir.folder());
  CHECK_FALSE(folder.thresholds().segmentation);
  CHECK_FALSE(folder.thresholds().detection);
  folder.save_thresholds({.segmentation = 0.1 + 0.2, .detection = {}, .method = "m \"q\"", .data = "d.h5", .date = "2026-01-02"});
  CHECK(*folder.thresholds().segmentation == 0.1 + 0.2);
  CHECK_FALSE(folder.thresholds().detection);
  CHECK(folder.thresholds().method == "m \"q\"");
  CHECK(read_file(dir.file("optimized-threshold-segmentation")) == "0.30000000000000004");
  CHECK_FALSE(std::filesystem::exists(dir.file("optimized-threshold-detection")));
  folder.save_thresholds({.segmentation = {}, .detection = 0.74, .method = "", .data = "e.h5", .date = ""});
  CHECK(*folder.thresholds().segmentation == 0.1 + 0.2);
  CHECK(*folder.thresholds().detection == 0.74);
  CHECK(folder.thresholds().data == "e.h5");
  CHECK(read_file(dir.file("optimized-threshold-detection")) == "0.74");
}

TEST_CASE("thresholds: the reference's text files count where there is no JSON") {
  Scratch dir;
  const ModelFolder folder(dir.folder());
  write_file(dir.file("optimized-threshold"), "0.61\r\n");  // the notebook's name
  CHECK(*folder.thresholds().segmentation == 0.61);
  write_file(dir.file("optimized-threshold-segmentation"), "0.5 \n");
  write_file(dir.file("optimized-threshold-detection"), "1");
  CHECK(*folder.thresholds().segmentation == 0.5);
  CHECK(*folder.thresholds().detection == 1);
  for (const std::string wrong : {"abc", "", "1.5", "0.5 0.6", "nan"}) {
    write_file(dir.file("optimized-threshold-detection"), wrong);
    CHECK(message_of<FileError>([&] { folder.thresholds(); }) ==
          dir.file("optimized-threshold-detection") + ": is '" + wrong + "' (expected one number from 0 to 1).");
  }
}

TEST_CASE("thresholds: a damaged JSON file is refused") {
  Scratch dir;
  const ModelFolder folder(dir.folder());
  const auto refusal = [&](const std::string& json) {
    write_file(dir.file("thresholds.json"), json);
    return message_of<FileError>([&] { folder.thresholds(); });
  };
  const std::string path = dir.file("thresholds.json");
  for (const std::string json : {"", "{\"segmentation\": 0.5", "[0.5]", "0.5", "\xff\xfe"})
    CHECK(refusal(json) == path + ": is not a JSON object. Choose thresholds again with: voxgrad optimize");
  CHECK(refusal("{\"segmentation\": \"high\"}") == path + ": 'segmentation' is \"high\" (expected a number from 0 to 1).");
  CHECK(refusal("{\"detection\": -0.5}") == path + ": 'detection' is -0.5 (expected a number from 0 to 1).");
  CHECK(refusal("{\"detection\": null, \"method\": 3}") == "(nothing thrown)");
  CHECK_FALSE(folder.thresholds().detection);
}
