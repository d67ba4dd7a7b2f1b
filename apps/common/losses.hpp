// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Losses by name: mse and bce, and every positive-unlabeled risk of voxgrad/pu/registry.hpp. A program of one's own registers a risk
// there before it runs the command line, and its `train --loss NAME` knows it.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config.hpp"
#include "voxgrad/models/unet3d.hpp"
#include "voxgrad/pu/mixup.hpp"
#include "voxgrad/pu/registry.hpp"

namespace voxgrad::app {

struct LossTerm {
  std::string name;
  double value;
};
struct LossOutcome {
  Tensor loss;
  std::vector<LossTerm> terms = {};  ///< the risk's own numbers, for plots; none for mse and bce
  double rate = 1;                   ///< factor on the learning rate of this step
  bool skipped = false;              ///< this batch is to make no step
};

/// A batch as a loss sees it. Tensors are [N,D,H,W,C]; vectors have one entry per crop, or none.
struct LossBatch {
  Tensor logits, target;                   ///< target: 0 and 1, or the classes of data::Crop
  std::vector<bool> centred = {};          ///< cut around an annotated event
  Tensor weight = {}, propensity = {};     ///< undefined where the data has none
  Tensor input = {};                       ///< what the network saw, for a first-stage network
  std::vector<double> priors = {};         ///< of the crops' movies; 0 where not known
  uint64_t seed = 0;                       ///< which crops are mixed, and how, depends on this and on the step
  int64_t step = 0;
};

class Loss {
 public:
  /// Errors: UsageError for an unknown name, a prior that is missing, and options that do not go together.
  explicit Loss(const TrainingConfig& config);

  /// training: the batch joins running means and averages. Errors: those of pu::Objective.
  LossOutcome operator()(const LossBatch& batch, bool training);
  /// The same of a network's logits for batch.input, without gradients: a validation. mse and bce are one pass with the network's head.
  LossOutcome of(models::UNet3d& net, LossBatch batch);
  /// A training batch: its loss, with mixup if there is any, whose gradient is added to those of the network's parameters unless the outcome
  /// says that no step is to be made. With reduction accumulate the network sees a few crops at a time, twice, and the loss is still that of
  /// the whole batch, exactly but for rounding (batch norm takes the statistics of those few).
  LossOutcome gradient(models::UNet3d& net, LossBatch batch);
  LossOutcome operator()(const Tensor& logits, const Tensor& target, const std::vector<bool>& centred) {
    return (*this)({logits, target, centred}, false);
  }

  /// The prior in use (0 if the loss takes none), and another one from now on. labelled: share of everything that is labelled, for risks
  /// that take the prior of the unlabeled voxels.
  double prior() const { return prior_; }
  void set_prior(double prior, double labelled);

  /// After a whole epoch. Errors: FileError when the loss needs known negatives and no batch had any.
  void check_epoch() const;
  /// All that a checkpoint keeps of it.
  std::vector<double> state() const;
  void restore(const std::vector<double>& state);

 private:
  /// Crops mixed with each other, and what their voxels are held to.
  struct Mixed {
    Tensor input;
    pu::MixedTargets targets;
    double lambda;
  };
  bool accumulates() const { return config_.reduction == "accumulate"; }
  void check_mixup() const;
  double entropy_weight(const LossBatch& batch, bool training) const;
  pu::RiskOptions options_of(const LossBatch& batch, const pu::Labels& labels, bool training) const;
  pu::Labels labels_of(const LossBatch& batch) const;
  LossOutcome plain(models::UNet3d& net, LossBatch& batch, bool training);
  std::optional<Mixed> mix_crops(const LossBatch& batch) const;
  Tensor add_mixed(const Mixed& mixed, models::UNet3d& net, int64_t first, int64_t count, LossOutcome& outcome) const;
  void learn(const pu::Labels& labels);

  std::string name_;
  PuConfig config_;
  int64_t steps_ = 0;  ///< of the whole training
  const pu::NamedRisk* risk_ = nullptr;  ///< none for mse and bce
  pu::RiskOptions options_;
  std::shared_ptr<models::UNet3d> first_stage_;
  pu::RunningMeans running_;
  double prior_ = 0, prior_unlabeled_ = 0;
  double batches_ = 0, positive_weight_ = 0, everything_weight_ = 0;  ///< averages per batch
  bool negatives_seen_ = false;
};

/// All names, mse first.
std::vector<std::string> loss_names();
/// The loss that a configuration asks for.
inline Loss make_loss(const TrainingConfig& config) { return Loss(config); }
/// What a loss needs of the data; nothing for mse and bce, and for names that are not known.
pu::RiskNeeds loss_needs(const std::string& name);

}  // namespace voxgrad::app
