// SPDX-License-Identifier: BSD-3-Clause
// The published network with weights by formula: outputs, loss, gradients, statistics and one Adam step in both
// batch-norm modes. The numbers were computed with PyTorch 1.13 in float64.

#include "op_case.hpp"
#include "catch.hpp"
#include "unet_formula.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/ops/loss.hpp"
#include "voxgrad/optim/adam.hpp"
#include "voxgrad/simd/isa.hpp"

using namespace voxgrad;
using namespace voxgrad::test;

namespace {

Tensor conformance_input(DType dtype) {
  Tensor x({2, 32, 32, 32, 1}, dtype);
  for_each_value(x, [](int64_t i) {
    const double h = double(i / 32 % 32), w = double(i % 32), t = double(i / 1024 % 32);
    return i < 32768 ? std::sin(0.3 * t) + std::cos(0.2 * h) * std::sin(0.15 * w) : std::cos(0.25 * t) * std::sin(0.4 * h) + 0.1 * w / 32;
  });
  return x;
}

/// input > 0.9, decided in double for both precisions.
Tensor conformance_target(DType dtype) {
  const Tensor x = conformance_input(DType::f64);
  Tensor t(x.shape(), dtype);
  for_each_value(t, [&](int64_t i) { return x.span<double>()[size_t(i)] > 0.9 ? 1.0 : 0.0; });
  return t;
}

int64_t at(int64_t n, int64_t t, int64_t y, int64_t x) { return ((n * 32 + t) * 32 + y) * 32 + x; }

struct Tolerance {
  double output, statistics, gradient, tiny;
};

Approx near(double value, double relative) { return Approx(value).epsilon(relative).margin(0); }

void check_mean_std(const Tensor& y, double mean, double std, const Tolerance& tolerance) {
  const double n = double(y.size());
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < y.size(); ++i) sum += element(y, i);
  for (int64_t i = 0; i < y.size(); ++i) squares += (element(y, i) - sum / n) * (element(y, i) - sum / n);
  CHECK(sum / n == near(mean, tolerance.output));
  if (std > 0) CHECK(std::sqrt(squares / n) == near(std, tolerance.output));
}

void check_gradient(models::UNet3d& net, const std::string& name, double length, double first, const Tolerance& tolerance) {
  INFO("gradient of " << name);
  const Tensor& g = find(net, name).grad();
  REQUIRE(g.defined());
  CHECK(norm(g) == near(length, tolerance.gradient));
  CHECK(std::abs(element(g, 0) - first) <= tolerance.gradient * std::max(std::abs(first), length / std::sqrt(double(g.size()))));
}

