// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The class prior estimated while a network is trained: from its scores of held-out crops, every few hundred steps.

#include <functional>
#include <memory>

#include "config.hpp"
#include "voxgrad/data/dataset.hpp"
#include "voxgrad/models/unet3d.hpp"

namespace voxgrad::pu {
struct PriorEstimate;
}

namespace voxgrad::app {

/// `count` crops of the patch size, anywhere in held-out movies, drawn by `stream`.
using RandomCrops = std::function<std::shared_ptr<const data::CropSource>(int64_t count, uint64_t stream)>;

/// One estimate and what became of it.
struct PriorUpdate {
  double estimate = 0, low = 0, high = 1;  ///< best bin, and its interval
  double labelled = 0;                     ///< share of the crops' voxels that is labelled
  double prior = 0;                        ///< in use from now on
  bool used = false;                       ///< false: `few`, or the network says the same everywhere; the prior stays
  bool few = false;                        ///< fewer than two of the drawn crops hold a labelled voxel, or all voxels are labelled
  bool far = false;                        ///< the estimate was less than half or more than twice of the prior in use
};

/// Best-bin estimates on held-out crops, smoothed and bounded. The first estimate is taken as it is; later ones move the prior by their weight,
/// each counting as at most twice and at least half of it. What they are drawn from depends on seed and step only.
class AutoPrior {
 public:
  /// train, valid: the crops of the run; held_out may be empty. Whose share is meant follows pu.population: that of random crops where
  /// `train` has any, else that of its batches. Errors: FileError when there is no held-out labelled voxel, no held-out crop of the kind that the
  /// prior is about, or no labelled voxel in the crops whose share is the lowest possible prior.
  AutoPrior(const TrainConfig& config, std::shared_ptr<const data::CropSource> train, std::shared_ptr<const data::CropSource> valid,
            RandomCrops held_out);

  double start() const { return start_; }        ///< the prior until the first estimate
  double labelled() const { return labelled_; }  ///< share of the training crops' voxels that is labelled: the lowest possible prior
  bool due(int64_t step) const;                  ///< whether an estimate belongs after so many steps

  /// An estimate with the network in evaluation mode, and the prior that follows from it and from the one in use.
  PriorUpdate estimate(models::UNet3d& net, int64_t step, double in_use);
  /// How many estimates were used so far: the state of a checkpoint.
  int64_t used() const { return used_; }
  void restore(int64_t used) { used_ = used; }

 private:
  struct Scores;
  using Source = std::shared_ptr<const data::CropSource>;
  std::vector<int64_t> drawn(const std::vector<int64_t>& from, uint64_t stream) const;
  void score(models::UNet3d* net, const data::CropSource& source, const std::vector<int64_t>& which, uint64_t stream, bool everything,
             Scores& into) const;
  Scores collect(models::UNet3d* net, uint64_t stream, bool centred) const;
  pu::PriorEstimate share(const Scores& s) const;

  TrainConfig config_;
  Source valid_;
  RandomCrops held_out_;
  std::vector<int64_t> valid_centred_, valid_random_;
  double centred_share_ = 0;  ///< of the crops whose voxels are "everything"
  double labelled_ = 0, start_ = 0;
  int64_t used_ = 0;
};

}  // namespace voxgrad::app
