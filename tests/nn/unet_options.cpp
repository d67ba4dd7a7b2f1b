// SPDX-License-Identifier: BSD-3-Clause
// The U-Net's options against a PyTorch twin (tests/golden/make_unet.py): names, shapes, outputs, gradients.

#include "npy.hpp"
#include "op_case.hpp"
#include "catch.hpp"
#include "message.hpp"
#include "unet_formula.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/ops/loss.hpp"

using namespace voxgrad;
using namespace voxgrad::test;
using models::UNet3dOptions;

namespace {

struct Config {
  const char* name;
  UNet3dOptions options;
  Shape x;
  size_t every = 1;  ///< the golden file holds every so many outputs
};

UNet3dOptions options(int64_t layers, int64_t width) {
  UNet3dOptions o;
  o.layers = layers;
  o.width = width;
  return o;
}

std::vector<Config> configs() {
  std::vector<Config> all = {
      {"plain2", options(2, 4), {2, 8, 4, 12, 1}},  {"dilated", options(2, 4), {1, 16, 16, 16, 1}},
      {"kernel5", options(3, 3), {1, 8, 16, 16, 1}}, {"no_norm", options(2, 4), {1, 8, 8, 8, 1}},
      {"relu", options(2, 5), {1, 8, 8, 8, 1}},      {"channels", options(2, 4), {2, 4, 8, 8, 2}},
      {"layers4", options(4, 2), {2, 16, 16, 16, 1}}, {"layers5", options(5, 1), {2, 32, 32, 32, 1}, 16}};
  all[1].options.dilations = 3;
  all[2].options.first_kernel = 5;
  all[3].options.batch_norm = false;
  all[4].options.leaky_relu = false;
  all[5].options.in_channels = 2;
  all[5].options.out_channels = 3;
  all[6].options.dilations = 2;
  return all;
}

void check_keys(models::UNet3d& net, const std::string& name) {
  const std::vector<Key> want = read_keys(golden("unet/" + name + ".keys"));
  const std::vector<nn::Named> state = net.state();
  REQUIRE(state.size() == want.size());
  for (size_t i = 0; i < state.size(); ++i) {
    CHECK(state[i].name == want[i].name);
    CHECK(torch_extents(state[i]) == want[i].extents);
  }
}

void check_config(const Config& c, DType dtype, double tolerance) {
  models::UNet3d net(c.options);
  net.to(dtype);
  check_keys(net, c.name);
  fill_by_formula(net);
  Tensor x(c.x, dtype);
  for_each_value(x, [](int64_t i) { return std::sin(0.05 * double(i) + 0.3 * std::sin(0.011 * double(i))); });
  const std::vector<double> want = read_npy(golden(std::string("unet/") + c.name + ".npy")).values;
  const double* next = want.data();

  const auto check_output = [&](const Tensor& y) {
    double worst = 0;
    for (int64_t i = 0; i < y.size(); i += int64_t(c.every)) worst = std::max(worst, std::abs(element(y, i) - *next++));
    CHECK(worst < tolerance);
  };
  net.eval();
  check_output(net(x));
  net.train();
  const Tensor y = net(x);
  check_output(y);
  Tensor target(y.shape(), dtype);
  for_each_value(target, [](int64_t i) { return std::cos(0.07 * double(i)) > 0.5 ? 1.0 : 0.0; });
  const Tensor loss = mse_loss(y, target);
  CHECK(std::abs(loss.item() - *next++) < tolerance);
  backward(loss);
  for (const nn::Named& n : net.parameters()) {
    INFO("gradient of " << n.name);
    const double length = *next++, first = *next++;
    // Deep layers see a handful of voxels here, and biases in front of a batch norm have no gradient but rounding.
    const double slack = 100 * tolerance * (length + 1e-3);
    CHECK(std::abs(norm(n.tensor->grad()) - length) < slack);
    CHECK(std::abs(element(n.tensor->grad(), 0) - first) < slack);
  }
  CHECK(next == want.data() + want.size());
}

}  // namespace

TEST_CASE("the U-Net's options agree with the PyTorch twin in f64") {
  for (const Config& c : configs()) {
    INFO(c.name);
    check_config(c, DType::f64, 1e-12);
  }
}

TEST_CASE("the U-Net's options agree with the PyTorch twin in f32, on every instruction set") {
  for_each_isa_and_threads([](const char* isa, int threads) {
    if (threads != 2) return;
    for (const Config& c : configs()) {
      INFO(c.name << " on " << isa);
      check_config(c, DType::f32, 5e-5);
    }
  });
}

TEST_CASE("the published network has the published state") {
  models::UNet3d net({});
  check_keys(net, "default");
  CHECK(net.state().size() == 156);
  CHECK(net.parameters().size() == 96);
  CHECK(net.parameter_count() == 6'487'417);
  std::map<std::string, int64_t> parts;
  int64_t buffers = 0;
  for (const nn::Named& n : net.state()) {
    if (n.learnable) parts[n.name.substr(0, n.name.find('.'))] += n.tensor->size();
    else buffers += n.tensor->size();
  }
  CHECK(parts == std::map<std::string, int64_t>{{"bottleneck", 2'654'720}, {"down_convs", 884'712}, {"up_convs", 2'947'976}, {"final_conv", 9}});
  CHECK(buffers == 2004);
  CHECK(net.multiple() == 32);
  const std::vector<nn::Named> p = net.parameters();
  CHECK(p[0].name == "bottleneck.dilated_conv.0.weight");  // first in the optimiser's numbering
  CHECK(p[44].name == "up_convs.0.upconv.weight");
  CHECK(p[95].name == "final_conv.bias");
}

TEST_CASE("the U-Net refuses what it cannot be or take") {
  const auto build = [](auto change) {
    return message<UsageError>([&] {
      UNet3dOptions o;
      change(o);
      models::UNet3d net(o);
    });
  };
  CHECK(build([](UNet3dOptions& o) { o.layers = 0; }) == "unet3d: layers is 0 (expected 1 to 8)");
  CHECK(build([](UNet3dOptions& o) { o.width = -1; }) == "unet3d: width is -1 (expected 1 to 1024)");
  CHECK(build([](UNet3dOptions& o) { o.dilations = 17; }) == "unet3d: dilations is 17 (expected 1 to 16)");
  CHECK(build([](UNet3dOptions& o) { o.first_kernel = 4; }) == "unet3d: first_kernel is 4 (expected an odd number)");
  models::UNet3d net(options(2, 2));
  CHECK(message<ShapeError>([&] { net(Tensor::zeros({1, 4, 6, 8, 1})); }) ==
        "unet3d: every extent must be a multiple of 4, input is 1x4x6x8x1");
  CHECK(message<ShapeError>([&] { net(Tensor::zeros({1, 4, 4, 4, 2})); }) == "unet3d: input must be [N,D,H,W,1], got 1x4x4x4x2");
  CHECK(message<ShapeError>([&] { net(Tensor::zeros({4, 4, 4, 1})); }) == "unet3d: input must be [N,D,H,W,1], got 4x4x4x1");
}
