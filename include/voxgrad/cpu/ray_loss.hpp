// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU table of StarDist's distance error: one pass over distances and targets, sums in blocks that do not depend on
// the threads.

#include <algorithm>
#include <cmath>
#include <vector>

#include "voxgrad/core/parallel.hpp"
#include "voxgrad/kernels/ray_loss.hpp"

namespace voxgrad::cpu {

inline constexpr double ray_epsilon = 1e-7;
inline constexpr int64_t ray_block = 256;  ///< voxels of one partial sum

/// Mean of f(r) over rays, in eight chains.
template <class T, class F>
double ray_mean(int64_t rays, F&& f) {
  T lanes[8] = {};
  int64_t r = 0;
  for (; r + 8 <= rays; r += 8)
    for (int64_t l = 0; l < 8; ++l) lanes[l] += f(r + l);
  for (int64_t l = 0; r < rays; ++r, ++l) lanes[l] += f(r);
  double total = 0;
  for (const T lane : lanes) total += double(lane);
  return total / double(rays);
}

template <class T>
double sign_of(T x) { return double(x > T(0)) - double(x < T(0)); }

/// The parts of the intersection over union of one voxel.
template <class T>
struct RayOverlap {
  double inter, joint;
  RayOverlap(int64_t rays, const T* p, const T* d, bool clipped)
      : inter(ray_mean<T>(rays, [&](int64_t r) {
          const T q = std::min(d[r], clipped ? std::max(p[r], T(0)) : p[r]);
          return q * std::abs(q);  // sign(p) min^2, as d >= 0
        })),
        joint(ray_mean<T>(rays, [&](int64_t r) {
                const T q = std::max(d[r], p[r]);
                return q * q;
              }) +
              ray_epsilon) {}
  double ratio() const { return inter / joint; }
};

template <class T>
double ray_error(kernels::RayError kind, int64_t rays, const T* p, const T* d) {
  switch (kind) {
    case kernels::RayError::mae: return ray_mean<T>(rays, [&](int64_t r) { return std::abs(d[r] - p[r]); });
    case kernels::RayError::mse: return ray_mean<T>(rays, [&](int64_t r) { return (d[r] - p[r]) * (d[r] - p[r]); });
    case kernels::RayError::iou: return 1 - RayOverlap<T>(rays, p, d, false).ratio();
    case kernels::RayError::overlap: return RayOverlap<T>(rays, p, d, true).ratio();
  }
  return 0;
}

/// g[r] = a d error / d p[r] + b d <|p|> / d p[r].
template <class T>
void ray_gradient(kernels::RayError kind, int64_t rays, const T* p, const T* d, double a, double b, T* g) {
  const T per = T(a / double(rays)), size = T(b / double(rays));
  const auto each = [&](auto&& slope) {
    for (int64_t r = 0; r < rays; ++r) g[r] = per * slope(r) + size * T(sign_of(p[r]));
  };
  if (kind == kernels::RayError::mae) return each([&](int64_t r) { return T(sign_of(p[r] - d[r])); });
  if (kind == kernels::RayError::mse) return each([&](int64_t r) { return T(2) * (p[r] - d[r]); });
  const RayOverlap<T> o(rays, p, d, false);
  const T of_inter = T(-2 / o.joint), of_joint = T(2 * o.inter / (o.joint * o.joint));
  each([&](int64_t r) { return p[r] < d[r] ? of_inter * std::abs(p[r]) : of_joint * p[r]; });
}

template <class T>
T ray_mask(T m) { return std::clamp(m, T(0), T(1)); }

inline kernels::RayLossSums ray_loss_sums(const kernels::RayLossProblem& p, const void* dist, const void* target,
                                          const void* mask) {
  const int64_t blocks = (p.voxels + ray_block - 1) / ray_block;
  std::vector<kernels::RayLossSums> parts(size_t(blocks), {0, 0, 0});
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *x = static_cast<const T*>(dist), *d = static_cast<const T*>(target), *m = static_cast<const T*>(mask);
    parallel_for(blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        for (int64_t v = i * ray_block; v < std::min(p.voxels, (i + 1) * ray_block); ++v) {
          const T* at = x + v * p.rays;
          const double weight = double(ray_mask(m[v]));
          kernels::RayLossSums& part = parts[size_t(i)];
          part.mask += weight;
          if (weight > 0) part.error += weight * ray_error(p.kind, p.rays, at, d + v * p.rays);
          if (weight < 1) part.size += (1 - weight) * ray_mean<T>(p.rays, [&](int64_t r) { return std::abs(at[r]); });
        }
    });
  });
  kernels::RayLossSums all{0, 0, 0};
  for (const auto& part : parts) all.error += part.error, all.size += part.size, all.mask += part.mask;
  return all;
}

inline void ray_loss_backward(const kernels::RayLossProblem& p, const void* dist, const void* target, const void* mask,
                              double per_error, double per_size, void* ddist) {
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *x = static_cast<const T*>(dist), *d = static_cast<const T*>(target), *m = static_cast<const T*>(mask);
    parallel_for(p.voxels, ray_block, [&](int64_t begin, int64_t end) {
      for (int64_t v = begin; v < end; ++v) {
        const double weight = double(ray_mask(m[v]));
        ray_gradient(p.kind, p.rays, x + v * p.rays, d + v * p.rays, per_error * weight, per_size * (1 - weight),
                     static_cast<T*>(ddist) + v * p.rays);
      }
    });
  });
}

inline constexpr kernels::RayLossTable ray_loss_table{ray_loss_sums, ray_loss_backward};
inline const bool ray_loss_filled = kernels::ray_loss.fill(DeviceKind::cpu, &ray_loss_table);

}  // namespace voxgrad::cpu
