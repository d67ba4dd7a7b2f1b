// SPDX-License-Identifier: BSD-3-Clause
// Configurations: the published forms, precedence, and every message.

#include "common/config.hpp"

#include <cstdlib>
#include <filesystem>

#include "apps/throws.hpp"
#include "catch.hpp"
#include "common/files.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

/// An experiment file with everything that the published ones have.
const char* const published = R"(dataset: data/80-20_calcium_dataset.h5
model_config:
  first_kernel_size: 3
  inC: 1
  n_layer: 5
  nbf: 8
  outC: 1
  r: 1
  use_batch_norm: true
  use_leaky_relu: true
project: ATD
root: data/baselines/UNet3D/models
seed: 45
training_config:
  batch_size: 128
  drop_last: false
  inference_batch_size: 4
  num_steps: 100000
  num_workers: 10
  optimizer:
  - adam
  - betas: !!python/tuple
    - 0.9
    - 0.999
    lr: 0.0002
  samples_pu:
    path: data/training-samples_subset_64.json
    positive: subset-0.25-3
    unlabeled: 64
  train_folds: !!python/list
  - train
  valid_folds: !!python/list
  - valid
  valid_interval: 100
  weighted_loader: false
type: unet3d
)";

Config of(const std::string& yaml) {
  Config config;
  config.read_text(yaml, "e.yaml");
  return config;
}

std::string refusal(const std::string& yaml) {
  return message_of<UsageError>([&] { train_config(of(yaml)); });
}

}  // namespace

TEST_CASE("a published experiment loads unchanged, tags included") {
  const Config config = of(published);
  const TrainConfig c = train_config(config);
  CHECK(c.seed == 45);
  CHECK(c.dataset == "data/80-20_calcium_dataset.h5");
  CHECK(c.root == "data/baselines/UNet3D/models");
  CHECK(c.model.nbf == 8);
  CHECK(c.model.use_leaky_relu);
  CHECK(c.training.batch_size == 128);
  CHECK(c.training.optimizer.name == "adam");
  CHECK(c.training.optimizer.lr == 2e-4);
  CHECK(c.training.optimizer.beta1 == 0.9);
  CHECK(c.training.optimizer.beta2 == 0.999);
  CHECK(c.training.train_folds == std::vector<std::string>{"train"});
  CHECK(samples_key(c.training) == "subset-0.25-3-1:64");
  CHECK(reference_model_name(c) == "unet3D-ZeroCostDL4Mic_subset-0.25-3_1-64_45");
  REQUIRE(config.notes().size() == 2);
  CHECK(config.notes()[0] ==
        "e.yaml:11: project is kept for the record and has no effect (a name for the record).");
  CHECK(config.notes()[1].rfind("e.yaml:19: training_config.num_workers is kept for the record", 0) == 0);
}

TEST_CASE("the struct's own defaults are those of the table") {
  const TrainConfig table = train_config(Config());
  const TrainConfig own;
  CHECK(table.seed == own.seed);
  CHECK(table.model.nbf == own.model.nbf);
  CHECK(table.model.n_layer == own.model.n_layer);
  CHECK(table.training.batch_size == own.training.batch_size);
  CHECK(table.training.num_steps == own.training.num_steps);
  CHECK(table.training.valid_interval == own.training.valid_interval);
  CHECK(table.training.checkpoint_interval == own.training.checkpoint_interval);
  CHECK(table.training.patch_size == own.training.patch_size);
  CHECK(table.training.crop_size == own.training.crop_size);
  CHECK(table.training.optimizer.lr == own.training.optimizer.lr);
  CHECK(table.training.optimizer.eps == own.training.optimizer.eps);
  CHECK(table.training.valid_proportion == own.training.valid_proportion);
  CHECK(table.training.valid_folds == own.training.valid_folds);
  CHECK(table.training.samples_unlabeled == own.training.samples_unlabeled);
  CHECK(table.training.schedule.patience == own.training.schedule.patience);
}

TEST_CASE("the forms an optimizer may take") {
  const auto lr = [](const std::string& form) {
    return train_config(of("training_config:\n  optimizer: " + form)).training.optimizer;
  };
  CHECK(lr("{lr: 0.001}").lr == 0.001);
  CHECK(lr("{name: sgd, momentum: 0.9}").momentum == 0.9);
  CHECK(lr("[adamw, {weight_decay: 0.01}]").name == "adamw");
  CHECK(lr("[sgd]").name == "sgd");
  CHECK(lr("adamw").name == "adamw");
  CHECK(refusal("training_config:\n  optimizer: [adam, 0.1]") ==
        "e.yaml:2: training_config.optimizer is a list (expected a map such as {name: adam, lr: 0.0002} or a "
        "list such as "
        "[adam, {lr: 0.0002}]).");
  CHECK(refusal("training_config:\n  optimizer: adma") ==
        "e.yaml:2: training_config.optimizer.name is 'adma' (expected one of adam, adamw, sgd). Did you mean "
        "'adam'?");
  CHECK(refusal("training_config:\n  optimizer: [adam, {betas: [0.9]}]") ==
        "e.yaml:2: training_config.optimizer.betas has 1 entries (expected a list of two numbers from 0 to "
        "0.9999999).");
}

