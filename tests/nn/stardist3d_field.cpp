// SPDX-License-Identifier: BSD-3-Clause
// The receptive field: published values, and what networks with random weights show.

#include "voxgrad/models/stardist3d_field.hpp"

#include "catch.hpp"
#include "voxgrad/models/stardist3d.hpp"

using namespace voxgrad;
using models::StarDist3d;
using models::StarDist3dOptions;
using models::StarDistBackbone;
using Triple = std::array<int64_t, 3>;

TEST_CASE("receptive fields of the Python package") {
  StarDist3dOptions unet{.grid = {1, 2, 2}}, resnet{.grid = {1, 2, 2}, .backbone = StarDistBackbone::resnet};
  CHECK(models::receptive_field(unet) == Triple{26, 46, 46});     // the reference experiment
  CHECK(models::receptive_field(resnet) == Triple{17, 30, 30});   // 3D_demo
  unet.grid = {2, 4, 4}, unet.unet_n_depth = 3;
  CHECK(models::receptive_field(unet) == Triple{64, 128, 128});   // more than the volume it is measured on
  CHECK(models::receptive_field({.unet_n_conv_per_depth = 3, .unet_kernel_size = {3, 5, 5}, .unet_pool = {1, 2, 2},
                                 .net_conv_after_unet = 0}) == Triple{15, 32, 32});
  CHECK(models::receptive_field({.grid = {2, 2, 2}, .backbone = StarDistBackbone::resnet, .resnet_n_blocks = 2,
                                 .resnet_n_conv_per_block = 2, .net_conv_after_resnet = 0}) == Triple{12, 12, 12});
}

TEST_CASE("a network sees as far as its receptive bound along x, and not farther") {
  std::vector<StarDist3dOptions> all{
      {.n_rays = 4, .grid = {1, 1, 2}, .unet_n_depth = 1, .unet_n_filter_base = 2, .unet_kernel_size = {1, 1, 3}, .net_conv_after_unet = 2},
      {.n_rays = 4, .unet_n_depth = 1, .unet_n_filter_base = 2, .unet_n_conv_per_depth = 1, .unet_kernel_size = {1, 1, 4},
       .unet_pool = {1, 1, 3}, .net_conv_after_unet = 0},
      {.n_rays = 4, .grid = {1, 1, 4}, .backbone = StarDistBackbone::resnet, .resnet_n_blocks = 2, .resnet_n_filter_base = 2,
       .resnet_n_conv_per_block = 2, .resnet_kernel_size = {1, 1, 3}, .net_conv_after_resnet = 0}};
  for (StarDist3dOptions& o : all) {
    o.unet_activation = o.unet_last_activation = o.resnet_activation = "softplus";  // nothing dies
    StarDist3d net(o);
    NoGrad off;
    const int64_t g = o.grid[2], period = o.multiple()[2], length = 40 * period, z = o.multiple()[0], y = o.multiple()[1];
    for (const nn::Named& n : net.state())  // sums of positive terms never cancel
      for (float& v : n.tensor->mutable_span<float>()) v = n.tensor->shape().rank() == 5 ? std::abs(v) : v;
    net.to(DType::f64);
    const auto dist = [&](int64_t at) {
      Tensor x = Tensor::zeros({1, z, y, length, 1}, DType::f64);
      if (at >= 0) x.mutable_span<double>()[size_t(at)] = 1;
      return net(x).dist;
    };
    const Tensor rest = dist(-1);
    int64_t farthest = 0;
    for (int64_t at = length / 2; at < length / 2 + period; ++at) {
      const Tensor touched = dist(at);
      const auto a = touched.span<double>(), b = rest.span<double>();
      for (size_t i = 0; i < a.size(); ++i) {
        const int64_t out = int64_t(i) / o.n_rays % (length / g) * g;
        if (a[i] != b[i]) farthest = std::max({farthest, at - out, out + g - 1 - at});
      }
    }
    CHECK(farthest == models::receptive_bound(o)[2]);
    CHECK(models::receptive_field(o)[2] <= models::receptive_bound(o)[2] + g);
  }
}