/// with_head: the loss in one op with the network's head, else by plain ops on its output.
void check_conformance(DType dtype, bool with_head, const Tolerance& tolerance) {
  models::UNet3d net({});
  net.to(dtype);
  fill_by_formula(net);
  const Tensor x = conformance_input(dtype), target = conformance_target(dtype);
  double ones = 0;
  for (int64_t i = 0; i < target.size(); ++i) ones += element(target, i);
  REQUIRE(ones == 9054);

  net.eval();
  {
    INFO("evaluation mode");
    NoGrad off;
    const Tensor y = net(x);
    check_mean_std(y, 0.451814591321, 0.018034724466, tolerance);
    CHECK(element(y, at(0, 0, 0, 0)) == near(0.481958827476, tolerance.output));
    CHECK(element(y, at(0, 5, 7, 9)) == near(0.438883647219, tolerance.output));
    CHECK(element(y, at(1, 16, 16, 16)) == near(0.462343962987, tolerance.output));
    CHECK(element(y, at(0, 31, 31, 31)) == near(0.454654694748, tolerance.output));
    CHECK(element(y, at(1, 2, 30, 17)) == near(0.391865582325, tolerance.output));
    CHECK(mse_loss(y, target).item() == near(0.217109121251, tolerance.output));
    CHECK(net.loss<kernels::MseWithLogits>(x, target).item() == near(0.217109121251, tolerance.output));
  }

  net.train();
  if (with_head) {
    INFO("training mode");
    const Tensor loss = net.loss<kernels::MseWithLogits>(x, target);
    CHECK(loss.item() == near(0.169625526037, tolerance.output));
    backward(loss);
  } else {
    INFO("training mode");
    const Tensor y = net(x);
    check_mean_std(y, 0.317817993376, 0.114702913012, tolerance);
    CHECK(element(y, at(0, 0, 0, 0)) == near(0.456160580316, tolerance.output));
    CHECK(element(y, at(0, 5, 7, 9)) == near(0.043221298421, tolerance.output));
    CHECK(element(y, at(1, 16, 16, 16)) == near(0.215828763336, tolerance.output));
    const Tensor loss = mse_loss(y, target);
    CHECK(loss.item() == near(0.169625526037, tolerance.output));
    backward(loss);
  }
  check_gradient(net, "final_conv.bias", 8.673903554e-2, 8.673903554e-2, tolerance);
  check_gradient(net, "final_conv.weight", 3.879506777e-2, 2.037896220e-2, tolerance);
  check_gradient(net, "down_convs.0.convs.0.weight", 1.292880697e-1, 4.040351219e-4, tolerance);
  check_gradient(net, "down_convs.0.convs.1.weight", 8.904957177e-3, 8.961898019e-4, tolerance);
  check_gradient(net, "up_convs.4.upconv.weight", 2.532190930e-2, -6.447002404e-4, tolerance);
  check_gradient(net, "down_convs.4.convs.3.weight", 4.013028926, -5.487196042e-5, tolerance);
  check_gradient(net, "bottleneck.dilated_conv.0.weight", 1.276487227e-2, 0, tolerance);
  CHECK(element(find(net, "bottleneck.dilated_conv.0.weight").grad(), 0) == 0);  // only the centre tap sees data
  for (const char* bias : {"down_convs.0.convs.0.bias", "down_convs.3.convs.3.bias", "up_convs.2.convs.0.bias"})
    CHECK(norm(find(net, bias).grad()) < tolerance.tiny);  // batch norm takes a bias in front of it away

  const Tensor &mean = find(net, "down_convs.0.convs.1.running_mean"), &var = find(net, "down_convs.0.convs.1.running_var");
  const double means[] = {-0.00944668395, 0.01744909417, 0.01215539637}, vars[] = {2.28448072493, 1.95318127264, 1.53119630388};
  for (int64_t c = 0; c < 3; ++c) {
    CHECK(element(mean, c) == near(means[c], tolerance.statistics));
    CHECK(element(var, c) == near(vars[c], tolerance.statistics));
  }
  CHECK(find(net, "down_convs.0.convs.1.num_batches_tracked").item() == 1);

  optim::AdamOptions options;
  options.lr = 2e-4;
  optim::Adam adam(net.parameters(), options);
  const Tensor& head = find(net, "final_conv.weight");
  CHECK(element(head, 0) == near(-0.390111637668, tolerance.statistics));
  adam.step();
  CHECK(element(head, 0) == near(-0.390311637570, tolerance.statistics));
  net.eval();
  NoGrad off;
  const Tensor y = net(x);
  check_mean_std(y, 0.462102472131, 0, tolerance);
  CHECK(mse_loss(y, target).item() == near(0.223167925227, tolerance.output));
}

}  // namespace

TEST_CASE("the U-Net in f64 is PyTorch's") { check_conformance(DType::f64, false, {1e-9, 1e-9, 1e-8, 1e-15}); }

TEST_CASE("the U-Net in f32 is PyTorch's within rounding, on every instruction set") {
  for_each_isa_and_threads([](const char* isa, int threads) {
    if (threads != 2) return;  // other counts give the same bytes: the tests of the ops and of training say so
    INFO(isa);
    // These weights make the deepest gradients ill-conditioned: PyTorch's own f32 gradient of down_convs.4.convs.3 is
    // off by 3e-4; ours by 8e-3, because a convolution here sums its up to 6912 terms in one f32 chain per output.
    check_conformance(DType::f32, false, {5e-5, 1e-5, 1e-3, 1e-6});
    if (current_isa() == initial_isa()) check_conformance(DType::f32, true, {5e-5, 1e-5, 1e-3, 1e-6});  // slow on the others
  });
}
