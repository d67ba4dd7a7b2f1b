// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The class prior of StarDist's object probability, estimated while it is trained: auto_prior.hpp with patches of volumes.

#include "auto_prior.hpp"
#include "stardist_run.hpp"
#include "voxgrad/models/stardist3d.hpp"
#include "voxgrad/stardist/generator.hpp"

namespace voxgrad::app {

/// The share of points inside objects in patches drawn as those of the training (so a share of patches that hold an annotated object where
/// stardist_config.train_foreground_only says so), of crops that were not cut around events where there are any. Compared are points of annotated
/// objects and all others of validation volumes; patches are new ones each time, by seed and step.
class StarDistPrior {
 public:
  /// The generators are the caller's. Errors: FileError when the training patches looked at hold no object, or more than the highest prior;
  /// when those of the validation volumes hold none, or are all cut around events while the prior is about others.
  StarDistPrior(const StarDistRun& run, const stardist::Generator& train, const stardist::Generator& valid);

  double start() const { return start_; }        ///< the prior until the first estimate
  double labelled() const { return labelled_; }  ///< share inside annotated objects in training patches: the lowest possible prior
  bool due(int64_t step) const { return estimate_due(config_, step); }
  using Maps = std::function<models::StarDistMaps(const Tensor& input)>;
  /// maps: the network's, in evaluation mode.
  PriorUpdate estimate(const Maps& maps, int64_t step, double in_use);

  /// How many estimates were used so far: the state of a checkpoint.
  int64_t used() const { return used_; }
  void restore(int64_t used) { used_ = used; }

 private:
  CropScores collect(const stardist::Generator& patches, const Maps& maps, int64_t first) const;

  AutoPriorConfig config_;
  const stardist::Generator& valid_;
  int64_t batch_;
  bool of_random_ = false;  ///< crops cut around events only add positives
  double labelled_ = 0, start_ = 0;
  int64_t used_ = 0;
};

}  // namespace voxgrad::app
