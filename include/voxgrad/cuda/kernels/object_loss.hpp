// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// StarDist's loss of the object probability, from logits (stardist_prob_loss in models/stardist3d_loss.hpp): mean binary
// cross-entropy over voxels with a target of at least 0, probabilities clipped to [1e-7, 1 - 1e-7], logarithms shifted by
// 1e-7, in f64 past the sigmoid. The mean's denominator is known after a pass over all voxels, so the gradient is another one.

#include <cmath>

#include "voxgrad/cuda/kernels/finish_sum.hpp"
#include "voxgrad/kernels/pointwise.hpp"

namespace voxgrad::cuda {

/// loss = error / max(1, valid).
struct ObjectLossResult {
  double error, valid, loss;
};

struct ObjectLossTerm {
  static constexpr double epsilon = 1e-7;
  VOXGRAD_HD static double valid(float target) { return target >= 0 ? 1 : target <= -1 ? 0 : 1 + double(target); }
  VOXGRAD_HD static double goal(float target) { return target > 0 ? target < 1 ? double(target) : 1 : 0; }

  VOXGRAD_HD static double f(float logit, float target) {
    const double s = double(kernels::Sigmoid::f(logit, {})), t = goal(target);
    const double q = s < epsilon ? epsilon : s > 1 - epsilon ? 1 - epsilon : s;
    return -valid(target) * (t * std::log(q + epsilon) + (1 - t) * std::log(1 - q + epsilon));
  }
  VOXGRAD_HD static float df(double scale, float logit, float target) {
    const float s = kernels::Sigmoid::f(logit, {});
    const double q = double(s), t = goal(target);
    if (q < epsilon || q > 1 - epsilon) return 0;
    return float(-scale * valid(target) * (t / (q + epsilon) - (1 - t) / (1 - q + epsilon))) * (s * (1 - s));
  }
};

/// Two sums per block: error and valid voxels.
struct ObjectLossForward {
  static constexpr const char* name = "object_loss";
  static constexpr int threads = 256, phases = 3, run_length = 1024;  ///< voxels of a block
  struct Args {
    int64_t n;
    const float *logit, *target;
    double* partial;  ///< workspace_bytes(n)
  };
  using Shared = BlockSum<threads, 2>;
  using Thread = Nothing;

  VOXGRAD_HD static int64_t partials(int64_t n) { return (n + run_length - 1) / run_length; }
  static int64_t workspace_bytes(int64_t n) { return partials(n) * 2 * int64_t(sizeof(double)); }
  static int64_t blocks(const Args& a) { return partials(a.n); }

  template <int phase>
  VOXGRAD_HD static void run(const Args& a, At at, Shared& s, Thread&) {
    if constexpr (phase == 0) {
      const int64_t end = (at.block + 1) * run_length < a.n ? (at.block + 1) * run_length : a.n;
      double error = 0, valid = 0;
      for (int64_t i = at.block * run_length + at.thread; i < end; i += threads) {
        error += ObjectLossTerm::f(a.logit[i], a.target[i]);
        valid += ObjectLossTerm::valid(a.target[i]);
      }
      s.put(at.thread, error, 0);
      s.put(at.thread, valid, 1);
    }
    if constexpr (phase == 1) s.fold(at.thread);
    if constexpr (phase == 2)
      if (at.thread < 2) a.partial[at.block * 2 + at.thread] = s.total(at.thread);
  }
};

struct ObjectLossFinish {
  static constexpr const char* name = "object_loss_finish";
  static constexpr int threads = 256, phases = 3;
  struct Args {
    int64_t n;
    const double* partial;  ///< of ObjectLossForward
    ObjectLossResult* result;
    LossRing ring;  ///< of the loss; values null: none
  };
  using Shared = BlockSum<threads, 2>;
  using Thread = Nothing;

  static int64_t blocks(const Args&) { return 1; }

  template <int phase>
  VOXGRAD_HD static void run(const Args& a, At at, Shared& s, Thread&) {
    if constexpr (phase == 0)
      for (int c = 0; c < 2; ++c)
        s.put(at.thread, strided_sum(a.partial + c, ObjectLossForward::partials(a.n), 2, at.thread, threads), c);
    if constexpr (phase == 1) s.fold(at.thread);
    if constexpr (phase == 2) {
      if (at.thread != 0) return;
      ObjectLossResult r{s.total(0), s.total(1), 0};
      r.loss = r.error / (r.valid > 1 ? r.valid : 1);
      *a.result = r;
      if (a.ring.values) a.ring.put(r.loss);
    }
  }
};

/// dlogit = factor * loss scale * d loss / d logit, written in full.
struct ObjectLossBackward {
  static constexpr const char* name = "object_loss_backward";
  static constexpr int threads = 256, phases = 1;
  struct Args {
    int64_t n;
    const float *logit, *target;
    const ObjectLossResult* result;  ///< of ObjectLossFinish
    double factor;
    const OptimizerState* state;  ///< its loss scale; null: 1
    float* dlogit;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  static int64_t blocks(const Args& a) { return (a.n + threads - 1) / threads; }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    const int64_t i = at.block * threads + at.thread;
    if (i >= a.n) return;
    const double valid = a.result->valid;
    const double scale = a.factor * double(a.state ? a.state->loss_scale : 1.0f) / (valid > 1 ? valid : 1);
    a.dlogit[i] = ObjectLossTerm::df(scale, a.logit[i], a.target[i]);
  }
};

}  // namespace voxgrad::cuda
