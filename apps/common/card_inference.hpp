// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A network's forward passes on a card.

#include "card.hpp"

namespace voxgrad::app {

/// One engine at a time, planned for a batch and a tile; weights are those of the network. Calls from one thread.
class CardInference {
 public:
  /// `net` is the caller's.
  CardInference(std::shared_ptr<const Card> card, models::UNet3d& net) : card_(std::move(card)), net_(net) {}

  /// The network's weights are others from now on.
  void changed() { stale_ = true; }
  /// Plans for as many as `batch` tiles at once, unless the plan at hand does. DeviceError with what is needed, what is free and the batch that fits.
  void plan(int64_t batch, const cuda::Extent& tile, cuda::NormMode norm);
  /// Event probability, or logit, of every voxel of x [N,D,H,W,Ci]. What was planned serves any smaller batch of running statistics; else a
  /// new plan is made.
  Tensor probability(const Tensor& x, cuda::NormMode norm = cuda::NormMode::running_statistics) { return pass(x, norm, false); }
  Tensor logits(const Tensor& x) { return pass(x, cuda::NormMode::running_statistics, true); }

  /// The error alone.
  void check_fits(int64_t batch, const cuda::Extent& tile, cuda::NormMode norm) const;
  /// Bytes of the card's memory for such a plan, and what there is for it.
  uint64_t needed(int64_t batch, const cuda::Extent& tile, cuda::NormMode norm) const;
  uint64_t available() const;
  const Card& card() const { return *card_; }

 private:
  bool serves(int64_t batch, const cuda::Extent& tile, cuda::NormMode norm) const;
  Tensor pass(const Tensor& x, cuda::NormMode norm, bool logits);

  std::shared_ptr<const Card> card_;
  models::UNet3d& net_;
  std::unique_ptr<cuda::UNet3dInference> engine_;
  int64_t batch_ = 0;
  cuda::Extent tile_{};
  cuda::NormMode norm_{};
  uint64_t taken_ = 0;
  bool stale_ = true;
};

/// Event probabilities of x by the card, or without one by the network in the mode that it is in.
inline Tensor probabilities(models::UNet3d& net, CardInference* card, const Tensor& x) { return card ? card->probability(x) : net(x); }

}  // namespace voxgrad::app
