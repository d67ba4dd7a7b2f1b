// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The published 3-D U-Net (models/unet3d.hpp) as a sequence of GPU steps: its parameters by name, its layers in order.

#include <string>
#include <utility>
#include <vector>

#include "voxgrad/cuda/engines.hpp"
#include "voxgrad/cuda/network_tape.hpp"

namespace voxgrad::cuda {

/// Names and places of the network's parameters and of its running statistics, as models::UNet3d has them.
class UNet3dLayers {
 public:
  struct Conv {
    ConvLayer conv;
    NormLayer norm;
  };
  struct Block {
    Conv first, second;
  };

  explicit UNet3dLayers(const UNet3dShape& s) : shape(s) {
    const auto width = [&](int64_t i) { return s.width << i; };
    for (int64_t r = 1; r <= s.dilations; ++r)
      dilated.push_back(conv(text("bottleneck.dilated_conv.", r - 1), width(s.layers - 1), width(s.layers), 3, r));
    bottleneck = conv("bottleneck.conv2", width(s.layers) * s.dilations, width(s.layers), 3, 1);
    for (int64_t i = 0; i < s.layers; ++i)
      down.push_back(block(text("down_convs.", i, "."), i == 0 ? s.in_channels : width(i - 1), width(i), i == 0 ? s.first_kernel : 3));
    for (int64_t i = s.layers; i-- > 0;) {
      const std::string name = text("up_convs.", s.layers - 1 - i, ".");
      ConvLayer c{.Ci = width(i + 1), .Co = width(i), .kernel = {3, 3, 3}, .stride = {2, 2, 2}, .padding = {1, 1, 1}};
      c.weight = learnable.add(name + "upconv.weight", WeightOrder::input_first, 27, c.Ci, c.Co);
      c.bias = learnable.add_vector(name + "upconv.bias", c.Co);
      up.push_back(c);
      joined.push_back(block(name, 2 * width(i), width(i), 3));
    }
    head = {.Ci = s.width, .Co = s.out_channels};
    head.weight = learnable.add("final_conv.weight", WeightOrder::as_is, 1, s.width, s.out_channels);
    head.bias = learnable.add_vector("final_conv.bias", s.out_channels);
  }

  UNet3dShape shape;
  ParameterTable learnable, buffers;
  std::vector<std::string> counters;  ///< of training passes, which the host keeps
  std::vector<Block> down, joined;
  std::vector<ConvLayer> up, dilated;
  ConvLayer bottleneck, head;

 private:
  ConvLayer conv(const std::string& name, int64_t in, int64_t out, int64_t kernel, int64_t dilation) {
    const int64_t pad = dilation * (kernel - 1) / 2;
    ConvLayer c{.Ci = in, .Co = out, .kernel = {kernel, kernel, kernel}, .padding = {pad, pad, pad}, .dilation = {dilation, dilation, dilation}};
    c.weight = learnable.add(name + ".weight", WeightOrder::output_first, kernel * kernel * kernel, in, out);
    c.bias = learnable.add_vector(name + ".bias", out);
    return c;
  }
  Conv normed(const std::string& block, int at, int64_t in, int64_t out, int64_t kernel) {
    Conv c{conv(text(block, "convs.", at), in, out, kernel, 1), {}};
    if (!shape.batch_norm) return c;
    const std::string name = text(block, "convs.", at + 1, ".");
    c.norm.gamma = learnable.add_vector(name + "weight", out);
    c.norm.beta = learnable.add_vector(name + "bias", out);
    c.norm.mean = buffers.add_vector(name + "running_mean", out);
    c.norm.variance = buffers.add_vector(name + "running_var", out);
    counters.push_back(name + "num_batches_tracked");
    return c;
  }
  Block block(const std::string& name, int64_t in, int64_t out, int64_t kernel) {
    Block b;
    b.first = normed(name, 0, in, out, kernel);
    b.second = normed(name, shape.batch_norm ? 3 : 2, out, out, kernel);
    return b;
  }
};

/// Adds the network's forward pass to a tape and returns what the head reads, not yet activated (a pending norm).
template <class Device, class E>
typename NetworkTape<Device, E>::Unfinished unet3d_features(NetworkTape<Device, E>& tape, const UNet3dLayers& net, const FeatureMap& input) {
  const UNet3dShape& s = net.shape;
  const auto width = [&](int64_t i) { return s.width << i; };
  const Activation down_act = leaky_relu(s.leaky_relu ? 0.2 : 0), relu = leaky_relu(0);

  std::vector<FeatureMap> joined;  // per stage: [skip, up], filled from both sides
  FeatureMap x = input;
  for (int64_t i = 0; i < s.layers; ++i) {
    const UNet3dLayers::Block& b = net.down[size_t(i)];
    x = tape.finish(tape.conv(x, b.first.conv, b.first.norm, down_act), tape.dense(x.N, x.extent, width(i)));
    joined.push_back(tape.joined(x.N, x.extent, 2 * width(i)));
    x = tape.finish_and_pool(tape.conv(x, b.second.conv, b.second.norm, down_act), tape.part(joined.back(), 0, width(i)));
  }
  FeatureMap wide = tape.joined(x.N, x.extent, width(s.layers) * s.dilations);
  for (int64_t r = 0; r < s.dilations; ++r)
    tape.finish(tape.conv(x, net.dilated[size_t(r)], {}, relu), tape.part(wide, r * width(s.layers), width(s.layers)));
  x = tape.finish(tape.conv(wide, net.bottleneck, {}, relu), tape.dense(wide.N, wide.extent, width(s.layers)));
  for (int64_t i = s.layers; i-- > 0;) {
    const size_t k = size_t(s.layers - 1 - i);
    FeatureMap& both = joined[size_t(i)];
    tape.conv_transpose(x, net.up[k], tape.part(both, width(i), width(i)));
    const UNet3dLayers::Block& b = net.joined[k];
    x = tape.finish(tape.conv(both, b.first.conv, b.first.norm, relu), tape.dense(both.N, both.extent, width(i)));
    auto last = tape.conv(x, b.second.conv, b.second.norm, relu);
    if (i == 0) return last;
    x = tape.finish(std::move(last), tape.dense(both.N, both.extent, width(i)));
  }
  throw UsageError("unet3d: no layers");
}

}  // namespace voxgrad::cuda
