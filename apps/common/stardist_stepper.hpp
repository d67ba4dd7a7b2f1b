// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Who makes the steps of StarDist's training: the engine's tape on the CPU, or a card.

#include <memory>
#include <optional>
#include <vector>

#include "card.hpp"
#include "losses.hpp"
#include "stardist_config.hpp"
#include "voxgrad/models/stardist3d_loss.hpp"
#include "voxgrad/optim/adam.hpp"
#include "voxgrad/stardist/generator.hpp"

namespace voxgrad::app {

/// What a step's loss was made of.
struct StarDistStep {
  double total, prob, dist;
  std::optional<double> prob_class = {};
  std::vector<LossTerm> terms = {};  ///< of the risk
};

/// Works on a network and its optimiser, which are the caller's. They hold what the steps made of them after fetch() only.
class StarDistStepper {
 public:
  virtual ~StarDistStepper() = default;
  /// A step at this learning rate. A batch that the risk skips changes no weights, nor does a loss that is not finite, where it is known
  /// before the step is made.
  virtual void step(const stardist::PatchBatch& batch, double rate) = 0;
  /// Results of the steps since the last call, oldest first. Unless `all`, those that would have to be waited for come later.
  virtual std::vector<StarDistStep> results(bool all) = 0;
  /// Maps in evaluation mode.
  virtual models::StarDistMaps maps(const Tensor& input) = 0;
  virtual void fetch() = 0;
  /// Network and optimiser were read from a file with this metadata: they count from now on.
  virtual void restore(const Metadata& metadata) = 0;
  /// What a checkpoint keeps besides: as Stepper::state().
  virtual Metadata state() const = 0;
};

/// What steps are made of.
struct StarDistStepperParts {
  models::StarDist3d& net;
  optim::Adam& optimizer;
  Loss* risk;  ///< of the object probability; nullptr: cross-entropy
  const StarDistConfig& config;
};

/// Weights and kinds of losses that a configuration asks for.
models::StarDistLossOptions stardist_loss_options(const StarDistConfig& config);
/// All losses of a batch. training: it joins the running means of the risk, whose outcome is told.
models::StarDistLoss stardist_batch_loss(const StarDistStepperParts& parts, const models::StarDistMaps& maps, const stardist::PatchBatch& batch,
                                         bool training, LossOutcome* outcome = nullptr);
/// What a risk takes: the network's logits; targets above 0 are labelled positives, 0 unlabelled, below 0 ignored.
LossBatch probability_batch(const Tensor& logits, const stardist::PatchBatch& batch);

std::unique_ptr<StarDistStepper> make_cpu_stepper(const StarDistStepperParts& parts);
/// Without a risk all losses are the card's, which are fetched a few dozen steps at a time; a risk is computed on the CPU, from the card's logits
/// to their gradient. Errors: DeviceError with what is needed, what is free and the batch that would fit.
std::unique_ptr<StarDistStepper> make_card_stepper(const StarDistStepperParts& parts, std::shared_ptr<const Card> card);

}  // namespace voxgrad::app
