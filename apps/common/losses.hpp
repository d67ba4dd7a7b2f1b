// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Losses by name: mse and bce, and every positive-unlabeled risk of voxgrad/pu/registry.hpp. A program of one's own registers a risk
// there before it runs the command line, and its `train --loss NAME` knows it.

#include <functional>
#include <string>
#include <vector>

#include "config.hpp"
#include "voxgrad/models/unet3d.hpp"

namespace voxgrad::app {

struct LossTerm {
  std::string name;
  double value;
};
struct LossOutcome {
  Tensor loss;
  std::vector<LossTerm> terms = {};  ///< the risk's own numbers, for plots; none for mse and bce
};

/// Logits [N,D,H,W,C] against 0/1 targets of the same shape. centred: per crop, whether it was cut around an annotated event.
using LossFunction = std::function<LossOutcome(const Tensor& logits, const Tensor& target, const std::vector<bool>& centred)>;

/// The same of a network's logits for an input; mse and bce are one pass with the network's head, and no logits exist.
using NetworkLoss = std::function<LossOutcome(models::UNet3d& net, const Tensor& input, const Tensor& target, const std::vector<bool>& centred)>;

/// All names, mse first.
std::vector<std::string> loss_names();
/// The loss that a configuration asks for. Errors: UsageError for an unknown name, and for a prior that is missing or out of range.
LossFunction make_loss(const TrainingConfig& config);
NetworkLoss make_network_loss(const TrainingConfig& config);

}  // namespace voxgrad::app
