// SPDX-License-Identifier: BSD-3-Clause
// The published pipeline's folders and checkpoints: weights, optimiser and statistics come in with the right axes, and a network
// goes on exactly where PyTorch stopped.

#include "common/torch_model.hpp"

#include <cmath>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "apps/scratch.hpp"
#include "apps/shared_data.hpp"
#include "apps/throws.hpp"
#include "catch.hpp"
#include "common/files.hpp"
#include "common/trainer.hpp"
#include "npy.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/autograd/record.hpp"
#include "voxgrad/io/hdf5.hpp"
#include "voxgrad/nn/torch_state.hpp"
#include "voxgrad/ops/loss.hpp"
#include "voxgrad/optim/adam.hpp"

namespace fs = std::filesystem;
using namespace voxgrad;
using namespace voxgrad::app;

namespace {

const std::string reference = test::golden("torch_archive/reference");

Tensor tensor_of(const test::Npy& a) { return Tensor::from(a.values, Shape(a.shape.begin(), a.shape.end())); }

double furthest(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const Tensor x = a.to(DType::f64), y = b.to(DType::f64);
  double most = 0;
  for (size_t i = 0; i < x.span<double>().size(); ++i) most = std::max(most, std::abs(x.span<double>()[i] - y.span<double>()[i]));
  return most;
}
double largest(const Tensor& a) { return furthest(a, Tensor::zeros(a.shape())); }

}  // namespace

TEST_CASE("torch model: kernels change their axes and come back") {
  Tensor k({2, 3, 1, 2, 5});  // as PyTorch has it: out 2, in 3, depth 1, height 2, width 5
  for (size_t i = 0; i < k.span<float>().size(); ++i) k.mutable_span<float>()[i] = float(i);
  const Tensor here = nn::from_torch("a.weight", k), turned = nn::from_torch("up.upconv.weight", k);
  CHECK(here.shape() == Shape{1, 2, 5, 3, 2});
  CHECK(here.span<float>()[1] == 30);  // out 1
  CHECK(here.span<float>()[2] == 10);  // in 1
  CHECK(turned.shape() == Shape{1, 2, 5, 2, 3});
  CHECK(turned.span<float>()[1] == 10);
  CHECK(turned.span<float>()[3] == 30);
  CHECK(furthest(nn::to_torch("a.weight", here), k) == 0);
  CHECK(furthest(nn::to_torch("up.upconv.weight", turned), k) == 0);
  CHECK(nn::from_torch("a.bias", Tensor::full({4}, 2)).shape() == Shape{4});
}

TEST_CASE("torch model: a folder of the published pipeline is a model folder, with PyTorch's output") {
  const ModelFolder folder = ModelFolder::existing(reference);
  CHECK(folder.best_file() == reference + "/results.pt");
  CHECK(folder.latest_file() == reference + "/results.pt");
  CHECK_FALSE(folder.has_weights());
  CHECK(*folder.thresholds().segmentation == 0.375);
  const auto net = folder.network();
  net->to(DType::f64);
  NoGrad no_grad;
  CHECK(furthest((*net)(tensor_of(test::read_npy(reference + "/input.npy")).to(DType::f64)), tensor_of(test::read_npy(reference + "/output.npy"))) < 1e-12);
}

TEST_CASE("torch model: best and latest of a published folder; files of ours come first") {
  Scratch dir;
  for (const char* name : {"config.yaml", "results.pt"}) fs::copy(reference + "/" + name, dir.file(name));
  const ModelFolder folder = ModelFolder::existing(dir.folder());
  fs::rename(dir.file("results.pt"), dir.file("checkpoint.pt"));
  CHECK(folder.best_file() == dir.file("checkpoint.pt"));
  fs::copy(reference + "/results.pt", dir.file("results.pt"));
  CHECK(folder.best_file() == dir.file("results.pt"));
  CHECK(folder.latest_file() == dir.file("checkpoint.pt"));
  save_weights(folder.weights_file(), *folder.network(true), {});
  CHECK(folder.best_file() == dir.file("weights.safetensors"));
  CHECK(folder.latest_file() == dir.file("weights.safetensors"));
}

