// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A card that is none: engines as a GPU runs them, kernel by kernel on the CPU.

#include <memory>

#include "common/card.hpp"

/// What a test wants to know about the engines that were made.
struct HostCardLog {
  int64_t training = 0, inference = 0;  ///< engines made
  std::vector<int64_t> batches = {};    ///< of the training engines
};

/// `free`: what its memory pretends to have left. Only a few small networks are within reach: a step takes about a second.
std::shared_ptr<const voxgrad::app::Card> host_card(voxgrad::cuda::Precision precision = voxgrad::cuda::Precision::f32,
                                                    uint64_t free = uint64_t(1) << 40, HostCardLog* log = nullptr);
