// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// StarDist's loss of the classes, from logits (stardist_class_loss in models/stardist3d_loss.hpp): softmax over a voxel's
// channels, then -sum of weight t log q with q = p / sum(p + 1e-7) clipped to [1e-7, 1 - 1e-7], mean over voxels, in f64 past
// the softmax. A thread takes a voxel; class heads have a handful of channels, which it reads again rather than keeps.

#include <cmath>

#include "voxgrad/cuda/kernels/block_sum.hpp"
#include "voxgrad/cuda/kernels/optimizer_state.hpp"

namespace voxgrad::cuda {

/// One sum per block, for FinishSum with scale 1 / voxels, and the gradient in the same pass.
struct ClassLoss {
  static constexpr const char* name = "class_loss";
  static constexpr int threads = 256, phases = 3;
  struct Args {
    int64_t voxels, classes;  ///< background counted
    const float* logit;       ///< [voxels, classes]
    const float* target;      ///< [voxels, classes], one-hot, or -1 to leave a voxel out
    const float* weight;      ///< [classes]; null: 1
    double factor;            ///< of the gradient
    const OptimizerState* state;  ///< its loss scale; null: 1
    float* dlogit;                ///< [voxels, classes]; null: no gradient
    double* partial;              ///< workspace_bytes(voxels)
  };
  using Shared = BlockSum<threads>;
  using Thread = Nothing;

  static int64_t blocks(const Args& a) { return (a.voxels + threads - 1) / threads; }
  static int64_t workspace_bytes(int64_t voxels) { return (voxels + threads - 1) / threads * int64_t(sizeof(double)); }

  template <int phase>
  VOXGRAD_HD static void run(const Args& a, At at, Shared& s, Thread&) {
    if constexpr (phase == 0) {
      const int64_t v = at.block * threads + at.thread;
      s.put(at.thread, v < a.voxels ? voxel(a, a.logit + v * a.classes, a.target + v * a.classes, a.dlogit ? a.dlogit + v * a.classes : nullptr) : 0.0);
    }
    if constexpr (phase == 1) s.fold(at.thread);
    if constexpr (phase == 2)
      if (at.thread == 0) a.partial[at.block] = s.total();
  }

 private:
  static constexpr double epsilon = 1e-7;

  /// Softmax of a row: p(c) in float, as a network's output has it.
  struct Row {
    const float* x;
    float top = 0;
    double sum = 0;  ///< of e^(x - top)
    double all = 0;  ///< of p + epsilon
    VOXGRAD_HD Row(const float* logits, int64_t classes) : x(logits), top(logits[0]) {
      for (int64_t c = 1; c < classes; ++c) top = x[c] > top ? x[c] : top;
      for (int64_t c = 0; c < classes; ++c) sum += double(std::exp(x[c] - top));
      for (int64_t c = 0; c < classes; ++c) all += double(p(c)) + epsilon;
    }
    VOXGRAD_HD float p(int64_t c) const { return float(double(std::exp(x[c] - top)) / sum); }
    VOXGRAD_HD double q(int64_t c) const { return double(p(c)) / all; }
    VOXGRAD_HD static bool inside(double q) { return q >= epsilon && q <= 1 - epsilon; }
  };

  VOXGRAD_HD static double goal(const Args& a, const float* target, int64_t c) {
    const float t = target[c] > 0 ? target[c] < 1 ? target[c] : 1.0f : 0.0f;
    return double(t) * double(a.weight ? a.weight[c] : 1.0f);
  }

  VOXGRAD_HD static double voxel(const Args& a, const float* logit, const float* target, float* dlogit) {
    const Row row(logit, a.classes);
    double loss = 0;
    for (int64_t c = 0; c < a.classes; ++c) {
      const double q = row.q(c);
      loss -= goal(a, target, c) * std::log(q < epsilon ? epsilon : q > 1 - epsilon ? 1 - epsilon : q);
    }
    if (!dlogit) return loss;
    const double scale = a.factor * double(a.state ? a.state->loss_scale : 1.0f) / double(a.voxels);
    double dot = 0;
    for (int64_t c = 0; c < a.classes; ++c) dot += double(dp(a, row, target, scale, c)) * double(row.p(c));
    for (int64_t c = 0; c < a.classes; ++c) dlogit[c] = float(double(row.p(c)) * (double(dp(a, row, target, scale, c)) - dot));
    return loss;
  }
  /// Slope of the loss to p(c), but for what all classes share, which the softmax takes out again: the part of the sum that
  /// divides them.
  VOXGRAD_HD static float dp(const Args& a, const Row& row, const float* target, double scale, int64_t c) {
    const double q = row.q(c);
    return Row::inside(q) ? float(-scale * goal(a, target, c) / (q * row.all)) : 0.0f;
  }
};

}  // namespace voxgrad::cuda
