// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Layers: a module per op with parameters, initialised as PyTorch does.

#include "voxgrad/nn/init.hpp"
#include "voxgrad/nn/module.hpp"
#include "voxgrad/ops/conv3d.hpp"
#include "voxgrad/ops/conv_block.hpp"
#include "voxgrad/ops/matmul.hpp"
#include "voxgrad/ops/norm.hpp"

namespace voxgrad::nn {

/// 3-D convolution with bias; cubic kernel. Default padding keeps the size for odd kernels.
class Conv3d : public Module {
 public:
  Conv3d(int64_t in, int64_t out, int64_t kernel, Random& random, int64_t stride = 1, int64_t dilation = 1)
      : Conv3d(in, out, kernel, random, stride, dilation, dilation * (kernel / 2)) {}
  Conv3d(int64_t in, int64_t out, int64_t kernel, Random& random, int64_t stride, int64_t dilation, int64_t padding)
      : weight(pytorch_uniform({kernel, kernel, kernel, in, out}, double(in * kernel * kernel * kernel), random)),
        bias(pytorch_uniform({out}, double(in * kernel * kernel * kernel), random)),
        options{{stride, stride, stride}, {padding, padding, padding}, {dilation, dilation, dilation}} {
    parameter("weight", weight);
    parameter("bias", bias);
  }
  Tensor operator()(const Tensor& x) const { return conv3d(x, weight, bias, options); }
  Tensor operator()(const Activation& x) const { return conv3d(x, weight, bias, options); }

  Tensor weight, bias;
  Conv3dOptions options;
};

/// Transposed 3-D convolution with bias; kernel 3, stride 2, padding 1, output padding 1 doubles the size.
class ConvTranspose3d : public Module {
 public:
  ConvTranspose3d(int64_t in, int64_t out, Random& random, int64_t kernel = 3, int64_t stride = 2, int64_t padding = 1,
                  int64_t output_padding = 1)
      : weight(pytorch_uniform({kernel, kernel, kernel, in, out}, double(out * kernel * kernel * kernel), random)),
        bias(pytorch_uniform({out}, double(out * kernel * kernel * kernel), random)),
        options{{stride, stride, stride}, {padding, padding, padding},
                {output_padding, output_padding, output_padding}, {1, 1, 1}} {
    parameter("weight", weight);
    parameter("bias", bias);
  }
  Tensor operator()(const Tensor& x) const { return conv_transpose3d(x, weight, bias, options); }

  Tensor weight, bias;
  ConvTranspose3dOptions options;
};

/// Batch normalisation over the last axis, with the activation that follows (slope 1: none, 0: relu).
class BatchNorm : public Module {
 public:
  explicit BatchNorm(int64_t channels, double slope = 1)
      : weight(Tensor::full({channels}, 1)), bias(Tensor::zeros({channels})), running_mean(Tensor::zeros({channels})),
        running_var(Tensor::full({channels}, 1)), num_batches_tracked(Tensor::zeros({})) {
    options.slope = slope;
    parameter("weight", weight);
    parameter("bias", bias);
    buffer("running_mean", running_mean);
    buffer("running_var", running_var);
    buffer("num_batches_tracked", num_batches_tracked);
  }
  Tensor operator()(const Tensor& x) { return batch_norm(x, weight, bias, running_mean, running_var, next()); }
  /// The options of one more application; in training it is counted.
  BatchNormOptions next() {
    BatchNormOptions now = options;
    now.training = training();
    if (now.training) num_batches_tracked = Tensor::scalar(num_batches_tracked.item() + 1, num_batches_tracked.dtype());
    return now;
  }

  Tensor weight, bias, running_mean, running_var, num_batches_tracked;
  BatchNormOptions options;
};

/// norm(conv(sources joined)) with the norm's activation, or without norm act(conv(...)), as one op whose result is
/// finished by its consumers.
inline Activation fused_block(std::vector<Activation> sources, const Conv3d& conv, BatchNorm* norm, double slope) {
  ConvBlockOptions options{conv.options, {}};
  options.norm.slope = slope;
  if (!norm) return conv_block(std::move(sources), conv.weight, conv.bias, {}, options);
  options.norm = norm->next();
  return conv_block(std::move(sources), conv.weight, conv.bias,
                    {norm->weight, norm->bias, norm->running_mean, norm->running_var}, options);
}

/// y = x w + b for x [rows, in].
class Linear : public Module {
 public:
  Linear(int64_t in, int64_t out, Random& random)
      : weight(pytorch_uniform({in, out}, double(in), random)), bias(pytorch_uniform({out}, double(in), random)) {
    parameter("weight", weight);
    parameter("bias", bias);
  }
  Tensor operator()(const Tensor& x) const { return linear(x, weight, bias); }

  Tensor weight, bias;
};

}  // namespace voxgrad::nn
