// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A module's state as Keras lists weights: layer by layer, matched by order.

#include "voxgrad/core/layer_weights.hpp"
#include "voxgrad/nn/module.hpp"

namespace voxgrad::nn {

/// Tensors of one Keras layer in a module, with Keras' names: kernel, bias; or gamma, beta, moving_mean, moving_variance.
struct KerasLayer {
  struct Slot {
    std::string name;
    Tensor* tensor;
  };
  std::string name;
  std::vector<Slot> slots;
};

/// The state of a module whose layers register theirs in Keras' order; what Keras has not is left out.
inline std::vector<KerasLayer> keras_layers(Module& module) {
  std::vector<KerasLayer> layers;
  for (const Named& n : module.state()) {
    const size_t dot = n.name.find_last_of('.');
    const std::string layer = n.name.substr(0, dot), kind = n.name.substr(dot + 1);
    if (kind == "num_batches_tracked") continue;
    if (layers.empty() || layers.back().name != layer) layers.push_back({layer, {}});
    layers.back().slots.push_back({kind, n.tensor});
  }
  for (KerasLayer& layer : layers) {
    const bool norm = layer.slots.back().name == "running_var";
    for (KerasLayer::Slot& slot : layer.slots)
      for (auto [ours, theirs] : {std::pair{"weight", norm ? "gamma" : "kernel"}, {"bias", norm ? "beta" : "bias"},
                                  {"running_mean", "moving_mean"}, {"running_var", "moving_variance"}})
        if (slot.name == ours) {
          slot.name = theirs;
          break;
        }
  }
  return layers;
}

/// Copies weights by order, as Keras does; names count only where the network has the same one elsewhere. A ShapeError
/// names the first layer that does not fit, what it holds and what is needed. Nothing is changed then.
inline void load_keras_state(Module& module, const std::vector<LayerWeights>& file) {
  const std::vector<KerasLayer> layers = keras_layers(module);
  const auto listed = [](const auto& weights, auto&& shape) {
    std::string all;
    for (const auto& w : weights) all += (all.empty() ? "" : ", ") + text(w.name, " ", shape(w));
    return all.empty() ? "nothing" : all;
  };
  for (size_t i = 0; i < std::min(file.size(), layers.size()); ++i) {
    const std::string has = listed(file[i].weights, [](const LayerWeights::Weight& w) { return w.tensor.shape(); });
    const std::string needs = listed(layers[i].slots, [](const KerasLayer::Slot& s) { return s.tensor->shape(); });
    check<ShapeError>(has == needs, "layer '", file[i].name, "', number ", i + 1, " with weights, has ",
                      file[i].weights.size() > 4 ? text(file[i].weights.size(), " tensors") : has, " (the network's '",
                      layers[i].name, "' needs ", needs, ")");
    for (const KerasLayer& other : layers)
      check<ShapeError>(other.name != file[i].name || other.name == layers[i].name, "layer '", file[i].name,
                        "' is number ", i + 1, " with weights, where the network has '", layers[i].name, "'");
  }
  check<ShapeError>(file.size() >= layers.size(), "has ", file.size(), " layers with weights, the network ", layers.size(),
                    ": '", layers[std::min(file.size(), layers.size() - 1)].name, "' and what follows is missing");
  check<ShapeError>(file.size() == layers.size(), "has ", file.size(), " layers with weights, the network ", layers.size(),
                    ": '", file[std::min(layers.size(), file.size() - 1)].name, "' and what follows is too much");
  for (size_t i = 0; i < layers.size(); ++i)
    for (size_t k = 0; k < layers[i].slots.size(); ++k) {
      Tensor& to = *layers[i].slots[k].tensor;
      const bool learnable = to.requires_grad();
      to = file[i].weights[k].tensor.to(to.dtype());
      if (learnable) to.set_requires_grad();
    }
}

}  // namespace voxgrad::nn
