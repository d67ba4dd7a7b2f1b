// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The training loop: steps, validation, best and latest checkpoints, statistics, exact resume.

#include <functional>

#include "auto_prior.hpp"
#include "losses.hpp"
#include "model_folder.hpp"
#include "session.hpp"
#include "stepper.hpp"
#include "training_report.hpp"
#include "voxgrad/data/loader.hpp"

namespace voxgrad::app {

std::unique_ptr<optim::Optimizer> make_optimizer(const OptimizerConfig& config, nn::Module& net);

/// Mean, extremes and population deviation of the losses of validation batches; the mean is over crops.
struct Validation {
  double mean = 0, lowest = 0, highest = 0, deviation = 0;
};

class Trainer {
 public:
  /// `net` and the sources are the caller's; everything written goes below `folder`. held_out: random crops of validation movies, for
  /// a prior that is estimated. card: where the steps are made; none: on the CPU. Errors: those of Loss and AutoPrior.
  Trainer(const TrainConfig& config, models::UNet3d& net, std::shared_ptr<const data::CropSource> train,
          std::shared_ptr<const data::CropSource> valid, const ModelFolder& folder, Session& session, RandomCrops held_out = {},
          std::shared_ptr<const Card> card = nullptr);

  /// Continues from the folder's checkpoint: weights, moments, step, data order, schedule, best loss. Statistics written
  /// after that checkpoint are dropped.
  void resume();

  /// Trains up to num_steps in total. INT and TERM write a checkpoint and throw Interrupted; a loss that is not finite
  /// throws an Error with the step number and leaves the last good files in place.
  void run();

  int64_t step() const { return step_; }
  double best() const { return best_; }
  int64_t best_step() const { return best_step_; }

 private:
  void train_step();
  void report(bool all);
  double validation_loss(const data::Batch& batch);
  void update_prior();
  void keep_terms(int64_t step, const std::vector<LossTerm>& terms);
  Validation validate();
  void finish_validation(const Validation& v);
  void checkpoint();
  void check_weights() const;
  data::LoaderOptions loader_options(bool training) const;
  Metadata metadata() const;
  void apply_schedule();
  void adopt(Metadata& m) const;

  TrainConfig config_;
  models::UNet3d& net_;
  std::shared_ptr<const data::CropSource> train_, valid_;
  ModelFolder folder_;
  Session& session_;
  Loss loss_;
  std::unique_ptr<AutoPrior> auto_prior_;
  std::unique_ptr<optim::Optimizer> optimizer_;
  std::unique_ptr<Stepper> stepper_;
  std::unique_ptr<data::Loader> loader_;
  data::Batch batch_;
  bool held_ = false;  ///< the training set lies on the card
  int ahead_;          ///< batches
  int64_t step_ = 0, reported_ = 0, best_step_ = -1, plateau_waited_ = 0;
  double last_loss_, best_, plateau_best_, plateau_rate_, best_prior_ = 0;
  std::string config_hash_;
  ProgressPicture picture_{folder_.path()};
};

}  // namespace voxgrad::app
