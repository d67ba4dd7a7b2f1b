// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The networks that `voxgrad bench` times, on random data, and the work that one pass is.

#include <array>
#include <functional>
#include <memory>

#include "voxgrad/models/stardist3d_loss.hpp"
#include "voxgrad/models/unet3d.hpp"
#include "voxgrad/ops/loss.hpp"

namespace voxgrad::app {

using Extents = std::array<int64_t, 3>;

/// Multiply-adds of the convolutions times two per sample, padding counted.
struct Work {
  double forward = 0;
  double first = 0;  ///< the first layer's part: its data gradient is never computed
  double training() const { return 3 * forward - first; }
  /// `voxels`: where the kernel is placed.
  void add(int64_t in, int64_t out, int64_t taps, double voxels) {
    forward += 2 * double(taps * in * out) * voxels;
    if (first == 0) first = forward;
  }
};

struct BenchNetwork {
  std::unique_ptr<nn::Module> module;
  Work work;
  std::function<Tensor()> output;  ///< a forward pass
  std::function<Tensor()> loss;    ///< forward pass and loss; only for training
};

inline double volume(const Extents& e) { return double(e[0] * e[1] * e[2]); }

inline Work work_of(const models::UNet3dOptions& o, const Extents& extent) {
  const auto voxels = [&](int64_t level) { return volume({extent[0] >> level, extent[1] >> level, extent[2] >> level}); };
  Work w;
  for (int64_t i = 0; i < o.layers; ++i) {
    const int64_t taps = i == 0 ? o.first_kernel * o.first_kernel * o.first_kernel : 27;
    w.add(i == 0 ? o.in_channels : o.width << (i - 1), o.width << i, taps, voxels(i));
    w.add(o.width << i, o.width << i, taps, voxels(i));
  }
  const int64_t deep = o.width << o.layers;
  w.add(deep / 2, deep * o.dilations, 27, voxels(o.layers));
  w.add(deep * o.dilations, deep, 27, voxels(o.layers));
  for (int64_t i = o.layers; i-- > 0;) {
    w.add(o.width << (i + 1), o.width << i, 27, voxels(i + 1));  // the transposed convolution works per input voxel
    w.add(o.width << (i + 1), o.width << i, 27, voxels(i));
    w.add(o.width << i, o.width << i, 27, voxels(i));
  }
  w.add(o.width, o.out_channels, 1, voxels(0));
  return w;
}

inline Work work_of(const models::StarDist3dOptions& o, Extents extent) {
  Work w;
  int64_t channels = o.n_channel_in;
  const int64_t taps = o.unet_kernel_size[0] * o.unet_kernel_size[1] * o.unet_kernel_size[2];
  const auto conv = [&](int64_t out, int64_t kernel) {
    w.add(channels, out, kernel, volume(extent));
    return out;
  };
  const auto level_of = [&](int64_t inner, int64_t last) {  // the convolutions of a level
    for (int64_t i = 0; i < o.unet_n_conv_per_depth; ++i) channels = conv(i + 1 < o.unet_n_conv_per_depth ? inner : last, taps);
  };
  const auto filters = [&](int64_t level) { return o.unet_n_filter_base << std::max<int64_t>(0, level); };
  for (Extents reached{1, 1, 1}; reached != o.grid;) {
    level_of(filters(0), filters(0));
    for (size_t a = 0; a < 3; ++a)
      if (reached[a] < o.grid[a]) reached[a] *= 2, extent[a] /= 2;
  }
  for (int64_t level = 0; level < o.unet_n_depth; ++level) {
    level_of(filters(level), filters(level));
    for (size_t a = 0; a < 3; ++a) extent[a] /= o.unet_pool[a];
  }
  level_of(filters(o.unet_n_depth), filters(o.unet_n_depth - 1));
  for (int64_t level = o.unet_n_depth; level-- > 0;) {
    for (size_t a = 0; a < 3; ++a) extent[a] *= o.unet_pool[a];
    channels += filters(level);
    level_of(filters(level), filters(level - 1));
  }
  if (o.net_conv_after_unet > 0) channels = conv(o.net_conv_after_unet, taps);
  conv(1, 1);
  conv(o.n_rays, 1);
  return w;
}

inline BenchNetwork bench_unet3d(const models::UNet3dOptions& o, int64_t batch, const Extents& crop, bool training, Random random) {
  auto net = std::make_unique<models::UNet3d>(o, random);
  models::UNet3d& unet = *net;
  unet.train(training);
  const Tensor x = random_normal({batch, crop[0], crop[1], crop[2], o.in_channels}, random);
  BenchNetwork b{std::move(net), work_of(o, crop), [&unet, x] { return unet(x); }, {}};
  if (training) {
    const Tensor target = random_uniform({batch, crop[0], crop[1], crop[2], o.out_channels}, random);
    b.loss = [&unet, x, target] { return unet.loss<kernels::MseWithLogits>(x, target); };
  }
  return b;
}

inline BenchNetwork bench_stardist3d(const models::StarDist3dOptions& o, int64_t batch, const Extents& crop, bool training,
                                     Random random) {
  auto net = std::make_unique<models::StarDist3d>(o, random);
  models::StarDist3d& stardist = *net;
  stardist.train(training);
  const Tensor x = random_uniform({batch, crop[0], crop[1], crop[2], o.n_channel_in}, random);
  BenchNetwork b{std::move(net), work_of(o, crop), [&stardist, x] { return stardist(x).dist; }, {}};
  if (training) {
    const Extents out{crop[0] / o.grid[0], crop[1] / o.grid[1], crop[2] / o.grid[2]};
    const models::StarDistMaps target{random_uniform({batch, out[0], out[1], out[2], 1}, random),
                                      random_uniform({batch, out[0], out[1], out[2], o.n_rays}, random, 0, 10)};
    b.loss = [&stardist, x, target] { return models::stardist_loss(stardist(x), target); };
  }
  return b;
}

}  // namespace voxgrad::app
