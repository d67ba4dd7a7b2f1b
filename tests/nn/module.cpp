// SPDX-License-Identifier: BSD-3-Clause
// Modules, their state, and initialisers.

#include "voxgrad/nn/module.hpp"

#include <map>

#include "catch.hpp"
#include "message.hpp"
#include "voxgrad/nn/layers.hpp"

using namespace voxgrad;
using voxgrad::test::message;

namespace {
struct Net : nn::Module {
  Random random{1};
  nn::Conv3d conv{1, 2, 3, random};
  nn::BatchNorm norm{2};
  Net() {
    child("a.conv", conv);
    child("norm", norm);
  }
};

std::vector<std::string> names(const std::vector<nn::Named>& all) {
  std::vector<std::string> result;
  for (const nn::Named& n : all) result.push_back(n.name);
  return result;
}

using State = std::map<std::string, Tensor>;
State copy_state(nn::Module& m) {
  State s;
  for (const nn::Named& n : m.state()) s[n.name] = n.tensor->clone();
  return s;
}
void load(nn::Module& m, const State& s) {
  std::vector<std::string> available;
  for (const auto& [name, t] : s) available.push_back(name);
  nn::load_state(m, [&](const std::string& name) { return s.count(name) ? s.at(name) : Tensor(); }, available);
}

struct Moments {
  double mean = 0, std = 0, low = 1e9, high = -1e9;
};
Moments moments(const Tensor& t) {
  Moments m;
  const auto e = t.span<float>();
  for (float v : e) {
    m.mean += double(v) / double(e.size());
    m.low = std::min(m.low, double(v));
    m.high = std::max(m.high, double(v));
  }
  for (float v : e) m.std += (double(v) - m.mean) * (double(v) - m.mean) / double(e.size());
  m.std = std::sqrt(m.std);
  return m;
}
void check_uniform(const Tensor& t, double bound) {
  const Moments m = moments(t);
  const double n = double(t.size()), std = bound / std::sqrt(3.0);
  CHECK(std::abs(m.mean) < 5 * std / std::sqrt(n));
  CHECK(m.std == Approx(std).epsilon(0.02));
  CHECK(m.low >= -bound * (1 + 1e-6));
  CHECK(m.high <= bound * (1 + 1e-6));
  CHECK(m.high > 0.99 * bound);
}
}  // namespace

TEST_CASE("state and parameters in the order of registration") {
  Net net;
  CHECK(names(net.state()) == std::vector<std::string>{"a.conv.weight", "a.conv.bias", "norm.weight", "norm.bias", "norm.running_mean",
                                                       "norm.running_var", "norm.num_batches_tracked"});
  CHECK(names(net.parameters()) == std::vector<std::string>{"a.conv.weight", "a.conv.bias", "norm.weight", "norm.bias"});
  CHECK(net.parameter_count() == 54 + 2 + 4);
  for (const nn::Named& n : net.state()) CHECK(n.tensor->requires_grad() == n.learnable);
}

TEST_CASE("train and eval reach the children; only training counts batches and moves statistics") {
  Net net;
  const Tensor x = random_normal({2, 3, 3, 3, 2}, net.random);
  CHECK(net.norm.training());
  net.norm(x);
  CHECK(net.norm.num_batches_tracked.item() == 1);
  CHECK(net.norm.running_mean.span<float>()[0] != 0);
  net.eval();
  CHECK(!net.norm.training());
  net.norm(x);
  CHECK(net.norm.num_batches_tracked.item() == 1);
  net.train();
  CHECK(net.norm.training());
}

TEST_CASE("another floating type keeps values and what is learnable") {
  Net net;
  const float before = net.conv.weight.span<float>()[5];
  net.to(DType::f64);
  CHECK(net.conv.weight.span<double>()[5] == double(before));
  for (const nn::Named& n : net.state()) {
    CHECK(n.tensor->dtype() == DType::f64);
    CHECK(n.tensor->requires_grad() == n.learnable);
  }
}

