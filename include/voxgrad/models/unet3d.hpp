// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The 3-D U-Net of the published pipeline, for any depth, width and kernel. Names of parameters are the published ones.

#include <memory>
#include <utility>

#include "voxgrad/models/option_range.hpp"
#include "voxgrad/nn/layers.hpp"
#include "voxgrad/ops/concat.hpp"
#include "voxgrad/ops/head_loss.hpp"
#include "voxgrad/ops/pool3d.hpp"
#include "voxgrad/ops/pointwise.hpp"

namespace voxgrad::models {

struct UNet3dOptions {
  int64_t in_channels = 1, out_channels = 1;
  int64_t layers = 5;        ///< encoder stages; every extent must be a multiple of 2^layers
  int64_t width = 8;         ///< channels of the first stage; stage i has width * 2^i
  int64_t dilations = 1;     ///< parallel convolutions of dilation 1..r in the bottleneck
  int64_t first_kernel = 3;  ///< of both convolutions of the first stage
  bool batch_norm = true;
  bool leaky_relu = true;    ///< slope 0.2 in the encoder; else relu
};

/// Two times convolution -> batch norm -> activation. Keys convs.0, convs.1, convs.3, convs.4 (or 0 and 2 without norm).
class ConvBlock : public nn::Module {
 public:
  ConvBlock(int64_t in, int64_t out, int64_t kernel, bool batch_norm, double slope, Random& random)
      : slope_(slope), conv1_(in, out, kernel, random), conv2_(out, out, kernel, random) {
    child("convs.0", conv1_);
    if (batch_norm) child("convs.1", *(norm1_ = std::make_unique<nn::BatchNorm>(out, slope)));
    child(batch_norm ? "convs.3" : "convs.2", conv2_);
    if (batch_norm) child("convs.4", *(norm2_ = std::make_unique<nn::BatchNorm>(out, slope)));
  }
  /// Sources are joined along the channels. Every tensor is let go of as soon as it is used, which without a tape halves
  /// the memory.
  Activation operator()(std::vector<Activation> sources) {
    Activation x = nn::fused_block(std::move(sources), conv1_, norm1_.get(), slope_);
    sources.assign(1, std::exchange(x, {}));
    return nn::fused_block(std::move(sources), conv2_, norm2_.get(), slope_);
  }

 private:
  double slope_;
  nn::Conv3d conv1_, conv2_;
  std::unique_ptr<nn::BatchNorm> norm1_, norm2_;
};

/// r parallel dilated convolutions -> relu -> joined -> convolution -> relu; no batch norm.
class Bottleneck : public nn::Module {
 public:
  Bottleneck(int64_t in, int64_t out, int64_t dilations, Random& random) : conv2_(out * dilations, out, 3, random) {
    for (int64_t r = 1; r <= dilations; ++r) {
      dilated_.push_back(std::make_unique<nn::Conv3d>(in, out, 3, random, 1, r));
      child(text("dilated_conv.", r - 1), *dilated_.back());
    }
    child("conv2", conv2_);
  }
  Tensor operator()(const Tensor& x) {
    std::vector<Tensor> branches;
    for (auto& conv : dilated_) branches.push_back(relu((*conv)(x)));
    return relu(conv2_(branches.size() == 1 ? branches[0] : concat(branches)));
  }

 private:
  std::vector<std::unique_ptr<nn::Conv3d>> dilated_;
  nn::Conv3d conv2_;
};

/// Transposed convolution doubles the size and halves the channels; then [skip, upsampled] goes through a block.
class UpBlock : public nn::Module {
 public:
  UpBlock(int64_t in, int64_t out, bool batch_norm, Random& random)
      : upconv_(in, out, random), block_(2 * out, out, 3, batch_norm, 0, random) {
    child("upconv", upconv_);
    inline_child(block_);
  }
  Activation operator()(Activation x, Activation skip) {
    x = upconv_(std::exchange(x, {}).value());
    std::vector<Activation> sources;
    sources.push_back(std::move(skip));
    sources.push_back(std::move(x));
    return block_(std::move(sources));
  }

