// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// StarDist-3D's residual network (He et al. 2016): two convolutions, then blocks, the first of which reach the grid by
// their stride.

#include <utility>

#include "voxgrad/models/keras_conv.hpp"
#include "voxgrad/models/stardist3d_options.hpp"

namespace voxgrad::models {

/// act(convolutions of x, the first with a stride + shortcut); the shortcut is x, or a 1x1x1 convolution where stride or
/// channels change. Registered in the order of Keras' weight files, which put the projection before the last
/// convolution, or, with batch norm, between that and its norm.
class StarDistResBlock : public nn::Module {
 public:
  StarDistResBlock(int64_t in, int64_t out, const std::array<int64_t, 3>& stride, const StarDist3dOptions& o, Random& random,
                   DropoutDraws& draws)
      : activation_(keras_activation("resnet_activation", o.resnet_activation)) {
    KerasConvOptions c{.kernel = o.resnet_kernel_size, .stride = stride, .activation = o.resnet_activation,
                       .init = o.resnet_kernel_init, .batch_norm = o.resnet_batch_norm, .bias = !o.resnet_batch_norm};
    for (int64_t i = 0; i < o.resnet_n_conv_per_block; ++i) {
      if (i + 1 == o.resnet_n_conv_per_block) c.activation = "linear", c.lists_norm = false;
      convs_.push_back(std::make_unique<KerasConv3d>(i == 0 ? in : out, out, c, random, draws));
      c.stride = {1, 1, 1};
    }
    const bool projects = in != out || stride != std::array<int64_t, 3>{1, 1, 1};
    if (projects)
      projection_ = std::make_unique<KerasConv3d>(
          in, out, KerasConvOptions{.stride = stride, .init = o.resnet_kernel_init, .bias = !o.resnet_batch_norm}, random, draws);

    const size_t last = convs_.size() - 1;
    for (size_t i = 0; i < last; ++i) child(text("conv_", i), *convs_[i]);
    if (projects && !o.resnet_batch_norm) child("projection", *projection_);
    child(text("conv_", last), *convs_[last]);
    if (projects && o.resnet_batch_norm) child("projection", *projection_);
    if (o.resnet_batch_norm) child(text("conv_", last, ".norm"), convs_[last]->norm());
  }

  Tensor operator()(const Activation& x) {
    Activation y = x;
    for (auto& conv : convs_) y = (*conv)({std::exchange(y, {})});
    return activation_(y.value() + (projection_ ? (*projection_)({x}) : x).value());
  }

 private:
  KerasActivation activation_;
  std::vector<std::unique_ptr<KerasConv3d>> convs_;
  std::unique_ptr<KerasConv3d> projection_;
};

/// x [N,D,H,W,n_channel_in] -> [N,D,H,W,channels()] on the grid. Layers have automatic names in the Python package's
/// files; here first, second and block_I.conv_J, block_I.projection, in the same order.
class StarDistResNet : public nn::Module {
 public:
  StarDistResNet(const StarDist3dOptions& o, Random& random, DropoutDraws& draws)
      : channels_(o.resnet_n_filter_base),
        first_(o.n_channel_in, channels_, {.kernel = {7, 7, 7}, .init = o.resnet_kernel_init}, random, draws),
        second_(channels_, channels_, {.kernel = {3, 3, 3}, .init = o.resnet_kernel_init}, random, draws) {
    child("first", first_);
    child("second", second_);
    const auto steps = grid_steps(o.grid);
    for (size_t i = 0; i < size_t(o.resnet_n_blocks); ++i) {
      const bool strided = i < steps.size();
      const int64_t out = strided ? 2 * channels_ : channels_;
      blocks_.push_back(std::make_unique<StarDistResBlock>(
          channels_, out, strided ? steps[i] : std::array<int64_t, 3>{1, 1, 1}, o, random, draws));
      child(text("block_", i), *blocks_.back());
      channels_ = out;
    }
  }

  int64_t channels() const { return channels_; }

  Activation operator()(const Tensor& input) {
    Activation x = first_({input});
    x = second_({std::exchange(x, {})});
    for (auto& block : blocks_) x = (*block)(std::exchange(x, {}));
    return x;
  }

 private:
  int64_t channels_;
  KerasConv3d first_, second_;
  std::vector<std::unique_ptr<StarDistResBlock>> blocks_;
};

}  // namespace voxgrad::models
