// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What changes from step to step, in the card's memory, so that a step can be replayed without the host: the host writes
// the settings, AdvanceStep (advance_step.hpp) the rest.

#include <cstdint>

namespace voxgrad::cuda {

/// Written by the host, at any time between two steps. Adam's names are those of optim::AdamOptions; SGD uses lr, momentum,
/// nesterov and weight_decay.
struct OptimizerSettings {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0, momentum = 0;
  int32_t decoupled = 0, epsilon_hat = 0, nesterov = 0;
  int32_t dynamic_scale = 0;       ///< f16: losses are scaled, by a factor that follows the gradients
  int64_t growth_interval = 2000;  ///< steps with finite gradients until the scale doubles
};

/// Numbers of one step that do not depend on the element, in float.
struct OptimizerFactors {
  float beta1, rest1, beta2, rest2, decay, shrink, step_size, inv_sqrt_bc2, eps;  // Adam
  float lr, momentum;                                                             // SGD
};

struct OptimizerState {
  OptimizerSettings settings;  ///< first, so that the host can write it alone
  int64_t iteration = 0;       ///< passes over AdvanceStep; the place in loss rings
  int64_t step = 0;            ///< steps taken: iterations without those that were skipped
  int64_t skipped = 0, clean = 0;  ///< iterations without a step; steps since the scale last changed
  float loss_scale = 1;            ///< factor of the loss whose gradients are computed next
  float inverse_scale = 1;         ///< factor of the gradients at hand
  int32_t nonfinite = 0;           ///< NonFiniteCheck found infinity or NaN; AdvanceStep takes it back
  int32_t skip = 0;                ///< this step leaves all parameters and moments alone
  OptimizerFactors factors{};
};

inline constexpr float first_loss_scale = 65536, largest_loss_scale = 16777216, smallest_loss_scale = 1;

/// A run's first state, or that after `step` steps.
inline OptimizerState optimizer_state(const OptimizerSettings& settings, int64_t step = 0) {
  OptimizerState s;
  s.settings = settings;
  s.step = s.iteration = step;
  s.loss_scale = settings.dynamic_scale ? first_loss_scale : 1;
  return s;
}

}  // namespace voxgrad::cuda
