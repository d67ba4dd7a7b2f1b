// SPDX-License-Identifier: BSD-3-Clause
// StarDist-3D against a PyTorch twin (tests/golden/make_stardist.py): names, outputs, losses, gradients.

#include "voxgrad/models/stardist3d.hpp"

#include "catch.hpp"
#include "message.hpp"
#include "npy.hpp"
#include "op_case.hpp"
#include "unet_formula.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/models/stardist3d_loss.hpp"

using namespace voxgrad;
using namespace voxgrad::test;
using models::StarDist3d;
using models::StarDist3dOptions;
using models::StarDistMaps;

namespace {

struct Config {
  const char* name;
  StarDist3dOptions options;
  Shape x;
};

std::vector<Config> configs() {
  return {
      {"reference", {.n_rays = 6, .grid = {1, 2, 2}, .unet_n_filter_base = 4, .net_conv_after_unet = 8}, {2, 8, 16, 24, 1}},
      {"no_grid",
       {.n_channel_in = 2, .n_rays = 5, .unet_n_depth = 1, .unet_n_filter_base = 3, .unet_n_conv_per_depth = 3, .net_conv_after_unet = 0},
       {1, 4, 6, 8, 2}},
      {"axes",
       {.n_rays = 4, .grid = {2, 4, 4}, .unet_n_depth = 1, .unet_n_filter_base = 2, .unet_n_conv_per_depth = 1,
        .unet_kernel_size = {1, 3, 5}, .unet_pool = {1, 2, 2}, .net_conv_after_unet = 5},
       {1, 4, 16, 24, 1}},
      {"flat", {.n_rays = 4, .unet_n_depth = 0, .unet_n_filter_base = 3, .net_conv_after_unet = 4}, {2, 3, 5, 7, 1}},
  };
}

/// The formulas of make_stardist.py, decided in double for both precisions.
StarDistMaps targets(const StarDistMaps& like) {
  StarDistMaps t{empty_like(like.prob), empty_like(like.dist)};
  for_each_value(t.prob, [](int64_t i) { return std::cos(0.011 * double(i)) < -0.9 ? -1.0 : std::max(0.0, std::sin(0.13 * double(i))); });
  for_each_value(t.dist, [](int64_t i) { return 3 + 2 * std::sin(0.03 * double(i)); });
  return t;
}

void check_config(const Config& c, DType dtype, double tolerance) {
  StarDist3d net(c.options);
  net.to(dtype);
  fill_by_formula(net);
  Tensor x(c.x, dtype);
  for_each_value(x, [](int64_t i) { return std::sin(0.05 * double(i) + 0.3 * std::sin(0.011 * double(i))); });
  const std::vector<double> want = read_npy(golden(std::string("stardist/") + c.name + ".npy")).values;
  const double* next = want.data();

  const StarDistMaps y = net(x), target = targets(y);
  REQUIRE(want.size() == size_t(y.prob.size() + y.dist.size()) + 3 + 2 * net.parameters().size());
  for (const Tensor* map : {&y.prob, &y.dist}) {
    double worst = 0;
    for (int64_t i = 0; i < map->size(); ++i) worst = std::max(worst, std::abs(element(*map, i) - *next++));
    CHECK(worst < tolerance);
  }
  const Tensor loss = models::stardist_loss(y, target);
  const Tensor prob_loss = models::stardist_prob_loss(y.prob, target.prob);
  const Tensor dist_loss = models::stardist_dist_loss(y.dist, target.dist, target.prob, 1e-4);
  for (const Tensor* l : {&loss, &prob_loss, &dist_loss})  // some probabilities are 1 in f32: their logarithm is coarse
    CHECK(std::abs(l->item() - *next++) < 10 * tolerance);
  backward(loss);
  for (const nn::Named& n : net.parameters()) {
    INFO("gradient of " << n.name);
    const double length = *next++, first = *next++;
    const double slack = 100 * tolerance * (length + 1e-3);  // in f32 a few relus and signs of errors fall on the other side
    CHECK(std::abs(norm(n.tensor->grad()) - length) < slack);
    CHECK(std::abs(element(n.tensor->grad(), 0) - first) < slack);
  }
}

}  // namespace

TEST_CASE("StarDist-3D agrees with the PyTorch twin in f64") {
  for (const Config& c : configs()) {
    INFO(c.name);
    check_config(c, DType::f64, 1e-12);
  }
}

TEST_CASE("StarDist-3D agrees with the PyTorch twin in f32, on every instruction set") {
  for_each_isa_and_threads([](const char* isa, int threads) {
    if (threads != 2) return;
    for (const Config& c : configs()) {
      INFO(c.name << " on " << isa);
      check_config(c, DType::f32, 2e-5);
    }
  });
}