TEST_CASE("a loaded state is equal, and learnable where it was") {
  Net a, b;
  a.conv.weight.mutable_span<float>()[0] = 42;
  load(b, copy_state(a));
  CHECK(b.conv.weight.span<float>()[0] == 42);
  CHECK(b.conv.weight.requires_grad());
  CHECK(!b.norm.running_mean.requires_grad());
  a.conv.weight.mutable_span<float>()[0] = 43;  // a copy, not a view
  CHECK(b.conv.weight.span<float>()[0] == 42);

  State wide = copy_state(a);  // doubles are taken into the network's type
  wide["a.conv.bias"] = Tensor::full({2}, 0.5, DType::f64);
  load(b, wide);
  CHECK(b.conv.bias.dtype() == DType::f32);
  CHECK(b.conv.bias.span<float>()[1] == 0.5f);
}

TEST_CASE("a state that does not fit is refused as a whole, all problems in one message") {
  Net net;
  const State good = copy_state(net);
  const auto refuse = [&](const State& s) {
    return message<ShapeError>([&] { load(net, s); });
  };
  State s = good;
  s.erase("norm.bias");
  s["a.conv.weight"] = Tensor::full({1}, 9);
  CHECK(refuse(s) == "weights do not fit the network: 'a.conv.weight' is [1], the network needs [3x3x3x1x2]; 'norm.bias' is missing");
  s = good;
  s["extra"] = Tensor::zeros({1});
  s["a.conv.bias"] = Tensor::full({2}, 77);
  CHECK(refuse(s) == "weights do not fit the network: 'extra' is not part of the network");
  CHECK(net.conv.bias.span<float>()[0] != 77);  // nothing was written
  CHECK(refuse({}) ==
        "weights do not fit the network: 'a.conv.weight' is missing; 'a.conv.bias' is missing; 'norm.weight' is missing; and 4 more");
}

TEST_CASE("layers start as PyTorch's do") {
  Random random(3);
  nn::Conv3d conv(32, 64, 3, random);
  check_uniform(conv.weight, 1 / std::sqrt(32.0 * 27));
  nn::ConvTranspose3d up(64, 32, random);  // dimension 1 of (in, out, k, k, k): the output side
  check_uniform(up.weight, 1 / std::sqrt(32.0 * 27));
  nn::Linear linear(100, 300, random);
  check_uniform(linear.weight, 0.1);
  nn::Conv3d wide(1, 4000, 3, random);
  check_uniform(wide.bias, 1 / std::sqrt(27.0));
  nn::ConvTranspose3d wide_up(1, 4000, random);
  check_uniform(wide_up.bias, 1 / std::sqrt(4000.0 * 27));
  CHECK(conv.options.padding == std::array<int64_t, 3>{1, 1, 1});
  CHECK(nn::Conv3d(1, 1, 3, random, 1, 2).options.padding == std::array<int64_t, 3>{2, 2, 2});
}

TEST_CASE("Keras' rules: Glorot uniform and He normal") {
  Random random(4);
  const Shape s{3, 3, 3, 32, 64};
  check_uniform(nn::glorot_uniform(s, random), std::sqrt(6 / (27.0 * (32 + 64))));
  const Moments m = moments(nn::he_normal(s, random));
  const double std = std::sqrt(2 / (27.0 * 32)), cut = 2 * std / 0.87962566103423978;
  CHECK(std::abs(m.mean) < 5 * std / std::sqrt(double(s.size())));
  CHECK(m.std == Approx(std).epsilon(0.02));
  CHECK(m.low >= -cut * (1 + 1e-6));
  CHECK(m.high <= cut * (1 + 1e-6));
  CHECK(m.high > 0.98 * cut);
  CHECK(message<ShapeError>([&] { nn::glorot_uniform({5}, random); }) == "init: a weight needs input and output channels, got 5");
}

TEST_CASE("the same seed gives the same layer") {
  Random a(9), b(9);
  const nn::Conv3d one(2, 3, 3, a), two(2, 3, 3, b);
  CHECK(std::memcmp(one.weight.raw(), two.weight.raw(), size_t(one.weight.size()) * 4) == 0);
  CHECK(a.position() == b.position());
}