TEST_CASE("bad values name the line, the key, what was found and what is allowed") {
  CHECK(refusal("seed: 1\n\ntraining_config:\n  batch_size: auto\n") ==
        "e.yaml:4: training_config.batch_size is 'auto' (expected an integer from 1 to 4096).");
  CHECK(refusal("training_config: {batch_size: 0}") ==
        "e.yaml:1: training_config.batch_size is '0' (expected an integer from 1 to 4096).");
  CHECK(refusal("training_config: {batch_size: [1, 2]}") ==
        "e.yaml:1: training_config.batch_size is a list (expected an integer from 1 to 4096).");
  CHECK(refusal("training_config: {batch_size: }") ==
        "e.yaml:1: training_config.batch_size is empty (expected an integer from 1 to 4096).");
  CHECK(refusal("training_config: {flip: maybe}") ==
        "e.yaml:1: training_config.flip is 'maybe' (expected true or false).");
  CHECK(refusal("training_config: {samples_pu: {unlabeled: d}}") ==
        "e.yaml:1: training_config.samples_pu.unlabeled is 'd' (expected an integer from 0 to 65536, or c).");
  CHECK(refusal("training_config: {train_folds: []}") ==
        "e.yaml:1: training_config.train_folds has 0 entries (expected a list of texts).");
  CHECK(refusal("training_config: 8") == "e.yaml:1: training_config is '8' (expected a map of keys).");
  CHECK(refusal("- seed") == "e.yaml:1: is a list, but a configuration is a map of keys.");
  CHECK(refusal("seed: [1").rfind("e.yaml:", 0) == 0);
  CHECK(refusal("seed: [1").find(": is not valid YAML (") != std::string::npos);
}

TEST_CASE("unknown keys are errors with a suggestion, repeated keys are errors") {
  CHECK(refusal("sede: 4") ==
        "e.yaml:1: unknown key 'sede'. Did you mean 'seed'? All keys: voxgrad train --help-config.");
  CHECK(refusal("training_config:\n  bach_size: 4") ==
        "e.yaml:2: unknown key 'training_config.bach_size'. Did you mean 'training_config.batch_size'? All "
        "keys: voxgrad "
        "train --help-config.");
  CHECK(refusal("seed: 1\nseed: 2") == "e.yaml:2: seed is given twice.");
}

TEST_CASE("a published StarDist configuration is read with the keys of its script") {
  const Config c = of("model-name: m\ntrain-folds: [train]\nsamples_pu: {path: s.json, positive: subset-0.25-1, unlabeled: 64}\nrandom-state: 3\nbasedir: b\n");
  CHECK(c.text("type") == "stardist3d");
  CHECK(c.text("stardist_config.model_name") == "m");
  CHECK(c.text("training_config.samples_pu.unlabeled") == "64");
  CHECK(c.integer("seed") == 3);
  CHECK(c.text("root") == "b");
  CHECK(c.text("dataset") == "data/80-20_calcium_dataset.h5");
  CHECK(train_config(c).type == "stardist3d");
  CHECK(refusal("model-name: m\nsamples_pu: {paht: x}").find("unknown key 'training_config.samples_pu.paht'. Did you mean 'training_config.samples_pu.path'?") !=
        std::string::npos);
}

TEST_CASE("checks across keys") {
  CHECK(refusal("training_config: {patch_size: 48}") ==
        "e.yaml:1: training_config.patch_size is 48 (expected a multiple of 32, because the network halves "
        "its input 5 "
        "times).");
  CHECK(refusal("training_config: {crop_size: 16}") ==
        "e.yaml:1: training_config.crop_size is 16 (expected at least patch_size, 32).");
  CHECK(refusal("model_config: {first_kernel_size: 4}") ==
        "e.yaml:1: model_config.first_kernel_size is 4 (expected an odd number).");
}

