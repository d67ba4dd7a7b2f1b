// SPDX-License-Identifier: BSD-3-Clause
// Models to PyTorch's and StarDist's formats and back, to the bit; bundles; and what does not go.

#include "common/model_convert.hpp"

#include <filesystem>
#include <fstream>

#include "apps/run_command.hpp"
#include "apps/scratch.hpp"
#include "apps/shared_data.hpp"
#include "apps/throws.hpp"
#include "catch.hpp"
#include "common/files.hpp"
#include "common/model_bundle.hpp"
#include "common/stardist_config.hpp"
#include "common/stardist_folder.hpp"
#include "common/torch_model.hpp"
#include "common/trainer.hpp"
#include "npy.hpp"
#include "voxgrad/io/keras_weights.hpp"
#include "voxgrad/io/safetensors.hpp"
#include "voxgrad/io/stored_zip_write.hpp"

namespace fs = std::filesystem;
using namespace voxgrad;
using namespace voxgrad::app;

namespace {

const std::string reference = test::golden("torch_archive/reference");

test::Ran convert(const std::vector<std::string>& words) { return test::run_command(make_convert(), words); }

/// A model as train leaves it, with a checkpoint whose moments are all different; `more` settings besides.
void write_model(const std::string& folder, const std::vector<std::string>& more = {}) {
  Config config;
  for (const char* key : {"model_config.n_layer=2", "model_config.nbf=2", "training_config.patch_size=8", "training_config.crop_size=16"}) config.assign(key);
  for (const std::string& key : more) config.assign(key);
  make_folders(folder);
  write_file(folder + "/config.yaml", config.yaml(false));
  const TrainConfig c = train_config(config);
  const auto best = make_network(c.model, 3), latest = make_network(c.model, 4);
  const auto adam = make_optimizer(c.training.optimizer, *latest);
  float v = 0.25f;
  for (const nn::Named& n : adam->state())
    for (float& x : n.tensor->mutable_span<float>()) x = (v += 0.5f);
  for (const nn::Named& n : latest->state())
    if (n.name.ends_with("num_batches_tracked")) *n.tensor = Tensor::scalar(41);
  adam->set_step_count(41);
  const Metadata m = {{"format", "voxgrad"}, {"step", "41"}, {"epoch", "3"}, {"position", "7"}, {"best", "0.1"}, {"config_hash", "00ff"}, {"loss_state", "1.5 2"}};
  save_weights(folder + "/weights.safetensors", *best, m);
  save_checkpoint(folder + "/checkpoint.safetensors", *latest, *adam, m);
  write_file(folder + "/train.csv", "step,loss\n0,0.3333333333333333\n1,1e-05\n");
  write_file(folder + "/valid.csv", "step,loss,min-loss,max-loss,std-loss\n1,0.1,0.05,0.25,0.125\n");
  ModelFolder(folder).save_thresholds({.segmentation = 0.1 + 0.2, .detection = 0.74, .method = "m", .data = "d", .date = "2026-01-02"});
}

void write_stardist(const std::string& folder, bool resnet) {
  StarDistConfig config;
  if (resnet) config.network.backbone = models::StarDistBackbone::resnet;
  config.network.unet_n_filter_base = config.network.resnet_n_filter_base = config.network.net_conv_after_unet = config.network.net_conv_after_resnet = 2;
  config.network.resnet_n_blocks = 2;
  config.network.resnet_batch_norm = resnet;
  config.network.grid = {1, 2, 2};
  make_folders(folder);
  write_file(folder + "/config.json", stardist_config_json(config));
  models::StarDist3d net(config.network, Random(7));
  save_keras_weights(folder + "/weights_best.h5", net);
  save_stardist_thresholds(folder + "/thresholds.json", 0.61, 0.35);
}

bool same_keras(const std::string& a, const std::string& b) {
  const auto x = io::read_keras_weights(a).layers, y = io::read_keras_weights(b).layers;
  bool same = x.size() == y.size();
  for (size_t i = 0; same && i < x.size(); ++i)
    for (size_t k = 0; same && k < x[i].weights.size(); ++k) {
      const Tensor &s = x[i].weights[k].tensor, &t = y[i].weights[k].tensor;
      same = x[i].name == y[i].name && s.shape() == t.shape() && std::memcmp(s.raw(), t.raw(), size_t(s.size()) * 4) == 0;
    }
  return same;
}

}  // namespace

