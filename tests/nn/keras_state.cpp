// SPDX-License-Identifier: BSD-3-Clause
// Weights by order: what is listed, what is loaded, and what is refused.

#include "voxgrad/nn/keras_state.hpp"

#include "catch.hpp"
#include "message.hpp"
#include "voxgrad/models/stardist3d.hpp"

using namespace voxgrad;
using namespace voxgrad::test;
using models::StarDist3d;
using models::StarDistBackbone;

namespace {

const models::StarDist3dOptions small{.n_rays = 4, .grid = {1, 2, 2}, .backbone = StarDistBackbone::resnet, .resnet_n_blocks = 1,
                                      .resnet_n_filter_base = 2, .resnet_n_conv_per_block = 2, .resnet_batch_norm = true,
                                      .net_conv_after_resnet = 0};

/// A file as Keras would write the network, with automatic names for all but the heads.
std::vector<LayerWeights> file_of(nn::Module& net, float value) {
  std::vector<LayerWeights> file;
  for (const nn::KerasLayer& layer : nn::keras_layers(net)) {
    const bool named = layer.name == "prob" || layer.name == "dist";
    LayerWeights& to = file.emplace_back(LayerWeights{named ? layer.name : text("layer_", 7 + file.size()), {}});
    for (const auto& slot : layer.slots) to.weights.push_back({slot.name, Tensor::full(slot.tensor->shape(), value++)});
  }
  return file;
}

std::string refusal(const std::vector<LayerWeights>& file) {
  StarDist3d net(small);
  const Tensor before = net.state()[0].tensor->clone();
  const std::string text = message<ShapeError>([&] { nn::load_keras_state(net, file); });
  CHECK(std::memcmp(before.raw(), net.state()[0].tensor->raw(), size_t(before.size()) * 4) == 0);
  return text;
}

}  // namespace

TEST_CASE("a network's layers as Keras lists them, batch norm and projection in Keras' places") {
  StarDist3d net(small);
  std::string listed;
  for (const nn::KerasLayer& layer : nn::keras_layers(net)) {
    listed += layer.name + ":";
    for (const auto& slot : layer.slots) listed += " " + slot.name;
    listed += "\n";
  }
  CHECK(listed ==
        "first: kernel bias\nsecond: kernel bias\nblock_0.conv_0: kernel\n"
        "block_0.conv_0.norm: gamma beta moving_mean moving_variance\nblock_0.conv_1: kernel\nblock_0.projection: kernel\n"
        "block_0.conv_1.norm: gamma beta moving_mean moving_variance\nprob: kernel bias\ndist: kernel bias\n");
}

TEST_CASE("weights are loaded by order, whatever the layers are called, and stay learnable") {
  StarDist3d net(small);
  nn::load_keras_state(net, file_of(net, 1));
  float value = 1;
  for (const nn::KerasLayer& layer : nn::keras_layers(net))
    for (const auto& slot : layer.slots) {
      INFO(layer.name << " " << slot.name);
      CHECK(slot.tensor->span<float>()[0] == value++);
      CHECK(slot.tensor->requires_grad() == (slot.name.rfind("moving", 0) != 0));
    }
}

TEST_CASE("weights that do not fit are refused by name, and nothing is loaded") {
  StarDist3d net(small);
  const std::vector<LayerWeights> good = file_of(net, 0);
  std::vector<LayerWeights> bad = good;
  bad[1].weights[0].tensor = Tensor::zeros({3, 3, 3, 2, 5});
  CHECK(refusal(bad) ==
        "layer 'layer_8', number 2 with weights, has kernel 3x3x3x2x5, bias 2 (the network's 'second' needs kernel 3x3x3x2x2, bias 2)");
  bad = good;
  bad[2].weights.push_back({"bias", Tensor::zeros({4})});
  CHECK(refusal(bad) == "layer 'layer_9', number 3 with weights, has kernel 3x3x3x2x4, bias 4 (the network's 'block_0.conv_0' needs "
                        "kernel 3x3x3x2x4)");
  bad = good;
  bad.pop_back();
  CHECK(refusal(bad) == "has 8 layers with weights, the network 9: 'dist' and what follows is missing");
  bad = good;
  bad.push_back({"prob_class", {{"kernel", Tensor::zeros({1, 1, 1, 4, 2})}}});
  CHECK(refusal(bad) == "has 10 layers with weights, the network 9: 'prob_class' and what follows is too much");
  bad = good;
  bad[0].name = "dist";
  CHECK(refusal(bad) == "layer 'dist' is number 1 with weights, where the network has 'first'");
  CHECK(refusal({}) == "has 0 layers with weights, the network 9: 'first' and what follows is missing");
}