TEST_CASE("torch model: a checkpoint gives moments, step and statistics") {
  const auto net = make_network(train_config(ModelFolder::existing(reference).config()).model, 1);
  const auto adam = make_optimizer({}, *net);
  const TorchRun run = load_torch_checkpoint(reference + "/results.pt", *net, *adam);
  CHECK(adam->step_count() == 2);
  CHECK(run.metadata.at("step") == "2");
  io::TorchArchive archive(reference + "/results.pt");
  // Parameter 4 is the first after the bottleneck's two convolutions.
  const Tensor moment = nn::from_torch("down_convs.0.convs.0.weight", archive.tensor(*archive.find("optimizer.state.4.exp_avg")));
  for (const nn::Named& n : adam->state())
    if (n.name == "exp_avg/down_convs.0.convs.0.weight") CHECK(furthest(*n.tensor, moment) == 0);
  CHECK(largest(moment) > 0);
  CHECK(run.train_rows.rfind("0,0.", 0) == 0);
  CHECK(run.train_rows.find("\n1,0.") != std::string::npos);
  CHECK(run.valid_rows.rfind("0,0.", 0) == 0);
  CHECK(run.valid_rows.find(",,") != std::string::npos);  // these statistics hold no extremes
  ModelConfig wide = train_config(ModelFolder::existing(reference).config()).model;
  const auto sgd = make_optimizer({.name = "sgd", .momentum = 0.9}, *net);
  CHECK(message_of<FileError>([&] { load_torch_checkpoint(reference + "/results.pt", *net, *sgd); }).find("cannot be resumed with this optimiser") != std::string::npos);
  wide.nbf = 2;
  const auto other = make_network(wide, 1);
  const std::string why = message_of<FileError>([&] { load_weights(reference + "/results.pt", *other); });
  CHECK(why.find(reference + "/results.pt: weights do not fit the network: 'bottleneck.dilated_conv.0.weight' is [3x3x3x2x4], the network needs [3x3x3x4x8]; ") == 0);
  CHECK(why.find("; missing: ") == std::string::npos);
  CHECK(why.find("'final_conv.weight' is [1x1x1x1x1], the network needs [1x1x1x2x1]. Is config.yaml") != std::string::npos);
}

TEST_CASE("torch model: tensors that are missing, too many or of another shape are all named") {
  Scratch dir;
  ModelConfig deep = train_config(ModelFolder::existing(reference).config()).model;
  deep.n_layer = 3;
  const auto net = make_network(deep, 1);
  const std::string why = message_of<FileError>([&] { load_weights(reference + "/results.pt", *net); });
  CHECK(why.find("; missing: 'down_convs.2.convs.0.weight', 'down_convs.2.convs.0.bias', ") != std::string::npos);
  CHECK(why.find("'up_convs.2.convs.4.num_batches_tracked'. Is config.yaml the one") != std::string::npos);
  deep.n_layer = 1;
  deep.use_batch_norm = false;
  const auto shallow = make_network(deep, 1);
  const std::string more = message_of<FileError>([&] { load_weights(reference + "/results.pt", *shallow); });
  CHECK(more.find("; not part of the network: 'down_convs.0.convs.1.bias', 'down_convs.0.convs.1.num_batches_tracked', ") != std::string::npos);
  CHECK(more.find("'up_convs.1.upconv.weight'. Is") != std::string::npos);
}

TEST_CASE("torch model: what is no file of weights says what it is") {
  Scratch dir;
  const auto net = make_network(train_config(ModelFolder::existing(reference).config()).model, 1);
  const auto refusal = [&](const std::string& name, const std::string& bytes) {
    write_file(dir.file(name), bytes);
    return message_of<FileError>([&] { load_weights(dir.file(name), *net); });
  };
  CHECK(refusal("results.pt", "<!DOCTYPE html><html><body>Sign in</body></html>").find(": is no file of weights but: HTML page (expected safetensors, or what torch.save wrote). "
                                                                                       "A download brought a web page in place of the file.") != std::string::npos);
  CHECK(refusal("m.pt", "\x08\x07\x12\x07pytorch and more").find("but: ONNX model") != std::string::npos);
  CHECK(refusal("saved_model.pb", "\x08\x01\x12\x80").find("TensorFlow SavedModel") != std::string::npos);
  CHECK(refusal("m.pt", "").find(": the file is empty.") != std::string::npos);
  CHECK(refusal("m.pt", read_file(reference + "/results.pt").substr(0, 9000)).find("the zip archive is incomplete") != std::string::npos);
  make_folders(dir.file("saved"));
  write_file(dir.file("saved/saved_model.pb"), "x");
  CHECK(message_of<FileError>([&] { ModelFolder::existing(dir.file("saved")); }).find(": is a TensorFlow SavedModel.") != std::string::npos);
}