TEST_CASE("convert: a model of ours goes to PyTorch and back to the same bytes") {
  const Scratch s;
  write_model(s.file("first"));
  const auto files = convert_model(s.file("first"), s.file("torch"), ModelForm::reference);
  CHECK(files == std::vector<std::string>{s.file("torch/config.yaml"), s.file("torch/results.pt"), s.file("torch/checkpoint.pt"),
                                          s.file("torch/Quality Control/train-stats.csv"), s.file("torch/Quality Control/valid-stats.csv"),
                                          s.file("torch/optimized-threshold-segmentation"), s.file("torch/optimized-threshold-detection")});
  CHECK(model_form(s.file("torch")) == ModelForm::reference);
  CHECK(read_file(s.file("torch/Quality Control/train-stats.csv")) == ",step,loss\n0,0,0.3333333333333333\n1,1,1e-05\n");
  CHECK(read_file(s.file("torch/Quality Control/valid-stats.csv")) == ",step,loss,min-loss,max-loss,std-loss\n0,1,0.1,0.05,0.25,0.125\n");
  write_file(s.file("first/valid.csv"), "");  // no validation yet: pandas' frame has no columns then
  convert_model(s.file("first"), s.file("early"), ModelForm::reference);
  CHECK(read_file(s.file("early/Quality Control/valid-stats.csv")) == "\"\"\n");
  write_file(s.file("first/valid.csv"), "step,loss,min-loss,max-loss,std-loss\n1,0.1,0.05,0.25,0.125\n");
  convert_model(s.file("torch"), s.file("back"), ModelForm::voxgrad);
  for (const char* name : {"config.yaml", "weights.safetensors", "checkpoint.safetensors", "train.csv", "valid.csv"}) {
    INFO(name);
    CHECK((read_file(s.file(std::string("first/") + name)) == read_file(s.file(std::string("back/") + name))));
  }
  CHECK(*ModelFolder(s.file("back")).thresholds().segmentation == 0.1 + 0.2);
  CHECK(*ModelFolder(s.file("back")).thresholds().detection == 0.74);
  io::TorchArchive archive(s.file("torch/checkpoint.pt"));
  CHECK(archive.find("model.down_convs.1.convs.4.num_batches_tracked")->type->name == "int64");
  CHECK(archive.find("model.up_convs.0.upconv.weight")->shape == std::vector<int64_t>{8, 4, 3, 3, 3});
}

