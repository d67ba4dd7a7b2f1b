// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Every convolution of the two published networks as the GPU is asked for it.

#include <string>
#include <vector>

#include "voxgrad/cuda/conv_spec.hpp"

namespace voxgrad::cuda::test {

struct Layer {
  std::string name;
  ConvSpec spec;
  bool one_channel = false;  ///< kernels of our own compute these: cuDNN would copy them to eight channels
};

class LayerList {
 public:
  LayerList(int batch, Element io) : batch_(batch), io_(io) {}

  /// A convolution of stride 1 that keeps the extent.
  void conv(const std::string& name, const int (&extent)[3], int ci, int co, int kernel, bool input_has_gradient = true) {
    ConvSpec s = start(ci, co);
    for (int a = 0; a < 3; ++a) {
      s.in[a] = s.out[a] = extent[a];
      s.kernel[a] = kernel;
      s.padding[a] = kernel / 2;
    }
    add(name, s, {ConvOp::forward, ConvOp::backward_weight});
    if (input_has_gradient) add(name, s, {ConvOp::backward_data});
  }
  /// A transposed convolution that doubles the extent to `extent`: the adjoint of the one that halves it.
  void transposed(const std::string& name, const int (&extent)[3], int ci, int co) {
    ConvSpec s = start(co, ci);
    for (int a = 0; a < 3; ++a) {
      s.in[a] = extent[a];
      s.out[a] = extent[a] / 2;
      s.kernel[a] = 3;
      s.padding[a] = 1;
      s.stride[a] = 2;
    }
    add(name, s, {ConvOp::backward_data, ConvOp::forward, ConvOp::backward_weight});
  }
  std::vector<Layer> layers;

 private:
  ConvSpec start(int ci, int co) const {
    ConvSpec s;
    s.io = io_;
    s.math = Math::tensor_core;
    s.N = batch_;
    s.Ci = ci;
    s.Co = co;
    return s;
  }
  void add(const std::string& name, ConvSpec s, std::initializer_list<ConvOp> ops) {
    for (const ConvOp op : ops) {
      s.op = op;
      layers.push_back({name + " " + cuda::name(op), s, s.Ci == 1 || s.Co == 1});
    }
  }
  int batch_;
  Element io_;
};

/// 5 levels, width 8, crops of 32^3, batch 128.
inline std::vector<Layer> unet_layers(Element io) {
  LayerList list(128, io);
  const auto cube = [](int level, int (&e)[3]) { e[0] = e[1] = e[2] = 32 >> level; };
  int e[3];
  for (int level = 0; level < 5; ++level) {
    const int c = 8 << level;
    cube(level, e);
    list.conv("encoder " + std::to_string(level) + "a", e, level == 0 ? 1 : c / 2, c, 3, level > 0);
    list.conv("encoder " + std::to_string(level) + "b", e, c, c, 3);
  }
  cube(5, e);
  list.conv("bottleneck a", e, 128, 256, 3);
  list.conv("bottleneck b", e, 256, 256, 3);
  for (int level = 4; level >= 0; --level) {
    const int c = 8 << level;
    cube(level, e);
    list.transposed("decoder " + std::to_string(level) + " up", e, 2 * c, c);
    list.conv("decoder " + std::to_string(level) + "a", e, 2 * c, c, 3);
    list.conv("decoder " + std::to_string(level) + "b", e, c, c, 3);
  }
  list.conv("head", e, 8, 1, 1);
  return list.layers;
}

/// U-Net backbone, grid (1,2,2), 96 rays, patches of 32^3, batch 64.
inline std::vector<Layer> stardist_layers(Element io) {
  LayerList list(64, io);
  const int full[3] = {32, 32, 32}, grid[3] = {32, 16, 16}, half[3] = {16, 8, 8}, quarter[3] = {8, 4, 4};
  list.conv("grid a", full, 1, 32, 3, false);
  list.conv("grid b", full, 32, 32, 3);
  list.conv("down 0", grid, 32, 32, 3);  // both of this level
  list.conv("down 1a", half, 32, 64, 3);
  list.conv("down 1b", half, 64, 64, 3);
  list.conv("middle a", quarter, 64, 128, 3);
  list.conv("middle b", quarter, 128, 64, 3);
  list.conv("up 1a", half, 128, 64, 3);
  list.conv("up 1b", half, 64, 32, 3);
  list.conv("up 0a", grid, 64, 32, 3);
  list.conv("features", grid, 32, 128, 3);
  list.conv("prob", grid, 128, 1, 1);
  list.conv("dist", grid, 128, 96, 1);
  return list.layers;
}

}  // namespace voxgrad::cuda::test