TEST_CASE("later sources win, and each value knows where it came from") {
  Config config = of("seed: 1\ntraining_config: {batch_size: 4, num_steps: 10}");
  config.read_text("seed: 2", "late.yaml");
  config.assign("training_config.batch_size=16");
  config.set("training_config.num_steps", "20", "--steps");
  CHECK(config.integer("seed") == 2);
  CHECK(config.origin("seed") == "late.yaml:1");
  CHECK(config.origin("training_config.batch_size") == "--set training_config.batch_size=16");
  CHECK(config.integer("training_config.num_steps") == 20);
  CHECK(!config.given("training_config.flip"));
  CHECK(config.yaml(true).find("  batch_size: 16  # --set training_config.batch_size=16\n") !=
        std::string::npos);
  CHECK(config.yaml(true).find("  flip: true  # default\n") != std::string::npos);
}

TEST_CASE("--set takes lists and names itself in errors") {
  Config config;
  config.assign("training_config.train_folds=[a, b]");
  CHECK(config.texts("training_config.train_folds") == std::vector<std::string>{"a", "b"});
  const auto set = [](const char* text) { return message_of<UsageError>([&] { Config().assign(text); }); };
  CHECK(set("training_config.batch_size") ==
        "--set training_config.batch_size: has no '='. Write --set training_config.batch_size=8.");
  CHECK(set("seed=x") == "--set seed=x: seed is 'x' (expected an integer from 0 to 9007199254740992).");
  CHECK(set("sed=1") ==
        "--set sed=1: unknown key 'sed'. Did you mean 'seed'? All keys: voxgrad train --help-config.");
}

TEST_CASE("what is written reads back as the same configuration, sorted as the reference sorts") {
  Config config = of(published);
  config.set("training_config.optimizer.lr", "2e-5", "test");
  config.set("dataset", "'my movies: #1.h5'", "test");
  config.set("training_config.samples_pu.positive", "\"12\"", "test");
  config.set("training_config.train_folds", "['yes', '1', a b]", "test");
  const std::string yaml = config.yaml(false);
  const Config again = of(yaml);
  CHECK(again.yaml(false) == yaml);
  for (const ConfigKey& key : config_keys()) CHECK(again.texts(key.path) == config.texts(key.path));
  CHECK(yaml.find("dataset:") < yaml.find("model_config:\n"));
  CHECK(yaml.find("model_config:\n") < yaml.find("seed:"));
  CHECK(yaml.find("seed:") < yaml.find("training_config:\n"));
  CHECK(yaml.find("  optimizer:\n    betas: [0.9, 0.999]\n    eps: 1.0e-08\n    lr: 2.0e-5\n") !=
        std::string::npos);
}

TEST_CASE("every key is explained") {
  const std::string help = config_help(80), page = config_markdown();
  for (const ConfigKey& key : config_keys()) {
    CHECK(!key.meaning.empty());
    CHECK(help.find("\n" + key.path + "  [") != std::string::npos);
    CHECK(page.find("| `" + key.path + "` |") != std::string::npos);
  }
}

TEST_CASE("the configurations that come with the program load without remarks") {
  int count = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(VOXGRAD_SOURCE_DIR) + "/configs")) {
    Config config;
    config.read_file(entry.path().string());
    CHECK(config.notes().empty());
    const TrainConfig made = train_config(config);
    const std::string name =
        made.training.samples_positive + "_1-" + made.training.samples_unlabeled + ".yaml";
    const std::string file = entry.path().filename().string();
    CHECK((file == name || file == "small.yaml" || file.rfind("stardist3d_", 0) == 0));
    ++count;
  }
  CHECK(count == 6);
}

TEST_CASE("docs/config.md is the page the program writes") {
  CHECK(read_file(std::string(VOXGRAD_SOURCE_DIR) + "/docs/config.md") == config_markdown());
}

TEST_CASE("a missing, huge or binary file is a clean error") {
  CHECK(message_of<FileError>([] { Config().read_file("no-such.yaml"); }) == "no-such.yaml: no such file.");
  CHECK(message_of<UsageError>([] { of(std::string(3, '\0') + "\x01\xff{{{["); }).rfind("e.yaml", 0) == 0);
  CHECK(message_of<UsageError>([] { of(std::string(100000, '[')); }).rfind("e.yaml", 0) == 0);
}

TEST_CASE("a configuration saved by the reference loads") {
  const char* shared = std::getenv("VOXGRAD_SHARED");
  const std::string folder = shared ? shared : std::string(VOXGRAD_SOURCE_DIR) + "/../shared";
  const std::string file = folder + "/data/golden/torch/unet3d_small_config.yaml";
  if (!std::filesystem::exists(file)) {
    WARN("skipped: the folder of golden files (VOXGRAD_SHARED) is not here");
    return;
  }
  Config config;
  config.read_file(file);
  CHECK(config.given("model_config.nbf"));
}