TEST_CASE("convert: AdamW and SGD leave what PyTorch's own optimisers would, and come back to the same bytes") {
  const std::string name = "training_config.optimizer.name=", o = "optimizer.param_groups.0.";
  const std::vector<std::string> adam = {"lr", "betas.0", "betas.1", "eps", "weight_decay", "amsgrad", "maximize", "foreach", "capturable", "decoupled_weight_decay", "differentiable", "fused"},
                                 sgd = {"lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize", "foreach", "differentiable", "fused"};
  struct Case {
    std::vector<std::string> settings, group, tensors;
  };
  const std::vector<Case> cases = {{{name + "adam"}, adam, {"exp_avg", "exp_avg_sq"}},
                                   {{name + "adamw", "training_config.optimizer.weight_decay=0.125"}, adam, {"exp_avg", "exp_avg_sq"}},
                                   {{name + "sgd", "training_config.optimizer.momentum=0.75", "training_config.optimizer.weight_decay=0.25"}, sgd, {"momentum_buffer"}},
                                   {{name + "sgd"}, sgd, {}}};
  for (const Case& c : cases) {
    INFO(c.settings[0] << " " << c.tensors.size());
    const Scratch s;
    write_model(s.file("first"), c.settings);
    convert_model(s.file("first"), s.file("torch"), ModelForm::reference);
    io::TorchArchive archive(s.file("torch/checkpoint.pt"));
    std::vector<std::string> group, tensors;
    std::map<std::string, decltype(io::TorchScalar::value)> values;
    for (const io::TorchScalar& v : archive.scalars()) {
      values[v.name] = v.value;
      if (v.name.starts_with(o) && !v.name.starts_with(o + "params.")) group.push_back(v.name.substr(o.size()));
    }
    for (const io::TorchTensor& t : archive.tensors())
      if (t.name.starts_with("optimizer.state.0.")) tensors.push_back(t.name.substr(18));
    CHECK(group == c.group);
    CHECK(tensors == c.tensors);
    CHECK(values.contains("optimizer.state.0.step") == (c.group == adam));
    if (c.group == adam) CHECK(std::get<bool>(values.at(o + "decoupled_weight_decay")) == (c.settings[0] == name + "adamw"));
    if (c.settings.size() == 2) CHECK(std::get<double>(values.at(o + "weight_decay")) == 0.125);
    if (c.settings.size() == 3) {
      CHECK(std::get<double>(values.at(o + "momentum")) == 0.75);
      const std::string parameter = "bottleneck.conv2.bias";  // the fourth parameter, of one axis
      io::SafeTensors file(s.file("first/checkpoint.safetensors"));
      const Tensor here = file.tensor("optimizer/momentum/" + parameter), there = archive.tensor(*archive.find("optimizer.state.3.momentum_buffer"));
      REQUIRE(here.shape() == there.shape());
      CHECK(std::memcmp(here.raw(), there.raw(), size_t(here.size()) * 4) == 0);
    }
    CHECK(has_torch_optimizer(s.file("torch/checkpoint.pt")));
    CHECK_FALSE(has_torch_optimizer(s.file("torch/results.pt")));
    convert_model(s.file("torch"), s.file("back"), ModelForm::voxgrad);
    for (const char* file : {"config.yaml", "weights.safetensors", "checkpoint.safetensors", "train.csv", "valid.csv"}) {
      INFO(file);
      CHECK((read_file(s.file(std::string("first/") + file)) == read_file(s.file(std::string("back/") + file))));
    }
    // Another optimiser than the configuration's is not taken for a fresh start.
    const bool is_sgd = c.group == sgd;
    const TrainConfig config = train_config(ModelFolder(s.file("first")).config());
    const auto net = make_network(config.model, 1);
    const auto other = make_optimizer({.name = is_sgd ? "adam" : "sgd", .momentum = is_sgd ? 0.0 : 0.5}, *net);
    const std::string is = is_sgd ? "sgd" : c.settings[0].substr(name.size()), wanted = is_sgd ? "adam" : "sgd";
    CHECK(message_of<FileError>([&] { load_torch_checkpoint(s.file("torch/checkpoint.pt"), *net, *other); }) ==
          s.file("torch/checkpoint.pt") + ": its optimiser is " + is + ", the configuration's " + wanted + ", so that it cannot be resumed with this optimiser. " +
              "Set training_config.optimizer.name to " + is + ", or start from its weights with --init.");
  }
}

TEST_CASE("convert: a published model goes on here, and back to PyTorch with every tensor as it was") {
  const Scratch s;
  convert_model(reference, s.file("ours"), ModelForm::voxgrad);
  CHECK(read_file(s.file("ours/train.csv")).rfind("step,loss\n0,", 0) == 0);
  CHECK(*ModelFolder(s.file("ours")).thresholds().segmentation == 0.375);
  convert_model(s.file("ours"), s.file("theirs"), ModelForm::reference);
  io::TorchArchive before(reference + "/results.pt"), after(s.file("theirs/checkpoint.pt"));
  size_t compared = 0;
  for (const io::TorchTensor& t : before.tensors()) {
    INFO(t.name);
    if (t.name.ends_with(".step")) continue;  // a tensor there, a whole number here, which every PyTorch takes
    const io::TorchTensor* other = after.find(t.name);
    REQUIRE(other);
    CHECK(other->shape == t.shape);
    CHECK(other->type == t.type);
    CHECK(before.bytes(t) == after.bytes(*other));
    ++compared;
  }
  CHECK(compared > 100);
}

TEST_CASE("convert: a file of weights alone becomes a model folder") {
  const Scratch s;
  convert_model(reference + "/results.pt", s.file("ours"), ModelForm::voxgrad);
  const ModelFolder folder = ModelFolder::existing(s.file("ours"));
  CHECK(train_config(folder.config()).model.n_layer == 2);
  CHECK(train_config(folder.config()).model.nbf == 1);
  convert_model(s.file("ours/weights.safetensors"), s.file("again"), ModelForm::reference);
  io::TorchArchive a(reference + "/results.pt"), b(s.file("again/results.pt"));
  for (const auto& [name, t] : network_tensors(b)) CHECK(b.bytes(*t) == a.bytes(*a.find("model." + name)));
  CHECK(message_of<FileError>([&] { convert_model(test::golden("torch_archive/layouts.pt"), s.file("no"), ModelForm::voxgrad); }).find("no network to make of it") !=
        std::string::npos);
  CHECK_FALSE(fs::exists(s.file("no")));
}

