// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Before an optimiser's kernel: are all gradients finite (only needed where losses are scaled), and the numbers of the next
// step. Both without a word from the host, so that a captured step can be replayed.

#include <cmath>

#include "voxgrad/cuda/element.hpp"
#include "voxgrad/cuda/kernels/optimizer_state.hpp"
#include "voxgrad/cuda/phases.hpp"

namespace voxgrad::cuda {

/// state->nonfinite = 1 if any gradient is infinite or NaN; otherwise it stays.
template <class G>
struct NonFiniteCheck {
  static constexpr const char* name = "non_finite_check";
  static constexpr int threads = 256, phases = 1, width = 8;
  struct Args {
    int64_t n;
    const G* gradient;  ///< 16-byte aligned
    OptimizerState* state;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  static int64_t blocks(const Args& a) { return (a.n + threads * width - 1) / (threads * width); }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    const int64_t first = (at.block * threads + at.thread) * width;
    float nought = 0;  // x * 0 is 0 for finite x only
    if (first + width <= a.n) {
      float g[width];
      load<width>(a.gradient + first, g);
      for (const float v : g) nought += v * 0.0f;
    } else {
      for (int64_t i = first; i < a.n; ++i) nought += float(a.gradient[i]) * 0.0f;
    }
    if (!(nought == 0.0f)) a.state->nonfinite = 1;  // all writers write the same
  }
};

/// One thread: counts the step or skips it, sets its factors and the next loss scale.
struct AdvanceStep {
  static constexpr const char* name = "advance_step";
  static constexpr int threads = 1, phases = 1;
  struct Args {
    OptimizerState* state;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  static int64_t blocks(const Args&) { return 1; }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At, Shared&, Thread&) {
    OptimizerState s = *a.state;
    s.skip = s.nonfinite;
    s.nonfinite = 0;
    s.iteration += 1;
    s.step += s.skip ? 0 : 1;
    s.skipped += s.skip ? 1 : 0;
    s.inverse_scale = 1.0f / s.loss_scale;  // exact: powers of two
    if (s.settings.dynamic_scale) next_scale(s);
    s.factors = factors(s.settings, s.step > 0 ? s.step : 1);
    *a.state = s;
  }

 private:
  /// Halved by a gradient that overflowed, doubled after a long time without one (Micikevicius et al. 2018).
  VOXGRAD_HD static void next_scale(OptimizerState& s) {
    s.clean = s.skip ? 0 : s.clean + 1;
    if (s.skip) s.loss_scale *= 0.5f;
    if (s.clean >= s.settings.growth_interval) s.loss_scale *= 2.0f, s.clean = 0;
    if (s.loss_scale > largest_loss_scale) s.loss_scale = largest_loss_scale;
    if (s.loss_scale < smallest_loss_scale) s.loss_scale = smallest_loss_scale;
  }
  /// As cpu::AdamFactors, in double, then rounded.
  VOXGRAD_HD static OptimizerFactors factors(const OptimizerSettings& o, int64_t step) {
    const double bc1 = 1 - std::pow(o.beta1, double(step)), root_bc2 = std::sqrt(1 - std::pow(o.beta2, double(step)));
    OptimizerFactors f;
    f.beta1 = float(o.beta1);
    f.rest1 = float(1 - o.beta1);
    f.beta2 = float(o.beta2);
    f.rest2 = float(1 - o.beta2);
    f.decay = float(o.decoupled ? 0 : o.weight_decay);
    f.shrink = float(o.decoupled ? 1 - o.lr * o.weight_decay : 1);
    f.step_size = float(o.lr / bc1);
    f.inv_sqrt_bc2 = float(1 / root_bc2);
    f.eps = float(o.epsilon_hat ? o.eps / root_bc2 : o.eps);
    f.lr = float(o.lr);
    f.momentum = float(o.momentum);
    return f;
  }
};

}  // namespace voxgrad::cuda
