// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Who makes the steps of a U-Net's training: the engine's tape on the CPU, or a card.

#include <memory>
#include <vector>

#include "card.hpp"
#include "losses.hpp"
#include "model_folder.hpp"
#include "voxgrad/data/loader.hpp"
#include "voxgrad/optim/optimizer.hpp"

namespace voxgrad::app {

struct StepResult {
  double loss;
  std::vector<LossTerm> terms = {};
};

/// Where a training set lies, and for the log why.
struct Holding {
  bool held = false;
  std::string note = {};
};

/// Works on a network, its optimiser and a loss, which are the caller's. The network and the optimiser hold what the steps made of them
/// after fetch() only.
class Stepper {
 public:
  virtual ~Stepper() = default;
  /// A step at the optimiser's learning rate. A batch that the loss skips changes no weights, nor does a loss that is not finite, where
  /// it is known before the step is made.
  virtual void step(LossBatch batch) = 0;
  /// Takes the whole training set onto the card if it has room beside the steps; its full batches are then made by step_held().
  virtual Holding hold(std::shared_ptr<const data::CropSource> crops, const data::LoaderOptions& options) = 0;
  /// A step on the full batch that data::Loader makes there. Only after hold() took the set.
  virtual void step_held(int64_t epoch, int64_t position) = 0;
  /// Results of the steps since the last call, oldest first. Unless `all`, those that would have to be waited for come later.
  virtual std::vector<StepResult> results(bool all) = 0;
  /// Logits of crops in evaluation mode.
  virtual Tensor logits(const Tensor& input) = 0;
  /// The loss of a batch in evaluation mode.
  virtual double validation_loss(LossBatch batch) = 0;
  virtual void fetch() = 0;
  /// Network and optimiser were read from a file: they count from now on.
  virtual void changed() = 0;
  /// What a checkpoint keeps besides: "device", and the numbers of a loss scale.
  virtual Metadata state() const = 0;
  virtual void restore(const Metadata& metadata) = 0;
};

/// What steps are made of.
struct StepperParts {
  models::UNet3d& net;
  optim::Optimizer& optimizer;
  Loss& loss;
  const TrainingConfig& config;
};

std::unique_ptr<Stepper> make_cpu_stepper(const StepperParts& parts);

/// What needs a step's network more than once stays on the CPU: UsageError for reduction accumulate and for mixup.
void check_card_loss(const TrainingConfig& config);

/// mse and bce are whole steps on the card, whose losses are fetched a few dozen steps at a time; every other loss is computed on the
/// CPU, from the card's logits to their gradient. A last, smaller batch of an epoch has a plan of its own, between which and the other the
/// weights travel.
///
/// Errors: UsageError of check_card_loss.
std::unique_ptr<Stepper> make_card_stepper(const StepperParts& parts, std::shared_ptr<const Card> card);

}  // namespace voxgrad::app
