// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// One step of Adam, AdamW or SGD over all parameters at once: they lie in one piece of memory, and so do their gradients,
// moments and the copies in working precision. AdvanceStep runs before.

#include <cmath>

#include "voxgrad/cuda/element.hpp"
#include "voxgrad/cuda/kernels/optimizer_state.hpp"
#include "voxgrad/cuda/phases.hpp"

namespace voxgrad::cuda {

/// w, m, v of one parameter after a step, in the order of operations of cpu/adam_ref.hpp.
VOXGRAD_HD inline void adam_element(const OptimizerFactors& f, float g, float& w, float& m, float& v) {
  const float shrunk = w * f.shrink;
  g = g + f.decay * w;
  m = f.beta1 * m + f.rest1 * g;
  v = f.beta2 * v + f.rest2 * g * g;
  w = shrunk - f.step_size * (m / (std::sqrt(v) * f.inv_sqrt_bc2 + f.eps));
}

/// w and momentum buffer of one parameter after a step of SGD; at first the buffer is the gradient.
VOXGRAD_HD inline void sgd_element(const OptimizerFactors& f, float decay, bool nesterov, bool first, float g, float& w, float& buffer) {
  g = g + decay * w;
  buffer = first ? g : f.momentum * buffer + g;
  w -= f.lr * (nesterov ? g + f.momentum * buffer : buffer);
}

/// E: working precision; G: of the gradients.
template <class E, class G = float>
struct AdamArena {
  static constexpr const char* name = "adam";
  static constexpr int threads = 256, phases = 1, width = 4;
  struct Args {
    int64_t n;
    float* master;      ///< parameters, as all arrays here 16-byte aligned
    const G* gradient;  ///< of the loss times the loss scale
    float *m, *v;
    E* working;  ///< written: the parameters as E, in the same order; null: not wanted
    const OptimizerState* state;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  static int64_t blocks(const Args& a) { return (a.n + threads * width - 1) / (threads * width); }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    if (a.state->skip) return;
    const OptimizerFactors f = a.state->factors;
    const float scale = a.state->inverse_scale;
    const int64_t first = (at.block * threads + at.thread) * width;
    if (first + width <= a.n) {
      float w[width], g[width], m[width], v[width];
      load<width>(a.master + first, w);
      load<width>(a.gradient + first, g);
      load<width>(a.m + first, m);
      load<width>(a.v + first, v);
      for (int i = 0; i < width; ++i) adam_element(f, g[i] * scale, w[i], m[i], v[i]);
      store<width>(a.master + first, w);
      store<width>(a.m + first, m);
      store<width>(a.v + first, v);
      if (a.working) store<width>(a.working + first, w);
    } else {
      for (int64_t i = first; i < a.n; ++i) {
        adam_element(f, float(a.gradient[i]) * scale, a.master[i], a.m[i], a.v[i]);
        if (a.working) a.working[i] = E(a.master[i]);
      }
    }
  }
};

template <class E, class G = float>
struct SgdArena {
  static constexpr const char* name = "sgd";
  static constexpr int threads = 256, phases = 1, width = 4;
  struct Args {
    int64_t n;
    float* master;      ///< parameters, as all arrays here 16-byte aligned
    const G* gradient;  ///< of the loss times the loss scale
    float* buffer;      ///< null if and only if the momentum is 0
    E* working;         ///< written: the parameters as E, in the same order; null: not wanted
    const OptimizerState* state;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  static int64_t blocks(const Args& a) { return (a.n + threads * width - 1) / (threads * width); }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    if (a.state->skip) return;
    const OptimizerFactors f = a.state->factors;
    const float decay = float(a.state->settings.weight_decay), scale = a.state->inverse_scale;
    const bool nesterov = a.state->settings.nesterov, begin = a.state->step == 1 || !a.buffer;
    const int64_t first = (at.block * threads + at.thread) * width;
    if (first + width <= a.n) {
      float w[width], g[width], b[width] = {};
      load<width>(a.master + first, w);
      load<width>(a.gradient + first, g);
      if (!begin) load<width>(a.buffer + first, b);
      for (int i = 0; i < width; ++i) sgd_element(f, decay, nesterov, begin, g[i] * scale, w[i], b[i]);
      store<width>(a.master + first, w);
      if (a.buffer) store<width>(a.buffer + first, b);
      if (a.working) store<width>(a.working + first, w);
    } else {
      for (int64_t i = first; i < a.n; ++i) {
        float b = begin ? 0.0f : a.buffer[i];
        sgd_element(f, decay, nesterov, begin, float(a.gradient[i]) * scale, a.master[i], b);
        if (a.buffer) a.buffer[i] = b;
        if (a.working) a.working[i] = E(a.master[i]);
      }
    }
  }
};

}  // namespace voxgrad::cuda
