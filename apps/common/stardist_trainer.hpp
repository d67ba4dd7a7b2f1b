// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// StarDist's training loop: epochs of steps, validation on fixed patches, plateau schedule, best and latest weights, exact resume.

#include <optional>

#include "losses.hpp"
#include "model_folder.hpp"
#include "session.hpp"
#include "stardist_data.hpp"
#include "stardist_prior.hpp"
#include "stardist_stepper.hpp"
#include "training_report.hpp"
#include "voxgrad/optim/schedule.hpp"

namespace voxgrad::app {

class StarDistTrainer {
 public:
  /// Everything written goes below `folder`. Batches are made on threads of their own while the network works. The network trains on the card,
  /// or without one on the CPU.
  StarDistTrainer(const StarDistRun& run, models::StarDist3d& net, const StarDistData& data, const ModelFolder& folder, Session& session,
                  std::shared_ptr<const Card> card = nullptr);

  /// Goes on from the folder's checkpoint, with the same results as a run that was never stopped. UsageError when it was made with
  /// another network, seed or way to draw patches.
  void resume();
  /// Trains up to train_epochs. INT and TERM write a checkpoint and throw Interrupted; a loss that is not finite throws an Error
  /// and leaves the last good files in place.
  void run();

  int64_t step() const { return step_; }
  int64_t total() const { return run_.config.train_epochs * run_.config.train_steps_per_epoch; }
  double best() const { return best_; }
  int64_t best_epoch() const { return best_epoch_; }

 private:
  StarDistStepperParts parts() { return {net_, optimizer_, risk_ ? &*risk_ : nullptr, run_.config}; }
  void report(bool all);
  double validate();
  void finish_epoch(double loss);
  void update_prior();
  void checkpoint();
  void check_weights() const;
  Metadata metadata() const;
  std::string identity() const;

  StarDistRun run_;
  models::StarDist3d& net_;
  stardist::Generator train_, valid_;
  int64_t valid_patches_;
  ModelFolder folder_;
  Session& session_;
  std::string normalization_;
  std::optional<Loss> risk_;  ///< none: binary cross-entropy
  std::unique_ptr<StarDistPrior> prior_;
  optim::Adam optimizer_;
  std::unique_ptr<StarDistStepper> stepper_;
  int ahead_;  ///< batches
  int64_t step_ = 0, reported_ = 0;  ///< reported: up to here train.csv has rows
  int64_t best_epoch_ = -1, plateau_waited_ = 0;
  double last_loss_, best_, plateau_best_, rate_, best_prior_ = 0;
  ProgressPicture picture_{folder_.path()};
};

/// The risk of the object probability that a configuration asks for; none for bce. Errors: UsageError for risks and options that need
/// more than objects (codes, borders, event weights, priors of movies, known negatives, propensities), and those of Loss.
std::optional<Loss> make_probability_risk(const StarDistRun& run);

}  // namespace voxgrad::app
