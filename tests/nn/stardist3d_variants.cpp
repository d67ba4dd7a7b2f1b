// SPDX-License-Identifier: BSD-3-Clause
// StarDist-3D with every option against a PyTorch twin (tests/golden/make_stardist_variants.py): ResNet, strides, even
// kernels, batch norm, activations, classes; all losses, measures and gradients. Dropout by its properties.

#include "catch.hpp"
#include "npy.hpp"
#include "op_case.hpp"
#include "unet_formula.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/models/stardist3d_loss.hpp"

using namespace voxgrad;
using namespace voxgrad::test;
using models::StarDist3d;
using models::StarDist3dOptions;
using models::StarDistBackbone;
using models::StarDistMaps;

namespace {

struct Variant {
  const char* name;
  StarDist3dOptions options;
  Shape x;
  RayError loss;
};

std::vector<Variant> variants() {
  const StarDistBackbone resnet = StarDistBackbone::resnet;
  return {
      {"resnet",
       {.n_rays = 5, .grid = {1, 2, 2}, .backbone = resnet, .resnet_n_blocks = 3, .resnet_n_filter_base = 3, .net_conv_after_resnet = 6},
       {2, 3, 6, 10, 1}, RayError::mse},
      {"resnet_norm",
       {.n_rays = 4, .grid = {2, 2, 2}, .n_classes = 1, .backbone = resnet, .resnet_n_blocks = 2, .resnet_n_filter_base = 2,
        .resnet_n_conv_per_block = 2, .resnet_batch_norm = true, .net_conv_after_resnet = 0},
       {2, 4, 6, 8, 1}, RayError::iou},
      {"resnet_even",
       {.n_channel_in = 2, .n_rays = 4, .grid = {1, 4, 2}, .backbone = resnet, .resnet_n_blocks = 3, .resnet_n_filter_base = 2,
        .resnet_n_conv_per_block = 2, .resnet_kernel_size = {2, 4, 2}, .resnet_activation = "swish", .net_conv_after_resnet = 3},
       {1, 3, 8, 12, 2}, RayError::mae},
      {"unet_norm",
       {.n_rays = 4, .grid = {1, 2, 1}, .n_classes = 2, .unet_n_depth = 1, .unet_n_filter_base = 2, .unet_n_conv_per_depth = 3,
        .unet_kernel_size = {1, 3, 5}, .unet_pool = {1, 2, 2}, .unet_activation = "elu", .unet_last_activation = "tanh",
        .unet_batch_norm = true, .net_conv_after_unet = 4},
       {2, 3, 8, 6, 1}, RayError::iou},
      {"unet_even",
       {.n_rays = 4, .n_classes = 1, .unet_n_depth = 1, .unet_n_filter_base = 3, .unet_kernel_size = {2, 3, 4},
        .unet_pool = {1, 3, 2}, .unet_activation = "selu", .unet_last_activation = "softsign", .net_conv_after_unet = 4},
       {1, 3, 9, 8, 1}, RayError::mse},
  };
}

/// The formulas of the script.
models::StarDistTargets targets(const StarDistMaps& like) {
  models::StarDistTargets t{empty_like(like.prob), empty_like(like.dist)};
  for_each_value(t.prob, [](int64_t i) { return std::cos(0.011 * double(i)) < -0.9 ? -1.0 : std::max(0.0, std::sin(0.13 * double(i))); });
  for_each_value(t.dist, [](int64_t i) { return 3 + 2 * std::sin(0.03 * double(i)); });
  if (like.prob_class.defined()) {
    t.prob_class = empty_like(like.prob_class);
    const int64_t n = like.prob_class.shape()[-1];
    for_each_value(t.prob_class, [n](int64_t i) { return i / n % 11 == 3 ? -1.0 : double(i / n / 7 % n == i % n); });
  }
  return t;
}

void check_variant(const Variant& c, DType dtype, double tolerance) {
  StarDist3d net(c.options);
  net.to(dtype);
  fill_by_formula(net);
  Tensor x(c.x, dtype);
  for_each_value(x, [](int64_t i) { return std::sin(0.05 * double(i) + 0.3 * std::sin(0.011 * double(i))); });
  const std::vector<double> want = read_npy(golden(std::string("stardist/") + c.name + ".npy")).values;
  const double* next = want.data();
  const auto near = [&](const char* what, double found, double slack) {
    INFO(what << " is " << found << ", expected " << *next);
    CHECK(std::abs(found - *next++) < slack);
  };

  const StarDistMaps y = net(x);
  std::vector<Tensor> maps{y.prob, y.dist};
  if (y.prob_class.defined()) maps.push_back(y.prob_class);
  for (const Tensor& map : maps) {
    REQUIRE(next + map.size() < want.data() + want.size());
    double worst = 0;
    for (int64_t i = 0; i < map.size(); ++i) worst = std::max(worst, std::abs(element(map, i) - *next++));
    CHECK(worst < tolerance);
  }
  models::StarDistLossOptions o{.dist_loss = c.loss};
  for (int64_t k = 0; k <= c.options.n_classes; ++k) o.class_weights.push_back(1.0 / double(k + 1));
  const models::StarDistLoss loss = models::stardist_losses(y, targets(y), o);
  near("loss", loss.total.item(), 20 * tolerance);
  near("prob loss", loss.prob.item(), 20 * tolerance);
  near("dist loss", loss.dist.item(), 20 * tolerance);
  if (loss.prob_class.defined()) near("class loss", loss.prob_class.item(), 20 * tolerance);
  const models::StarDistMeasures m = models::stardist_measures(y, targets(y));
  near("kld", m.prob_kld, 20 * tolerance);
  near("mae", m.dist_relevant_mae, 20 * tolerance);
  near("mse", m.dist_relevant_mse, 200 * tolerance);
  near("iou", m.dist_iou, 20 * tolerance);
  backward(loss.total);
  for (const nn::Named& n : net.parameters()) {
    INFO("gradient of " << n.name);
    const double length = *next++, first = *next++, slack = 200 * tolerance * (length + 1e-2);
    CHECK(std::abs(norm(n.tensor->grad()) - length) < slack);
    CHECK(std::abs(element(n.tensor->grad(), 0) - first) < slack);
  }
  for (const nn::Named& n : net.state())
    if (ends_with(n.name, "running_mean") || ends_with(n.name, "running_var"))
      near(n.name.c_str(), sum(*n.tensor).item(), 10 * tolerance);
  net.eval();
  NoGrad off;
  const StarDistMaps z = net(x);
  near("prob in evaluation", norm(z.prob), 20 * tolerance);
  near("dist in evaluation", norm(z.dist), 50 * tolerance);
  if (z.prob_class.defined()) near("classes in evaluation", norm(z.prob_class), 20 * tolerance);
  CHECK(next == want.data() + want.size());
}

}  // namespace

