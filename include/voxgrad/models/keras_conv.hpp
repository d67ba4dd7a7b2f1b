// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The convolution of Keras networks: padding "same", then batch norm, activation and dropout as far as wanted.

#include <memory>
#include <string>

#include "voxgrad/models/keras_activation.hpp"
#include "voxgrad/nn/layers.hpp"
#include "voxgrad/ops/dropout.hpp"

namespace voxgrad::models {

/// Where the dropout layers of a network take their draws: each has a stream, each training pass a range of positions.
struct DropoutDraws {
  uint64_t seed = 0, pass = 0, streams = 0;
};

struct KerasConvOptions {
  std::array<int64_t, 3> kernel{1, 1, 1}, stride{1, 1, 1};
  std::string activation = "linear", init = "glorot_uniform";
  bool batch_norm = false;  ///< between convolution and activation: epsilon 1e-3, momentum 0.99
  bool bias = true;
  double dropout = 0;
  bool lists_norm = true;  ///< false: the parent registers norm() where the file has it
};

/// Keys weight, bias and norm.*, in the order of a Keras weight file.
class KerasConv3d : public nn::Module {
 public:
  /// `draws` must outlive the layer.
  KerasConv3d(int64_t in, int64_t out, KerasConvOptions o, Random& random, DropoutDraws& draws)
      : weight(nn::keras_init(o.init, {o.kernel[0], o.kernel[1], o.kernel[2], in, out}, random)),
        kernel_(o.kernel), stride_(o.stride), activation_(keras_activation("activation", o.activation)),
        dropout_(o.dropout), draws_(draws), stream_(o.dropout > 0 ? draws.streams++ : 0) {
    parameter("weight", weight);
    if (o.bias) parameter("bias", bias = Tensor::zeros({out}));
    if (!o.batch_norm) return;
    norm_ = std::make_unique<nn::BatchNorm>(out);
    norm_->options.eps = 1e-3;
    norm_->options.momentum = 0.01;  // what the batch contributes
    norm_->options.unbiased = false;
    if (o.lists_norm) child("norm", *norm_);
  }
  nn::BatchNorm& norm() { return *norm_; }

  /// Sources are joined along the channels.
  Activation operator()(const std::vector<Activation>& sources) {
    ConvBlockOptions options{same_padding(sources.at(0).shape(), kernel_, stride_), {}};
    ConvBlockNorm norm;
    if (norm_) {
      options.norm = norm_->next();
      norm = {norm_->weight, norm_->bias, norm_->running_mean, norm_->running_var};
    }
    options.norm.slope = activation_.slope;
    Activation y = conv_block(sources, weight, bias, norm, options);
    if (activation_.apply) y = activation_.apply(y.value());
    if (dropout_ > 0 && training()) y = dropout(y.value(), dropout_, Random(draws_.seed, stream_, draws_.pass << 40));
    return y;
  }

  Tensor weight, bias;

 private:
  std::array<int64_t, 3> kernel_, stride_;
  KerasActivation activation_;
  double dropout_;
  DropoutDraws& draws_;
  uint64_t stream_;
  std::unique_ptr<nn::BatchNorm> norm_;
};

}  // namespace voxgrad::models