// The network, gradients and two more Adam steps beside PyTorch's, at the tolerances of the files' README.
TEST_CASE("torch model: outputs, gradients and resumed steps agree with PyTorch", "[shared]") {
  const std::string shared = test::shared_data("data/golden/torch", "PyTorch files and their truth");
  if (shared.empty()) return;
  Scratch dir;
  fs::copy(shared + "/unet3d_small_checkpoint.pt", dir.file("results.pt"));
  fs::copy(shared + "/unet3d_small_config.yaml", dir.file("config.yaml"));
  const ModelFolder folder = ModelFolder::existing(dir.folder());
  const TrainConfig config = train_config(folder.config());
  const auto net = make_network(config.model, 5);
  const auto adam = make_optimizer(config.training.optimizer, *net);
  const TorchRun run = load_torch_checkpoint(folder.best_file(), *net, *adam);
  CHECK(adam->step_count() == 6);
  CHECK(run.metadata.at("step") == "6");

  const io::H5File truth(shared + "/unet3d_small.h5");
  const auto stored = [&](const std::string& path) {
    const auto shape = truth.info(path).shape;
    return Tensor::from(truth.read<float>(path), Shape(shape.begin(), shape.end()));
  };
  const auto volume = [&](const std::string& path) {  // [N,1,D,H,W] as [N,D,H,W,1]
    const Tensor t = stored(path);
    const Shape s = t.shape();
    return t.view({s[0], s[2], s[3], s[4], s[1]});
  };
  const Tensor x = volume("forward/x"), target = volume("forward/target");
  // Convolutions in front of a batch norm: the gradient of their bias is 0, what is stored is noise.
  const auto noise = [](const std::string& name) { return name.find("convs.") != std::string::npos && (name.ends_with("convs.0.bias") || name.ends_with("convs.3.bias")); };

  double difference = 0;
  {
    NoGrad no_grad;
    net->eval();
    difference = furthest((*net)(x), volume("forward/y_eval"));
    CHECK(difference < 2e-6);
    std::printf("evaluation mode: %.1e from PyTorch\n", difference);
    const auto fresh = make_network(config.model, 5);
    load_weights(folder.best_file(), *fresh);
    fresh->train();
    difference = furthest((*fresh)(x), volume("forward/y_train"));
    CHECK(difference < 5e-6);
    std::printf("training mode: %.1e\n", difference);
  }
  const auto loss_of = [&](models::UNet3d& of) {
    of.train();
    return of.loss<kernels::MseWithLogits>(x, target);
  };
  {
    const auto fresh = make_network(config.model, 5);
    load_weights(folder.best_file(), *fresh);
    backward(loss_of(*fresh));
    double worst = 0;
    size_t compared = 0;
    for (const nn::Named& n : fresh->parameters()) {
      if (noise(n.name)) continue;
      const Tensor want = nn::from_torch(n.name, stored("gradient/" + n.name));
      worst = std::max(worst, furthest(n.tensor->grad(), want) / largest(want));
      ++compared;
    }
    CHECK(compared == 34);
    CHECK(worst < 2e-5);
    std::printf("gradients: %.1e of the largest of each tensor\n", worst);
  }
  for (int step = 0; step < 2; ++step) {
    backward(loss_of(*net));
    adam->step();
  }
  double parameters = 0, means = 0;
  size_t compared = 0;
  for (const nn::Named& n : net->state()) {
    if (noise(n.name)) continue;
    const Tensor want = nn::from_torch(n.name, stored("resumed/" + n.name));
    double& worst = n.name.ends_with("running_mean") ? means : parameters;
    worst = std::max(worst, furthest(*n.tensor, want));
    ++compared;
  }
  CHECK(compared == 66 - 8);
  CHECK(parameters < 1e-6);
  CHECK(means < 1e-4);
  std::printf("two resumed steps: %.1e, running means %.1e\n", parameters, means);
}
