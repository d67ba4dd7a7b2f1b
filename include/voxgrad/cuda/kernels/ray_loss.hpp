// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// StarDist's distance error (kernels/ray_loss.hpp): sums over voxels of a masked mean over rays, the loss from them, and its
// gradient. Eight threads share a voxel, each the chain of rays l, l + 8, ... that cpu/ray_loss.hpp sums too.

#include <cmath>

#include "voxgrad/cuda/element.hpp"
#include "voxgrad/cuda/kernels/finish_sum.hpp"
#include "voxgrad/kernels/ray_loss.hpp"

namespace voxgrad::cuda {

using kernels::RayError;

/// What a card keeps of a masked error: kernels::RayLossSums, and the loss.
struct RayLossResult {
  double error, size, mask, loss;
};

inline constexpr double ray_epsilon = 1e-7;

struct RayLanes {
  static constexpr int threads = 256, lanes = 8, voxels = threads / lanes;  ///< of a block
  static int64_t blocks(int64_t n) { return (n + voxels - 1) / voxels; }

  VOXGRAD_HD static int lane(int thread) { return thread % lanes; }
  VOXGRAD_HD static int place(int thread) { return thread / lanes; }
  VOXGRAD_HD static float cut(float mask) { return mask > 0 ? mask < 1 ? mask : 1.0f : 0.0f; }
  VOXGRAD_HD static float sign(float x) { return x > 0 ? 1.0f : x < 0 ? -1.0f : 0.0f; }

  /// One ray's share of the error: |d - p|, (d - p)^2, or of intersection and union.
  VOXGRAD_HD static void add(RayError kind, float p, float d, float& error, float& joint) {
    const float difference = d - p;
    if (kind == RayError::mae) {
      error += std::fabs(difference);
    } else if (kind == RayError::mse) {
      error += difference * difference;
    } else {
      const float q = kind == RayError::overlap && p < 0 ? 0.0f : p;
      const float low = q < d ? q : d, high = p > d ? p : d;
      error += low * std::fabs(low);  // sign(p) min^2, as d >= 0
      joint += high * high;
    }
  }
  VOXGRAD_HD static double sum(const float (&chain)[lanes]) {
    double all = 0;
    for (const float c : chain) all += double(c);
    return all;
  }
  VOXGRAD_HD static double mean(const float (&chain)[lanes], int64_t rays) { return sum(chain) / double(rays); }
};

/// Three sums per block: mask * error, (1 - mask) * <|p|>, mask.
template <class E>
struct RayLossForward {
  static constexpr const char* name = "ray_loss";
  static constexpr int threads = RayLanes::threads, phases = 3;
  struct Args {
    int64_t voxels, rays;
    RayError kind;
    const E* dist;         ///< [voxels, rays]
    const float* target;   ///< [voxels, rays], not below 0
    const float* mask;     ///< [voxels], cut to 0..1
    double* partial;       ///< workspace_bytes(voxels)
  };
  struct Shared {
    float error[RayLanes::voxels][RayLanes::lanes], joint[RayLanes::voxels][RayLanes::lanes], size[RayLanes::voxels][RayLanes::lanes];
    double sums[3][RayLanes::voxels];
  };
  using Thread = Nothing;

  static int64_t workspace_bytes(int64_t voxels) { return RayLanes::blocks(voxels) * 3 * int64_t(sizeof(double)); }
  static int64_t blocks(const Args& a) { return RayLanes::blocks(a.voxels); }

  template <int phase>
  VOXGRAD_HD static void run(const Args& a, At at, Shared& s, Thread&) {
    if constexpr (phase == 0) {
      const int l = RayLanes::lane(at.thread), place = RayLanes::place(at.thread);
      const int64_t v = at.block * RayLanes::voxels + place;
      if (v >= a.voxels) return;
      float error = 0, joint = 0, size = 0;
      for (int64_t r = v * a.rays + l; r < (v + 1) * a.rays; r += RayLanes::lanes) {
        const float p = float(a.dist[r]);
        RayLanes::add(a.kind, p, a.target[r], error, joint);
        size += std::fabs(p);
      }
      s.error[place][l] = error;
      s.joint[place][l] = joint;
      s.size[place][l] = size;
    }
    if constexpr (phase == 1) {
      if (at.thread >= RayLanes::voxels) return;
      const int64_t v = at.block * RayLanes::voxels + at.thread;
      const double mask = v < a.voxels ? double(RayLanes::cut(a.mask[v])) : 0;
      s.sums[0][at.thread] = mask > 0 ? mask * voxel_error(a, s, at.thread) : 0;
      s.sums[1][at.thread] = v < a.voxels && mask < 1 ? (1 - mask) * RayLanes::mean(s.size[at.thread], a.rays) : 0;
      s.sums[2][at.thread] = mask;
    }
    if constexpr (phase == 2) {
      if (at.thread >= 3) return;
      double sum = 0;
      for (const double of_voxel : s.sums[at.thread]) sum += of_voxel;
      a.partial[at.block * 3 + at.thread] = sum;
    }
  }