 private:
  nn::ConvTranspose3d upconv_;
  ConvBlock block_;
};

/// x [N,D,H,W,in] -> [N,D,H,W,out]. Section 3 of the reference description; the bottleneck is registered first, as
/// there, so that parameter numbers agree with published checkpoints.
class UNet3d : public nn::Module {
 public:
  explicit UNet3d(const UNet3dOptions& options, Random random = Random(0))
      : options_(checked(options)) {
    const auto width = [&](int64_t i) { return options.width << i; };
    const double slope = options.leaky_relu ? 0.2 : 0;
    for (int64_t i = 0; i < options.layers; ++i)  // drawn encoder, bottleneck, decoder, head
      down_.push_back(std::make_unique<ConvBlock>(i == 0 ? options.in_channels : width(i - 1), width(i),
                                                  i == 0 ? options.first_kernel : 3, options.batch_norm, slope, random));
    bottleneck_ = std::make_unique<Bottleneck>(width(options.layers - 1), width(options.layers), options.dilations, random);
    for (int64_t i = options.layers; i-- > 0;)
      up_.push_back(std::make_unique<UpBlock>(width(i + 1), width(i), options.batch_norm, random));
    head_ = std::make_unique<nn::Conv3d>(options.width, options.out_channels, 1, random);

    child("bottleneck", *bottleneck_);
    for (size_t i = 0; i < down_.size(); ++i) child(text("down_convs.", i), *down_[i]);
    for (size_t i = 0; i < up_.size(); ++i) child(text("up_convs.", i), *up_[i]);
    child("final_conv", *head_);
  }

  const UNet3dOptions& options() const { return options_; }
  /// Extents must be multiples of this.
  int64_t multiple() const { return int64_t(1) << options_.layers; }

  /// What the head reads: the last block's output, unfinished.
  Activation features(const Tensor& input) {
    check<ShapeError>(input.shape().rank() == 5 && input.shape()[4] == options_.in_channels, "unet3d: input must be [N,D,H,W,",
                      options_.in_channels, "], got ", input.shape());
    for (int i = 1; i <= 3; ++i)
      check<ShapeError>(input.shape()[i] > 0 && input.shape()[i] % multiple() == 0, "unet3d: every extent must be a multiple of ",
                        multiple(), ", input is ", input.shape());
    std::vector<Activation> skips;
    Tensor x = input;
    for (auto& stage : down_) {
      skips.push_back((*stage)({std::exchange(x, {})}));
      x = max_pool3d(skips.back());
    }
    Activation y = (*bottleneck_)(std::exchange(x, {}));
    for (auto& stage : up_) {
      Activation skip = std::move(skips.back());
      skips.pop_back();
      y = (*stage)(std::exchange(y, {}), std::move(skip));
    }
    return y;
  }
  /// The head's output before the sigmoid.
  Tensor logits(const Tensor& input) { return (*head_)(features(input)); }
  /// Mean over voxels of F(logit, target): mean_loss<F>(logits(input), target) without logits in memory. F is
  /// kernels::MseWithLogits, kernels::BceWithLogits or a functor of yours.
  template <class F>
  Tensor loss(const Tensor& input, const Tensor& target) {
    return head_loss<F>(features(input), head_->weight, head_->bias, target, head_->options);
  }
  /// Event probability of every voxel.
  Tensor operator()(const Tensor& input) { return sigmoid(logits(input)); }

 private:
  static const UNet3dOptions& checked(const UNet3dOptions& o) {
    const auto within = option_range("unet3d");
    within("in_channels", o.in_channels, 1, 4096);
    within("out_channels", o.out_channels, 1, 4096);
    within("layers", o.layers, 1, 8);
    within("width", o.width, 1, 1024);
    within("dilations", o.dilations, 1, 16);
    within("first_kernel", o.first_kernel, 1, 31);
    check<UsageError>(o.first_kernel % 2 == 1, "unet3d: first_kernel is ", o.first_kernel, " (expected an odd number)");
    return o;
  }

  UNet3dOptions options_;
  std::vector<std::unique_ptr<ConvBlock>> down_;
  std::unique_ptr<Bottleneck> bottleneck_;
  std::vector<std::unique_ptr<UpBlock>> up_;
  std::unique_ptr<nn::Conv3d> head_;
};

}  // namespace voxgrad::models
