// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// How far StarDist-3D sees: which outputs one input voxel reaches, followed through the layers axis by axis.

#include <algorithm>

#include "voxgrad/models/stardist3d_options.hpp"

namespace voxgrad::models {

/// Positions [low, high] that one input reaches, on an axis of `size`; low > high: none.
struct FieldSpan {
  int64_t size, low, high;

  FieldSpan conv(int64_t kernel, int64_t stride = 1) const {
    const int64_t out = (size + stride - 1) / stride, before = std::max<int64_t>((out - 1) * stride + kernel - size, 0) / 2;
    const int64_t first = low + before - (kernel - 1), last = high + before;
    return {out, first <= 0 ? 0 : (first + stride - 1) / stride, std::min(out - 1, last / stride)};
  }
  FieldSpan pool(int64_t factor) const { return {size / factor, low / factor, high / factor}; }
  FieldSpan up(int64_t factor) const { return {size * factor, low * factor, high * factor + factor - 1}; }
  FieldSpan joined(const FieldSpan& o) const {
    if (o.low > o.high) return *this;
    return low > high ? o : FieldSpan{size, std::min(low, o.low), std::max(high, o.high)};
  }
};

/// The outputs, in grid voxels, that input `at` of `size` reaches along an axis.
inline FieldSpan field_span(const StarDist3dOptions& o, size_t axis, int64_t size, int64_t at) {
  FieldSpan x{size, at, at};
  const auto convs = [&](int64_t count, int64_t kernel) {
    for (int64_t i = 0; i < count; ++i) x = x.conv(kernel);
  };
  const auto steps = grid_steps(o.grid);
  if (!o.is_unet()) {
    const int64_t k = o.resnet_kernel_size[axis];
    x = x.conv(7).conv(3);
    for (size_t i = 0; i < size_t(o.resnet_n_blocks); ++i) {
      const int64_t stride = i < steps.size() ? steps[i][axis] : 1;
      const FieldSpan shortcut = x.conv(1, stride);
      x = x.conv(k, stride);
      convs(o.resnet_n_conv_per_block - 1, k);
      x = x.joined(shortcut);
    }
    if (o.net_conv_after_resnet > 0) x = x.conv(k);
    return x;
  }
  const int64_t k = o.unet_kernel_size[axis], pool = o.unet_pool[axis], per_level = o.unet_n_conv_per_depth;
  for (const auto& step : steps) {
    convs(per_level, k);
    x = x.pool(step[axis]);
  }
  std::vector<FieldSpan> skips;
  for (int64_t level = 0; level < o.unet_n_depth; ++level) {
    convs(per_level, k);
    skips.push_back(x);
    x = x.pool(pool);
  }
  convs(per_level, k);
  for (; !skips.empty(); skips.pop_back()) {
    x = x.up(pool).joined(skips.back());
    convs(per_level, k);
  }
  if (o.net_conv_after_unet > 0) x = x.conv(k);
  return x;
}

/// Voxels along z, y, x that the Python package measures and overlaps its tiles by: how far the middle of a volume of
/// 64 * grid reaches, its outputs enlarged by nearest neighbours with the first and the last kept in place.
inline std::array<int64_t, 3> receptive_field(const StarDist3dOptions& o) {
  std::array<int64_t, 3> field{};
  for (size_t a = 0; a < 3; ++a) {
    const int64_t size = 64 * o.grid[a], middle = size / 2;
    const FieldSpan x = field_span(o, a, size, middle);
    const double step = double(x.size - 1) / double(size - 1);
    for (int64_t i = 0; i < size; ++i) {
      const int64_t from = int64_t(double(i) * step + 0.5);
      if (from >= x.low && from <= x.high) field[a] = std::max(field[a], std::abs(i - middle));
    }
  }
  return field;
}

/// Voxels along z, y, x beyond which no input changes an output, wherever it lies: at least what tiles have to overlap.
inline std::array<int64_t, 3> receptive_bound(const StarDist3dOptions& o) {
  std::array<int64_t, 3> bound{};
  for (size_t a = 0; a < 3; ++a) {
    const int64_t period = o.multiple()[a], size = period * 4096;
    for (int64_t at = size / 2; at < size / 2 + period; ++at) {
      const FieldSpan x = field_span(o, a, size, at);
      bound[a] = std::max({bound[a], at - x.low * o.grid[a], x.high * o.grid[a] + o.grid[a] - 1 - at});
    }
  }
  return bound;
}

}  // namespace voxgrad::models
