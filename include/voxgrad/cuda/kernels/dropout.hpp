// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Dropout with the numbers of ops/dropout.hpp: y = x / (1 - rate) where draw position + i is at least rate, else x * 0.
// Backward is the same kernel on dy.

#include "voxgrad/core/random.hpp"
#include "voxgrad/cuda/element.hpp"
#include "voxgrad/cuda/phases.hpp"

namespace voxgrad::cuda {

template <class E>
struct Dropout {
  static constexpr const char* name = "dropout";
  static constexpr int threads = 256, phases = 1;
  struct Args {
    int64_t n;
    uint64_t seed, stream, position;
    const uint64_t* advance;  ///< added to the position, for replays of a step; null: 0
    double rate;
    const E* x;
    E* y;  ///< may be x
  };
  using Shared = Nothing;
  using Thread = Nothing;

  static int64_t blocks(const Args& a) { return (a.n + threads - 1) / threads; }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    const int64_t i = at.block * threads + at.thread;
    if (i >= a.n) return;
    Random draw(a.seed, a.stream, a.position + (a.advance ? *a.advance : 0) + uint64_t(i));
    a.y[i] = E(float(a.x[i]) * (draw.uniform() < a.rate ? 0.0f : float(1 / (1 - a.rate))));
  }
};

/// Draws of Random(seed, stream, position + i), as bits and as uniform numbers: card and CPU must agree on them.
struct DrawNumbers {
  static constexpr const char* name = "draw_numbers";
  static constexpr int threads = 64, phases = 1;
  struct Args {
    int64_t n;
    uint64_t seed, stream, position, below;
    uint64_t *bits, *integers;  ///< integers: in 0..below-1
    double* uniform;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  static int64_t blocks(const Args& a) { return (a.n + threads - 1) / threads; }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    const int64_t i = at.block * threads + at.thread;
    if (i >= a.n) return;
    const Random draw(a.seed, a.stream, a.position + uint64_t(i));
    a.bits[i] = Random(draw)();
    a.integers[i] = Random(draw).below(a.below);
    a.uniform[i] = Random(draw).uniform();
  }
};

}  // namespace voxgrad::cuda
