// SPDX-License-Identifier: BSD-3-Clause
// What the ops refuse, with their words.

#include "catch.hpp"
#include "message.hpp"
#include "voxgrad/ops/concat.hpp"
#include "voxgrad/ops/conv3d.hpp"
#include "voxgrad/ops/loss.hpp"
#include "voxgrad/ops/matmul.hpp"
#include "voxgrad/ops/norm.hpp"
#include "voxgrad/ops/pool3d.hpp"
#include "voxgrad/ops/upsample3d.hpp"

using namespace voxgrad;
using voxgrad::test::message;

namespace {
Tensor f32(const Shape& s) { return Tensor::zeros(s); }
Tensor f64(const Shape& s) { return Tensor::zeros(s, DType::f64); }
}  // namespace

TEST_CASE("arithmetic refuses shapes that do not broadcast, and mixed types") {
  CHECK(message<ShapeError>([] { f32({2, 3}) + f32({2, 4}); }) == "add: shapes 2x3 and 2x4 do not broadcast");
  CHECK(message<ShapeError>([] { f32({3}) / f32({2}); }) == "div: shapes 3 and 2 do not broadcast");
  CHECK(message<DTypeError>([] { f32({3}) * f64({3}); }) == "mul: a is f32, b is f64");
  CHECK(message<UsageError>([] { clamp(f32({3}), 2, 1); }) == "clamp: low 2 is above high 1");
}

TEST_CASE("reductions and reshape refuse axes and sizes that are not there") {
  CHECK(message<ShapeError>([] { sum(f32({2, 3}), {2}); }) == "sum: axis 2 of a tensor of shape 2x3");
  CHECK(message<ShapeError>([] { sum(f32({2, 3}), {-3}); }) == "sum: axis -3 of a tensor of shape 2x3");
  CHECK(message<ShapeError>([] { reshape(f32({2, 3}), {5}); }) == "reshape: 2x3 has 6 elements, 5 has 5");
}

TEST_CASE("convolutions refuse what does not fit") {
  CHECK(message<ShapeError>([] { conv3d(f32({2, 16, 64, 64, 16}), f32({3, 3, 3, 8, 32}), Tensor()); }) ==
        "conv3d: weight has 8 input channels, x has 16 (weight 3x3x3x8x32, x 2x16x64x64x16)");
  CHECK(message<ShapeError>([] { conv3d(f32({4, 4, 4, 1}), f32({3, 3, 3, 1, 1}), Tensor()); }) ==
        "conv3d: x must be [N,D,H,W,C], got 4x4x4x1");
  CHECK(message<ShapeError>([] { conv3d(f32({1, 4, 4, 4, 1}), f32({3, 3, 1, 1}), Tensor()); }) ==
        "conv3d: weight must be [kD,kH,kW,Ci,Co], got 3x3x1x1");
  CHECK(message<DTypeError>([] { conv3d(f32({1, 4, 4, 4, 1}), f64({3, 3, 3, 1, 1}), Tensor()); }) == "conv3d: x is f32, weight is f64");
  CHECK(message<ShapeError>([] { conv3d(f32({1, 4, 4, 4, 1}), f32({3, 3, 3, 1, 2}), f32({3})); }) ==
        "conv3d: bias must be [2] f32, got 3 f32");
  CHECK(message<ShapeError>([] { conv3d(f32({1, 2, 4, 4, 1}), f32({3, 3, 3, 1, 2}), Tensor()); }) ==
        "conv3d: the kernel 3x3x3x1x2 does not fit into x 1x2x4x4x1 with padding 0");
  CHECK(message<ShapeError>([] { conv3d(f32({1, 4, 4, 4, 1}), f32({3, 3, 3, 1, 2}), Tensor(), {{0, 1, 1}, {0, 0, 0}, {1, 1, 1}}); }) ==
        "conv3d: stride and dilation start at 1, padding at 0; got 0, 1, 0");
  CHECK(message<ShapeError>([] {
          conv_transpose3d(f32({1, 2, 2, 2, 1}), f32({3, 3, 3, 1, 2}), Tensor(), {{2, 2, 2}, {1, 1, 1}, {2, 1, 1}, {1, 1, 1}});
        }) == "conv_transpose3d: output_padding 2 must be below stride or dilation");
  CHECK(message<ShapeError>([] {
          conv_transpose3d(f32({1, 1, 1, 1, 1}), f32({1, 1, 1, 1, 2}), Tensor(), {{1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}});
        }) == "conv_transpose3d: the output of x 1x1x1x1x1 would be empty");
}