TEST_CASE("convert: StarDist folders there and back, both backbones") {
  const Scratch s;
  for (const bool resnet : {false, true}) {
    const std::string folder = s.file(resnet ? "resnet" : "unet");
    write_stardist(folder, resnet);
    convert_model(folder, folder + "-ours", ModelForm::voxgrad);
    CHECK(model_form(folder + "-ours") == ModelForm::voxgrad);
    CHECK(io::SafeTensors(folder + "-ours/weights.safetensors").metadata().at("normalization") == "percentile");
    convert_model(folder + "-ours", folder + "-back", ModelForm::stardist);
    CHECK(same_keras(folder + "/weights_best.h5", folder + "-back/weights_best.h5"));
    CHECK(read_file(folder + "/config.json") == read_file(folder + "-back/config.json"));
    CHECK(read_file(folder + "/thresholds.json") == read_file(folder + "-back/thresholds.json"));
  }
}

TEST_CASE("convert: StarDist models of the Python package there and back", "[shared]") {
  const std::string models = test::shared_data("data/golden/stardist/models", "StarDist folders");
  if (models.empty()) return;
  const Scratch s;
  for (const auto& entry : fs::directory_iterator(models)) {
    const std::string name = entry.path().filename().string();
    INFO(name);
    convert_model(entry.path().string(), s.file(name + "-ours"), ModelForm::voxgrad);
    convert_model(s.file(name + "-ours"), s.file(name), ModelForm::stardist);
    const auto x = io::read_keras_weights(entry.path().string() + "/weights_best.h5").layers, y = io::read_keras_weights(s.file(name + "/weights_best.h5")).layers;
    REQUIRE(x.size() == y.size());  // automatic names carry other numbers
    for (size_t i = 0; i < x.size(); ++i)
      for (size_t k = 0; k < x[i].weights.size(); ++k) {
        const Tensor &a = x[i].weights[k].tensor, &b = y[i].weights[k].tensor;
        CHECK((a.shape() == b.shape() && std::memcmp(a.raw(), b.raw(), size_t(a.size()) * 4) == 0));
      }
  }
}

TEST_CASE("convert: bundles hold a folder and an example, and give it back") {
  const Scratch s;
  write_model(s.file("first"));
  write_file(s.file("movie.tif"), "II*");
  CHECK(convert({s.file("first"), "--bundle", s.file("first.zip"), "--example", s.file("movie.tif")}).out == s.file("first.zip") + "\n");
  {
    const OpenedModel model(s.file("first.zip"));
    CHECK(model.bundle());
    CHECK(ModelFolder::existing(model.path()).name() == "first");
    CHECK((read_file(model.path() + "/checkpoint.safetensors") == read_file(s.file("first/checkpoint.safetensors"))));
    CHECK(read_file(model.path() + "/example/movie.tif") == "II*");
    write_file(s.file("where"), model.path());
  }
  CHECK_FALSE(fs::exists(read_file(s.file("where"))));
  CHECK(convert({s.file("first.zip"), "--export", "voxgrad", "--out", s.file("unpacked")}).code == 0);
  CHECK((read_file(s.file("unpacked/weights.safetensors")) == read_file(s.file("first/weights.safetensors"))));
  CHECK(convert({s.file("first.zip"), "--export", "reference", "--out", s.file("torch")}).code == 0);
  CHECK(model_form(s.file("torch")) == ModelForm::reference);
  CHECK_FALSE(OpenedModel(s.file("first")).bundle());
  const std::string whole = read_file(s.file("first.zip"));
  convert({s.file("first"), "--bundle", s.file("first.zip"), "--example", s.file("movie.tif"), "--overwrite"});
  CHECK((read_file(s.file("first.zip")) == whole));
}