TEST_CASE("StarDist-3D of the reference experiment: size, order of the parameters, initial values, extents") {
  StarDist3d net({.grid = {1, 2, 2}});
  CHECK(net.parameter_count() == 1'175'329);
  CHECK(net.multiple() == std::array<int64_t, 3>{4, 8, 8});
  std::string order;
  for (const nn::Named& n : net.parameters())
    if (ends_with(n.name, ".weight")) order += n.name.substr(0, n.name.size() - 7) + " ";
  CHECK(order ==
        "grid_level_0_no_0 grid_level_0_no_1 down_level_0_no_0 down_level_0_no_1 down_level_1_no_0 down_level_1_no_1 middle_0 "
        "middle_2 up_level_1_no_0 up_level_1_no_2 up_level_0_no_0 up_level_0_no_2 features prob dist ");
  for (const nn::Named& n : net.parameters()) {
    const auto v = n.tensor->span<float>();
    const auto [low, high] = std::minmax_element(v.begin(), v.end());
    if (ends_with(n.name, ".bias")) {
      CHECK((*low == 0 && *high == 0));
    } else {
      const nn::Fans f = nn::fans(n.tensor->shape());
      const double bound = std::sqrt(6 / (f.in + f.out));
      CHECK((*high <= bound && *low >= -bound && *high > 0.8 * bound && *low < -0.8 * bound));
    }
  }
  NoGrad off;
  const StarDistMaps y = net(Tensor::zeros({1, 4, 8, 16, 1}));
  CHECK(y.prob.shape() == Shape{1, 4, 4, 8, 1});
  CHECK(y.dist.shape() == Shape{1, 4, 4, 8, 96});
}

TEST_CASE("StarDist's losses without annotation, without objects, and at certain predictions") {
  const Tensor none = Tensor::full({1, 1, 1, 2, 1}, -1), background = Tensor::zeros({1, 1, 1, 2, 1});
  Tensor certain = Tensor::full({1, 1, 1, 2, 1}, 1);
  certain.set_requires_grad();
  CHECK(models::stardist_prob_loss(certain, none).item() == 0);
  const Tensor wrong = models::stardist_prob_loss(certain, background);
  CHECK(wrong.item() > 14);  // clipped: -log of about 2e-7
  CHECK(wrong.item() < 17);
  backward(wrong);
  for (float g : certain.grad().span<float>()) CHECK(g == 0);  // no gradient outside the clip range
  const Tensor dist = Tensor::full({1, 1, 1, 2, 4}, -3), target = Tensor::zeros({1, 1, 1, 2, 4});
  CHECK(std::abs(models::stardist_dist_loss(dist, target, background, 0.5).item() - 1.5) < 1e-6);  // the regulariser alone
  CHECK(message<ShapeError>([&] { models::stardist_dist_loss(dist, none, background, 0); }) ==
        "ray_loss: dist is 1x1x1x2x4, target is 1x1x1x2x1");
  CHECK(message<ShapeError>([&] { models::stardist_dist_loss(dist, target, target, 0); }) ==
        "ray_loss: dist is 1x1x1x2x4, mask is 1x1x1x2x4");
  CHECK(message<ShapeError>([&] { models::stardist_prob_loss(none, dist); }) ==
        "stardist_prob_loss: prob is 1x1x1x2x1, target is 1x1x1x2x4");
}

TEST_CASE("StarDist-3D refuses what it cannot be or take") {
  const auto build = [](auto change) {
    return message<UsageError>([&] {
      StarDist3dOptions o;
      change(o);
      StarDist3d net(o);
    });
  };
  CHECK(build([](auto& o) { o.grid = {1, 3, 2}; }) == "stardist3d: grid is 3 (expected a power of two)");
  CHECK(build([](auto& o) { o.n_rays = 3; }) == "stardist3d: n_rays is 3 (expected 4 to 4096)");
  CHECK(build([](auto& o) { o.unet_n_depth = 9; }) == "stardist3d: unet_n_depth is 9 (expected 0 to 8)");
  CHECK(build([](auto& o) { o.unet_kernel_size = {3, 0, 3}; }) == "stardist3d: unet_kernel_size is 0 (expected 1 to 31)");
  CHECK(build([](auto& o) { o.unet_pool = {0, 2, 2}; }) == "stardist3d: unet_pool is 0 (expected 1 to 16)");
  CHECK(build([](auto& o) { o.unet_dropout = 1; }) == "stardist3d: unet_dropout is 1 (expected from 0 to below 1)");
  CHECK(build([](auto& o) { o.unet_last_activation = "rleu"; }) ==
        "stardist3d: unet_last_activation is 'rleu' (expected one of linear, relu, leaky_relu, relu6, elu, selu, sigmoid, "
        "hard_sigmoid, tanh, gelu, softplus, softsign, swish, silu, exponential)");
  const auto residual = [&](auto change) {
    return build([&](auto& o) {
      o.backbone = models::StarDistBackbone::resnet;
      change(o);
    });
  };
  CHECK(residual([](auto& o) { o.resnet_n_conv_per_block = 1; }) == "stardist3d: resnet_n_conv_per_block is 1 (expected 2 to 16)");
  CHECK(residual([](auto& o) { o.resnet_kernel_init = "he"; }) ==
        "stardist3d: resnet_kernel_init is 'he' (expected glorot, he or lecun with _uniform or _normal)");
  CHECK(residual([](auto& o) { o.grid = {1, 8, 2}, o.resnet_n_blocks = 2; }) ==
        "stardist3d: resnet_n_blocks is 2 (expected at least 3, which the grid takes)");
  CHECK(residual([](auto& o) { o.unet_n_depth = 99; }) == "no error");  // nobody looks at it
  StarDist3d net({.n_rays = 4, .grid = {1, 2, 2}, .unet_n_filter_base = 2, .net_conv_after_unet = 0});
  CHECK(message<ShapeError>([&] { net(Tensor::zeros({1, 4, 8, 8, 2})); }) ==
        "stardist3d: input must be [N,D,H,W,1], got 1x4x8x8x2");
  CHECK(message<ShapeError>([&] { net(Tensor::zeros({1, 4, 8, 12, 1})); }) ==
        "stardist3d: extents must be multiples of 4,8,8, input is 1x4x8x12x1");
}