TEST_CASE("pooling, batch norm, concat, pad, crop, losses and products refuse what does not fit") {
  CHECK(message<ShapeError>([] { upsample_nearest3d(f32({4, 4, 4, 1})); }) == "upsample_nearest3d: x must be [N,D,H,W,C], got 4x4x4x1");
  CHECK(message<ShapeError>([] { upsample_nearest3d(f32({1, 4, 4, 4, 1}), {2, 0, 1}); }) == "upsample_nearest3d: factors start at 1, got 2,0,1");
  CHECK(message<ShapeError>([] { max_pool3d(f32({4, 4, 4, 1})); }) == "max_pool3d: x must be [N,D,H,W,C], got 4x4x4x1");
  CHECK(message<ShapeError>([] { max_pool3d(f32({1, 1, 4, 4, 1})); }) == "max_pool3d: a window of 2 does not fit into x 1x1x4x4x1");
  CHECK(message<ShapeError>([] { max_pool3d(f32({1, 4, 4, 4, 1}), {2, 2, 2}, {0, 1, 1}); }) == "max_pool3d: kernel and stride start at 1");

  const Tensor two = f32({2});
  CHECK(message<ShapeError>([&] { batch_norm(f32({4, 3}), two, two, two, two); }) ==
        "batch_norm: x has 3 channels of f32, a per-channel tensor is 2 f32");
  CHECK(message<ShapeError>([&] { batch_norm(f32({1, 2}), two, two, two, two); }) ==
        "batch_norm: needs more than one value per channel in training, x is 1x2");
  CHECK(message<ShapeError>([&] { batch_norm(f32({0, 2}), two, two, two, two); }) ==
        "batch_norm: no values to take statistics of (x is 0x2)");
  CHECK(message<Error>([&] { batch_norm(f32({4, 2}), two, Tensor(), two, two); }) == "batch_norm: gamma and beta must be given");
  CHECK(message<ShapeError>([&] { batch_norm(Tensor::scalar(1), two, two, two, two); }) ==
        "batch_norm: x must have a channel axis, got scalar");

  CHECK(message<ShapeError>([] { concat({}); }) == "concat: nothing to join");
  CHECK(message<ShapeError>([] { concat({f32({2, 3}), f32({3, 3})}); }) == "concat: 2x3 and 3x3 differ outside axis 1 or in dtype");
  CHECK(message<ShapeError>([] { concat({f32({2, 3}), f32({3})}); }) == "concat: 2x3 and 3 differ in rank");
  CHECK(message<ShapeError>([] { concat({f32({2, 3})}, 2); }) == "concat: axis 2 of tensors of shape 2x3");
  CHECK(message<ShapeError>([] { pad(f32({2, 3}), {1}, {1, 1}); }) == "pad: needs 2 counts on either side");
  CHECK(message<ShapeError>([] { pad(f32({2, 3}), {-2, 0}, {-1, 0}); }) == "pad: cropping 2 and 1 from axis 0 of 2x3 leaves nothing");
  CHECK(message<ShapeError>([] { crop(f32({2, 3}), {0, 2}, {2, 2}); }) == "crop: 2 from 2 leaves axis 1 of 2x3");
  CHECK(message<ShapeError>([] { crop(f32({2, 3}), {0}, {2, 2}); }) == "crop: needs 2 starts and extents");

  CHECK(message<ShapeError>([] { mse_loss(f32({2}), f32({3})); }) == "mse_loss: prediction is 2, target is 3");
  CHECK(message<DTypeError>([] { bce_loss(f32({2}), f64({2})); }) == "bce_loss: prediction is f32, target is f64");
  CHECK(message<ShapeError>([] { bce_with_logits_loss(f32({0}), f32({0})); }) == "bce_with_logits_loss: the prediction is empty");
  CHECK(message<ShapeError>([] { matmul(f32({2, 3}), f32({2, 3})); }) == "matmul: a 2x3 and b 2x3 are not [M,K] and [K,N]");
  CHECK(message<DTypeError>([] { matmul(f32({2, 3}), f64({3, 2})); }) == "matmul: a is f32, b is f64");
}