TEST_CASE("convert: a bundle that would write elsewhere, or is damaged, is refused and leaves nothing") {
  const Scratch s;
  for (const std::string name : {"../evil", "m/../../evil", "/etc/evil", "m\\evil", "./m/x"}) {
    INFO(name);
    io::write_stored_zip(s.file("b.zip"), {{"m/voxgrad-bundle", "1"}, {"m/config.yaml", "seed: 1\n"}, {name, "x"}});
    CHECK(message_of<FileError>([&] { unpack_bundle(s.file("b.zip"), s.file("out")); }).find("would be written outside its folder; nothing was unpacked.") != std::string::npos);
    CHECK_FALSE(fs::exists(s.file("out")));
    CHECK_FALSE(fs::exists(s.file("evil")));
  }
  io::write_stored_zip(s.file("b.zip"), {{"m/voxgrad-bundle", "1"}, {"other/x", "x"}});
  CHECK(message_of<FileError>([&] { unpack_bundle(s.file("b.zip"), s.file("out")); }).find("is not below 'm/'") != std::string::npos);
  io::write_stored_zip(s.file("b.zip"), {{"m/config.yaml", "x"}});
  CHECK(message_of<FileError>([&] { unpack_bundle(s.file("b.zip"), s.file("out")); }).find("is a zip archive but no model bundle") != std::string::npos);
  io::write_stored_zip(s.file("b.zip"), {{"m/voxgrad-bundle", "1"}, {"m/config.yaml", "seed: 1\n"}});
  std::string bad = read_file(s.file("b.zip"));
  bad[bad.find("seed: 1")] = 'S';
  write_file(s.file("b.zip"), bad);
  CHECK(message_of<FileError>([&] { OpenedModel model(s.file("b.zip")); }).find("does not agree with its checksum") != std::string::npos);
}

TEST_CASE("convert: what does not go is said before anything is written") {
  const Scratch s;
  write_model(s.file("first"));
  write_stardist(s.file("star"), false);
  const auto refusal = [](const std::vector<std::string>& words) { return message_of<UsageError>([&] { convert(words); }); };
  CHECK(refusal({s.file("first")}) == "give either --export FORM with --out DIR, or --bundle FILE.zip.");
  CHECK(refusal({"--export", "reference"}).find("needs one model") == 0);
  CHECK(refusal({s.file("first"), "--export", "reference"}) == "--export needs a folder to write to: --out DIR");
  CHECK(refusal({s.file("first"), "--export", "voxgrad", "--out", s.file("x")}) == s.file("first") + ": is in the form 'voxgrad' already.");
  CHECK(refusal({s.file("first"), "--export", "stardist", "--out", s.file("x")}).find("is a U-Net, which StarDist's tools cannot open") != std::string::npos);
  CHECK(refusal({s.file("star"), "--export", "reference", "--out", s.file("x")}).find("is a StarDist model, which the published U-Net pipeline cannot open") != std::string::npos);
  CHECK(refusal({s.file("first"), "--export", "reference", "--out", s.file("star")}) == s.file("star") + ": exists already. Choose another --out, or --overwrite.");
  CHECK(message_of<FileError>([&] { convert({s.file("none"), "--export", "reference", "--out", s.file("x")}); }) == s.file("none") + ": no such file or model folder.");
  for (const std::string form : {"voxgrad", "reference", "stardist"})
    CHECK(message_of<FileError>([&] { convert({s.file("star/weights_best.h5"), "--export", form, "--out", s.file("x")}); }) ==
          s.file("star/weights_best.h5") + ": is an HDF5 file. Weights of Keras do not say how their network is built, the config.json beside them does; " +
              "give the folder that has both: " + s.file("star"));
  make_folders(s.file("lost"));
  fs::copy_file(s.file("star/weights_best.h5"), s.file("lost/w.h5"));
  CHECK(message_of<FileError>([&] { convert({s.file("lost/w.h5"), "--bundle", s.file("x")}); }) ==
        s.file("lost/w.h5") + ": is an HDF5 file. Weights of Keras do not say how their network is built, the config.json beside them does, which is not in " +
            s.file("lost") + ". Give the StarDist folder that has both.");
  write_file(s.file("lost/page.pt"), "<!DOCTYPE html><html>");
  CHECK(message_of<FileError>([&] { convert({s.file("lost/page.pt"), "--export", "voxgrad", "--out", s.file("x")}); }).find(
            s.file("lost/page.pt") + ": is no model folder but: HTML page. A download brought a web page") == 0);
  CHECK_FALSE(fs::exists(s.file("x")));
  CHECK(convert({s.file("first"), "--export", "reference", "--out", s.file("x"), "--dry-run"}).code == 0);
  CHECK_FALSE(fs::exists(s.file("x")));
}