TEST_CASE("StarDist-3D's variants agree with the PyTorch twin in f64") {
  for (const Variant& c : variants()) {
    INFO(c.name);
    check_variant(c, DType::f64, 1e-12);
  }
}

TEST_CASE("StarDist-3D's variants agree with the PyTorch twin in f32, on every instruction set") {
  for_each_isa_and_threads([](const char* isa, int threads) {
    if (threads != 2) return;
    for (const Variant& c : variants()) {
      INFO(c.name << " on " << isa);
      check_variant(c, DType::f32, 2e-5);
    }
  });
}

TEST_CASE("StarDist-3D's published ResNet: size, order of the parameters, initial values") {
  StarDist3d net({.grid = {1, 2, 2}, .backbone = StarDistBackbone::resnet});
  CHECK(net.parameter_count() == 1'547'201);  // as published for 3D_demo
  CHECK(net.multiple() == std::array<int64_t, 3>{1, 2, 2});
  std::string order;
  for (const nn::Named& n : net.parameters())
    if (ends_with(n.name, ".weight")) order += n.name.substr(0, n.name.size() - 7) + " ";
  CHECK(order ==
        "first second block_0.conv_0 block_0.conv_1 block_0.projection block_0.conv_2 block_1.conv_0 block_1.conv_1 block_1.conv_2 "
        "block_2.conv_0 block_2.conv_1 block_2.conv_2 block_3.conv_0 block_3.conv_1 block_3.conv_2 features prob dist ");
  const auto w = find(net, "block_1.conv_0.weight").span<float>();
  double square = 0, largest = 0;
  for (const float v : w) square += double(v) * double(v), largest = std::max(largest, std::abs(double(v)));
  const double std = std::sqrt(2.0 / (27 * 64));
  CHECK(std::abs(std::sqrt(square / double(w.size())) / std - 1) < 0.02);  // he_normal, cut at two deviations
  CHECK(largest < 2 * std / 0.87962566103423978);
  NoGrad off;
  const StarDistMaps y = net(Tensor::zeros({1, 3, 6, 10, 1}));
  CHECK(y.prob.shape() == Shape{1, 3, 3, 5, 1});
  CHECK(y.dist.shape() == Shape{1, 3, 3, 5, 96});
  CHECK_FALSE(y.prob_class.defined());
}

TEST_CASE("StarDist-3D's classes sum to 1; its layers carry the prefix") {
  StarDist3d net({.n_rays = 4, .n_classes = 3, .unet_n_depth = 1, .unet_n_filter_base = 2, .unet_prefix = "my_", .net_conv_after_unet = 3});
  CHECK(find(net, "my_down_level_0_no_0.weight").shape() == Shape{3, 3, 3, 1, 2});
  CHECK(find(net, "features_class.weight").shape() == Shape{3, 3, 3, 2, 3});
  Random random(3);
  const Tensor sums = sum(net(random_normal({1, 2, 4, 4, 1}, random)).prob_class, {-1});
  CHECK(sums.shape() == Shape{1, 2, 4, 4});
  for (const float v : sums.span<float>()) CHECK(std::abs(v - 1) < 1e-6);
}

TEST_CASE("StarDist-3D's dropout: in training alone, other draws in each pass and layer, the same for the same pass") {
  const StarDist3dOptions o{.n_rays = 4, .unet_n_depth = 1, .unet_n_filter_base = 4, .unet_dropout = 0.5, .net_conv_after_unet = 0};
  StarDist3d net(o, Random(5)), again(o, Random(5)), other(o, Random(6));
  Random random(1);
  const Tensor x = random_normal({1, 4, 4, 8, 1}, random);
  NoGrad off;
  const auto same = [](const Tensor& a, const Tensor& b) { return relative_difference(a, b) == 0; };
  const Tensor first = net(x).dist, second = net(x).dist;
  CHECK_FALSE(same(first, second));
  CHECK(same(again(x).dist, first));
  again.set_training_passes(net.training_passes() - 1);
  CHECK(same(again(x).dist, second));
  CHECK_FALSE(same(other(x).dist, first));
  net.eval();
  const Tensor whole = net(x).dist;
  CHECK(same(net(x).dist, whole));
  CHECK_FALSE(same(whole, first));
}
