// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// StarDist's forward passes on a card.

#include "card.hpp"
#include "voxgrad/models/stardist3d.hpp"

namespace voxgrad::app {

/// One engine at a time, planned for a batch and a tile; weights are those of the network. Calls from one thread.
class StarDistCardInference {
 public:
  /// `net` is the caller's.
  StarDistCardInference(std::shared_ptr<const Card> card, models::StarDist3d& net) : card_(std::move(card)), net_(net) {}

  /// The network's weights are others from now on.
  void changed() { stale_ = true; }
  /// Maps of x [N,D,H,W,Ci] as the network gives them in evaluation mode. What was planned serves smaller batches of the same tiles; else a new
  /// plan is made. Errors: DeviceError with what is needed and what is free.
  models::StarDistMaps operator()(const Tensor& x);
  /// How many voxels a tile may have: about what nine tenths of the card's free memory hold, and as many as the values of a layer can be counted
  /// with 31 bits.
  double most_voxels() const;
  /// Bytes of the card's memory for such a plan.
  uint64_t needed(int64_t batch, const cuda::Extent& tile) const;
  const Card& card() const { return *card_; }

 private:
  uint64_t available() const;
  void plan(int64_t batch, const cuda::Extent& tile);

  std::shared_ptr<const Card> card_;
  models::StarDist3d& net_;
  std::unique_ptr<cuda::StarDist3dInference> engine_;
  int64_t batch_ = 0;
  cuda::Extent tile_{};
  uint64_t taken_ = 0;
  bool stale_ = true;
};

/// Maps of x by the card, or without one by the network in the mode that it is in.
inline models::StarDistMaps stardist_maps(models::StarDist3d& net, StarDistCardInference* card, const Tensor& x) {
  return card ? (*card)(x) : net(x);
}

}  // namespace voxgrad::app