 private:
  VOXGRAD_HD static double voxel_error(const Args& a, const Shared& s, int place) {
    const double error = RayLanes::mean(s.error[place], a.rays);
    if (a.kind == RayError::mae || a.kind == RayError::mse) return error;
    const double ratio = error / (RayLanes::mean(s.joint[place], a.rays) + ray_epsilon);
    return a.kind == RayError::overlap ? ratio : 1 - ratio;
  }
};

/// The sums of all blocks, and loss = error / (mask + voxels 1e-7) + background_reg size / voxels.
struct RayLossFinish {
  static constexpr const char* name = "ray_loss_finish";
  static constexpr int threads = 256, phases = 3;
  struct Args {
    int64_t voxels;
    const double* partial;  ///< of RayLossForward
    double background_reg;
    RayLossResult* result;
    LossRing ring;  ///< of the loss; values null: none
  };
  using Shared = BlockSum<threads, 3>;
  using Thread = Nothing;

  static int64_t blocks(const Args&) { return 1; }

  template <int phase>
  VOXGRAD_HD static void run(const Args& a, At at, Shared& s, Thread&) {
    if constexpr (phase == 0) {
      const int64_t rows = (a.voxels + RayLanes::voxels - 1) / RayLanes::voxels;
      for (int c = 0; c < 3; ++c) s.put(at.thread, strided_sum(a.partial + c, rows, 3, at.thread, threads), c);
    }
    if constexpr (phase == 1) s.fold(at.thread);
    if constexpr (phase == 2) {
      if (at.thread != 0) return;
      const double n = double(a.voxels);
      RayLossResult r{s.total(0), s.total(1), s.total(2), 0};
      r.loss = r.error / (r.mask + n * 1e-7) + r.size * (a.background_reg / n);
      *a.result = r;
      if (a.ring.values) a.ring.put(r.loss);
    }
  }
};

/// ddist = factor * loss scale * d loss / d dist, written in full. Not for RayError::overlap, which is a measure.
template <class E>
struct RayLossBackward {
  static constexpr const char* name = "ray_loss_backward";
  static constexpr int threads = RayLanes::threads, phases = 3;
  struct Args {
    int64_t voxels, rays;
    RayError kind;
    const E* dist;
    const float *target, *mask;
    const RayLossResult* result;  ///< of RayLossFinish
    double background_reg, factor;
    const OptimizerState* state;  ///< its loss scale; null: 1
    E* ddist;                     ///< [voxels, rays]
  };
  struct Voxel {
    float per, size, of_inter, of_joint;
  };
  struct Shared {
    float inter[RayLanes::voxels][RayLanes::lanes], joint[RayLanes::voxels][RayLanes::lanes];
    Voxel voxel[RayLanes::voxels];
  };
  using Thread = Nothing;

  static int64_t blocks(const Args& a) { return RayLanes::blocks(a.voxels); }

  template <int phase>
  VOXGRAD_HD static void run(const Args& a, At at, Shared& s, Thread&) {
    const int l = RayLanes::lane(at.thread), place = RayLanes::place(at.thread);
    const int64_t v = at.block * RayLanes::voxels + place;
    if constexpr (phase == 0) {
      if (a.kind != RayError::iou || v >= a.voxels) return;
      float inter = 0, joint = 0;
      for (int64_t r = v * a.rays + l; r < (v + 1) * a.rays; r += RayLanes::lanes)
        RayLanes::add(a.kind, float(a.dist[r]), a.target[r], inter, joint);
      s.inter[place][l] = inter;
      s.joint[place][l] = joint;
    }
    if constexpr (phase == 1) {
      const int64_t mine = at.block * RayLanes::voxels + at.thread;
      if (at.thread < RayLanes::voxels && mine < a.voxels) s.voxel[at.thread] = slopes(a, s, at.thread, a.mask[mine]);
    }
    if constexpr (phase == 2) {
      if (v >= a.voxels) return;
      const Voxel k = s.voxel[place];
      for (int64_t r = v * a.rays + l; r < (v + 1) * a.rays; r += RayLanes::lanes) {
        const float p = float(a.dist[r]);
        a.ddist[r] = E(k.per * slope(a.kind, k, p, a.target[r]) + k.size * RayLanes::sign(p));
      }
    }
  }

 private:
  VOXGRAD_HD static Voxel slopes(const Args& a, const Shared& s, int place, float mask) {
    const double weight = double(RayLanes::cut(mask)), n = double(a.voxels), per_ray = 1 / double(a.rays);
    const double scale = a.factor * double(a.state ? a.state->loss_scale : 1.0f) * per_ray;
    Voxel k{};
    k.per = float(scale * weight / (a.result->mask + n * 1e-7));
    k.size = float(scale * a.background_reg * (1 - weight) / n);
    if (a.kind != RayError::iou) return k;
    const double per_joint = 1 / (RayLanes::sum(s.joint[place]) * per_ray + ray_epsilon);
    k.of_inter = float(-2 * per_joint);
    k.of_joint = float(2 * RayLanes::sum(s.inter[place]) * per_ray * per_joint * per_joint);
    return k;
  }
  VOXGRAD_HD static float slope(RayError kind, const Voxel& k, float p, float d) {
    if (kind == RayError::mae) return RayLanes::sign(p - d);
    if (kind == RayError::mse) return 2.0f * (p - d);
    return p < d ? k.of_inter * std::fabs(p) : k.of_joint * p;
  }
};

}  // namespace voxgrad::cuda
