// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Times of a network's training step or forward pass on a card, for `voxgrad bench`.

#include <functional>
#include <memory>
#include <vector>

#include "card.hpp"
#include "voxgrad/models/stardist3d.hpp"

namespace voxgrad::app {

/// What `voxgrad bench` asks of a card.
struct CardBench {
  std::shared_ptr<const Card> card;
  int64_t batch = 1, warmup = 0, runs = 1;
  cuda::Extent crop{};
  bool training = true;
};

struct CardTimes {
  std::vector<double> resident;  ///< ms per step on data that lies on the card: of the U-Net's training set, patches are cut there
  std::vector<double> copied;    ///< ms per step with the batch copied to the card and the loss or the scores copied back
  size_t bytes = 0;              ///< of the card's memory: weights, moments, activations
};

/// `warmup` and then `runs` steps of each kind on made-up data; `tick` is called after each. Errors: DeviceError as of the engines, Error
/// when a loss or a score is not finite.
CardTimes time_on_card(const CardBench& bench, models::UNet3d& net, Random random, const std::function<void()>& tick);
CardTimes time_on_card(const CardBench& bench, models::StarDist3d& net, Random random, const std::function<void()>& tick);

}  // namespace voxgrad::app
