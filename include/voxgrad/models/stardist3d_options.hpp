// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What describes StarDist-3D's network: the part of the Python package's Config3D that the graph depends on.

#include <array>
#include <string>

#include "voxgrad/models/keras_activation.hpp"
#include "voxgrad/models/option_range.hpp"
#include "voxgrad/nn/init.hpp"

namespace voxgrad::models {

enum class StarDistBackbone { unet, resnet };

/// Names and defaults of Config3D. Triples are z, y, x. Activations and initialisers go by their Keras names.
struct StarDist3dOptions {
  int64_t n_channel_in = 1, n_rays = 96;
  std::array<int64_t, 3> grid{1, 1, 1};  ///< output sub-sampling, powers of two
  int64_t n_classes = 0;                 ///< 0: no class head; else it has one channel more, background first
  StarDistBackbone backbone = StarDistBackbone::unet;

  int64_t unet_n_depth = 2, unet_n_filter_base = 32, unet_n_conv_per_depth = 2;
  std::array<int64_t, 3> unet_kernel_size{3, 3, 3}, unet_pool{2, 2, 2};
  std::string unet_activation = "relu", unet_last_activation = "relu";
  bool unet_batch_norm = false;
  double unet_dropout = 0;  ///< rate after each block of the U-Net, in training
  std::string unet_prefix = "";  ///< of the names of its layers
  int64_t net_conv_after_unet = 128;  ///< 0: no such layer

  int64_t resnet_n_blocks = 4, resnet_n_filter_base = 32, resnet_n_conv_per_block = 3;
  std::array<int64_t, 3> resnet_kernel_size{3, 3, 3};
  std::string resnet_kernel_init = "he_normal", resnet_activation = "relu";
  bool resnet_batch_norm = false;
  int64_t net_conv_after_resnet = 128;  ///< 0: no such layer

  bool is_unet() const { return backbone == StarDistBackbone::unet; }
  /// Extents of the input must be multiples of these: unet_pool^unet_n_depth * grid, or grid for the ResNet.
  std::array<int64_t, 3> multiple() const {
    std::array<int64_t, 3> m = grid;
    for (size_t a = 0; a < 3 && is_unet(); ++a)
      for (int64_t level = 0; level < unet_n_depth; ++level) m[a] *= unet_pool[a];
    return m;
  }
};

/// The windows, in order, of the pooling stages (or strided blocks) that reach the grid: 2 on the axes still below it.
inline std::vector<std::array<int64_t, 3>> grid_steps(const std::array<int64_t, 3>& grid) {
  std::vector<std::array<int64_t, 3>> steps;
  for (std::array<int64_t, 3> reached{1, 1, 1}; reached != grid;) {
    std::array<int64_t, 3>& step = steps.emplace_back();
    for (size_t a = 0; a < 3; ++a) {
      step[a] = reached[a] < grid[a] ? 2 : 1;
      reached[a] *= step[a];
    }
  }
  return steps;
}

/// The options, or a UsageError that names the key, its value and what is expected.
inline const StarDist3dOptions& checked(const StarDist3dOptions& o) {
  const auto within = option_range("stardist3d");
  const auto kernel = [&](const char* key, const std::array<int64_t, 3>& size) {
    for (int64_t k : size) within(key, k, 1, 31);
  };
  within("n_channel_in", o.n_channel_in, 1, 4096);
  within("n_rays", o.n_rays, 4, 4096);
  within("n_classes", o.n_classes, 0, 4096);
  for (int64_t g : o.grid) {
    within("grid", g, 1, 64);
    check<UsageError>((g & (g - 1)) == 0, "stardist3d: grid is ", g, " (expected a power of two)");
  }
  if (o.is_unet()) {
    within("unet_n_depth", o.unet_n_depth, 0, 8);
    within("unet_n_filter_base", o.unet_n_filter_base, 1, 1024);
    within("unet_n_conv_per_depth", o.unet_n_conv_per_depth, 1, 16);
    within("net_conv_after_unet", o.net_conv_after_unet, 0, 4096);
    for (int64_t p : o.unet_pool) within("unet_pool", p, 1, 16);
    kernel("unet_kernel_size", o.unet_kernel_size);
    check<UsageError>(o.unet_dropout >= 0 && o.unet_dropout < 1, "stardist3d: unet_dropout is ", o.unet_dropout,
                      " (expected from 0 to below 1)");
    keras_activation("stardist3d: unet_activation", o.unet_activation);
    keras_activation("stardist3d: unet_last_activation", o.unet_last_activation);
  } else {
    within("resnet_n_blocks", o.resnet_n_blocks, 0, 64);
    within("resnet_n_filter_base", o.resnet_n_filter_base, 1, 1024);
    within("resnet_n_conv_per_block", o.resnet_n_conv_per_block, 2, 16);
    within("net_conv_after_resnet", o.net_conv_after_resnet, 0, 4096);
    kernel("resnet_kernel_size", o.resnet_kernel_size);
    keras_activation("stardist3d: resnet_activation", o.resnet_activation);
    nn::check_keras_init("stardist3d: resnet_kernel_init", o.resnet_kernel_init);
    check<UsageError>(grid_steps(o.grid).size() <= size_t(o.resnet_n_blocks), "stardist3d: resnet_n_blocks is ",
                      o.resnet_n_blocks, " (expected at least ", grid_steps(o.grid).size(), ", which the grid takes)");
  }
  return o;
}

}  // namespace voxgrad::models
