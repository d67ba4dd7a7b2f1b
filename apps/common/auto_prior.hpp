// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The class prior estimated while a network is trained: from its scores of held-out crops, every few hundred steps.

#include <functional>
#include <memory>

#include "config.hpp"
#include "session.hpp"
#include "voxgrad/data/dataset.hpp"
#include "voxgrad/models/unet3d.hpp"
#include "voxgrad/pu/prior.hpp"

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

/// Scores of held-out crops: of everything in those that are a sample of it, and of labelled voxels of any.
struct CropScores {
  pu::ScoreHistogram all;
  double events = 0;                            ///< crops that hold a labelled voxel
  double labelled = 0, everything = 0;          ///< voxels of the crops that stand for everything

  /// The share of positives in everything, by the best bin, with events as independent values.
  pu::PriorEstimate share() const;
};

/// Whether an estimate belongs after so many steps.
bool estimate_due(const AutoPriorConfig& config, int64_t step);
/// Fills in the rest of an update from its estimate: smoothed, bounded, not below the labelled share. used: estimates before, and after.
void follow_estimate(PriorUpdate& update, const AutoPriorConfig& config, double in_use, double labelled, int64_t& used);
/// Keeps an update as a row of prior.csv in `folder`, and says it. before: the prior until now; used: estimates that were used, with this one.
void tell_estimate(const PriorUpdate& update, int64_t step, double before, int64_t used, const std::string& folder, Session& session);

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
  bool due(int64_t step) const { return estimate_due(config_.training.pu.estimate, step); }

  /// Logits of patches [N,D,H,W,1], the network's in evaluation mode.
  using Logits = std::function<Tensor(const Tensor& input)>;
  /// An estimate, and the prior that follows from it and from the one in use.
  PriorUpdate estimate(const Logits& logits, int64_t step, double in_use);
  /// How many estimates were used so far: the state of a checkpoint.
  int64_t used() const { return used_; }
  void restore(int64_t used) { used_ = used; }

 private:
  using Source = std::shared_ptr<const data::CropSource>;
  std::vector<int64_t> drawn(const std::vector<int64_t>& from, uint64_t stream) const;
  void score(const Logits& logits, const data::CropSource& source, const std::vector<int64_t>& which, uint64_t stream, bool everything,
             CropScores& into) const;
  CropScores collect(const Logits& logits, uint64_t stream, bool centred) const;

  TrainConfig config_;
  Source valid_;
  RandomCrops held_out_;
  std::vector<int64_t> valid_centred_, valid_random_;
  double centred_share_ = 0;  ///< of the crops whose voxels are "everything"
  double labelled_ = 0, start_ = 0;
  int64_t used_ = 0;
};

}  // namespace voxgrad::app
