// SPDX-License-Identifier: BSD-3-Clause
// A head with its loss as one op: against PyTorch, difference quotients and the composition of the plain ops; with a loss
// of one's own, with a block that others read too, with parts frozen.

#include "voxgrad/ops/head_loss.hpp"

#include <cmath>
#include <cstring>

#include "catch.hpp"
#include "message.hpp"
#include "op_case.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/cpu/loss_loops.hpp"
#include "voxgrad/ops/mean.hpp"

using namespace voxgrad;
using namespace voxgrad::test;

namespace {
using In = const std::vector<Tensor>&;
using kernels::BceWithLogits;
using kernels::MseWithLogits;

/// A loss of one's own: PyTorch's smooth_l1_loss. Two functions and one line.
struct SmoothL1 {
  static constexpr const char* name = "smooth_l1_loss";
  template <class T> static T f(T p, T t) {
    const T d = std::abs(p - t);
    return d < T(1) ? T(0.5) * d * d : d - T(0.5);
  }
  template <class T> static T df(T p, T t) { return p - t < T(-1) ? T(-1) : p - t > T(1) ? T(1) : p - t; }
};
const bool smooth_l1_ready = kernels::loss<SmoothL1>.fill(DeviceKind::cpu, &cpu::loss_loops<SmoothL1>);

/// A loss without kernels.
struct Unheard {
  static constexpr const char* name = "unheard_loss";
};

ConvBlockOptions same(const Tensor& w, double slope, bool training = true) {
  const int64_t p = w.shape()[0] / 2;
  ConvBlockOptions o{{{1, 1, 1}, {p, p, p}, {1, 1, 1}}, {}};
  o.norm.slope = slope;
  o.norm.training = training;
  return o;
}
Activation block(const Tensor& x, const Tensor& w, const Tensor& gamma, const Tensor& beta, double slope) {
  return conv_block({x}, w, Tensor(), {gamma, beta, {}, {}}, same(w, slope));
}

Input weight(const Shape& w) {
  const double f = 2 / std::sqrt(double(w.size() / w[4]));
  return {w, -f, f};
}

/// A block a, b, c, d below, the head e, f and the target g.
template <class F>
OpCase on_block(const char* name, const char* torch, const Shape& x, int64_t mid, int64_t out, double slope) {
  OpCase c{name, torch,
           {{x}, weight({3, 3, 3, x[4], mid}), {{mid}, 0.5, 1.5}, {{mid}, -0.5, 0.5}, weight({1, 1, 1, mid, out}), {{out}},
            {{x[0], x[1], x[2], x[3], out}, 0, 1}},
           [=](In in) { return head_loss<F>(block(in[0], in[1], in[2], in[3], slope), in[4], in[5], in[6]); },
           {}, {6}};
  c.tolerance = 2e-5;
  return c;
}

std::vector<OpCase> cases() {
  return {
      on_block<MseWithLogits>("head_loss_mse", "F.mse_loss(torch.sigmoid(conv(block(a, b, c, d, 0.2), e, f)), g)", {1, 2, 3, 9, 1}, 8, 1, 0.2),
      on_block<BceWithLogits>("head_loss_bce", "F.binary_cross_entropy_with_logits(conv(block(a, b, c, d, 0), e, f), g)", {2, 3, 2, 5, 2}, 3, 2, 0),
      on_block<SmoothL1>("head_loss_own", "F.smooth_l1_loss(conv(block(a, b, c, d, 0.2), e, f), g)", {1, 2, 3, 6, 1}, 8, 3, 0.2),
      {"head_loss_plain", "F.mse_loss(torch.sigmoid(conv(a, b, padding=1)), c)", {{{1, 3, 4, 5, 2}}, weight({3, 3, 3, 2, 1}), {{1, 3, 4, 5, 1}, 0, 1}},
       [](In in) { return head_loss<MseWithLogits>(in[0], in[1], Tensor(), in[2], {{1, 1, 1}, {1, 1, 1}, {1, 1, 1}}); },
       {}, {2}},
  };
}

std::vector<OpCase> layers() {
  return {
      on_block<MseWithLogits>("head_loss 16 to 4", "", {2, 3, 5, 6, 1}, 16, 4, 0),
      on_block<BceWithLogits>("head_loss 24 to 2", "", {1, 2, 3, 7, 3}, 24, 2, 0.2),
      on_block<BceWithLogits>("head_loss 8 to 5", "", {1, 2, 3, 6, 1}, 8, 5, 0.2),
      on_block<MseWithLogits>("head_loss 9 to 1", "", {1, 2, 3, 5, 1}, 9, 1, 0.2),
  };
}

/// Leaves of a block and its head on several chunks of points.
std::vector<Tensor> leaves_of(DType dtype, unsigned frozen = 0) {
  Random random(3);
  std::vector<Tensor> leaves;
  for (const Shape& s : {Shape{2, 9, 16, 17, 2}, Shape{3, 3, 3, 2, 8}, Shape{8}, Shape{8}, Shape{8}, Shape{1, 1, 1, 8, 1}, Shape{1}})
    leaves.push_back(random_normal(s, random, DType::f64).to(dtype));
  for (size_t i = 0; i < leaves.size(); ++i)
    if (!(frozen >> i & 1)) leaves[i].set_requires_grad();
  return leaves;
}
Tensor target_of(DType dtype) {
  Random random(4);
  return random_uniform({2, 9, 16, 17, 1}, random, 0, 1, DType::f64).to(dtype);
}
Activation features(In l, bool training, Tensor mean, Tensor var) {
  return conv_block({l[0]}, l[1], l[2], {l[3], l[4], std::move(mean), std::move(var)}, same(l[1], 0.2, training));
}
Activation features(In l, bool training = true) {
  return features(l, training, Tensor::zeros({8}, l[0].dtype()), Tensor::full({8}, 1, l[0].dtype()));
}
std::vector<Tensor> gradients(In leaves) {
  std::vector<Tensor> all;
  for (const Tensor& t : leaves) all.push_back(t.grad().defined() ? t.grad().clone() : Tensor());
  return all;
}
bool equal(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.raw(), b.raw(), size_t(a.size()) * size_of(a.dtype())) == 0;
}

template <class F>
void check_composition(DType dtype, bool training, bool shared, double tolerance) {
  INFO(F::name << " " << name(dtype) << ", training " << training << ", shared " << shared);
  const Tensor target = target_of(dtype);
  const auto run = [&](bool fused) {
    const std::vector<Tensor> l = leaves_of(dtype);
    const Activation h = features(l, training);
    Tensor loss = fused ? head_loss<F>(h, l[5], l[6], target) : mean_loss<F>(conv3d(h.value(), l[5], l[6]), target);
    if (shared) loss = loss + mean(square(h.value())) * 0.01;
    backward(loss, Tensor::scalar(3, dtype));
    std::vector<Tensor> all = gradients(l);
    all.push_back(loss);
    return all;
  };
  const auto got = run(true), want = run(false);
  for (size_t i = 0; i < got.size(); ++i) {
    INFO("value " << i);
    if (i == 2 && training) CHECK(equal(got[i], Tensor::zeros({8}, dtype)));  // a bias before a norm
    else CHECK(relative_difference(got[i], want[i]) < tolerance);
  }
}
}  // namespace

TEST_CASE("head_loss") { run_cases(cases()); }
TEST_CASE("head_loss, layers") { run_cases(layers()); }

TEST_CASE("head_loss is the composition of the plain ops", "[oracle]") {
  for (const bool training : {true, false})
    for (const bool shared : {false, true}) {  // shared: another op reads the block, the norm's sums come later
      check_composition<MseWithLogits>(DType::f64, training, shared, 1e-12);
      check_composition<MseWithLogits>(DType::f32, training, shared, 2e-5);
      check_composition<BceWithLogits>(DType::f32, training, shared, 2e-5);
      check_composition<SmoothL1>(DType::f32, training, shared, 2e-5);
    }
}

TEST_CASE("head_loss takes the norm's sums along where it alone reads the block") {
  for (const bool shared : {false, true}) {
    const std::vector<Tensor> l = leaves_of(DType::f32);
    const Activation h = features(l);
    Tensor loss = head_loss<MseWithLogits>(h, l[5], l[6], target_of(DType::f32));
    if (shared) loss = loss + mean(h.value());
    int passes = 0;
    trace_sink() = [&](const TraceEvent& e) { passes += std::string(e.phase) == "backward_sums"; };
    backward(loss);
    trace_sink() = nullptr;
    CHECK(passes == (shared ? 1 : 0));
  }
}

TEST_CASE("head_loss without a tape has the same value") {
  const std::vector<Tensor> l = leaves_of(DType::f32);
  const Tensor target = target_of(DType::f32), recorded = head_loss<MseWithLogits>(features(l), l[5], l[6], target);
  NoGrad off;
  const Tensor loss = head_loss<MseWithLogits>(features(l), l[5], l[6], target);
  CHECK(loss.item() == recorded.item());
  CHECK(!loss.requires_grad());
}

TEST_CASE("head_loss walked twice gives the same gradients, and after a change of its weight says so") {
  std::vector<Tensor> l = leaves_of(DType::f32);
  const Tensor loss = head_loss<BceWithLogits>(features(l), l[5], l[6], target_of(DType::f32));
  backward(loss, Tensor(), true);
  const std::vector<Tensor> first = gradients(l);
  for (Tensor& t : l) t.clear_grad();
  backward(loss, Tensor::scalar(2), true);
  for (Tensor& t : l) t.clear_grad();
  backward(loss, Tensor(), true);
  for (size_t i = 0; i < l.size(); ++i) CHECK(equal(l[i].grad(), first[i]));
  l[5].touch();
  CHECK(message<Error>([&] { backward(loss); }) == "head_loss: a tensor saved for backward was changed in place before backward ran");
}

TEST_CASE("head_loss leaves frozen parameters alone, the rest is unchanged") {
  const auto run = [&](unsigned frozen) {
    const std::vector<Tensor> l = leaves_of(DType::f32, frozen);
    backward(head_loss<MseWithLogits>(features(l), l[5], l[6], target_of(DType::f32)));
    return gradients(l);
  };
  const std::vector<Tensor> all = run(0);
  for (const unsigned frozen : {0b0100000u, 0b1000000u, 0b1100000u, 0b0011111u, 0b0111111u, 0b1011111u, 0b0000001u}) {
    const std::vector<Tensor> some = run(frozen);
    for (size_t i = 0; i < some.size(); ++i) {
      INFO("frozen " << frozen << " input " << i);
      REQUIRE(some[i].defined() == !(frozen >> i & 1));
      if (some[i].defined()) CHECK(equal(some[i], all[i]));
    }
  }
}

TEST_CASE("head_loss says what does not fit") {
  const Tensor x = Tensor::zeros({1, 2, 2, 3, 8}), w = Tensor::zeros({1, 1, 1, 8, 1}), t = Tensor::zeros({1, 2, 2, 3, 1});
  const auto words = [&](const Tensor& weight, const Tensor& target) {
    return message<Error>([&] { head_loss<MseWithLogits>(x, weight, Tensor(), target); });
  };
  CHECK(words(w, Tensor::zeros({1, 2, 2, 3, 2})) == "head_loss: prediction is 1x2x2x3x1, target is 1x2x2x3x2");
  CHECK(words(w, Tensor::zeros(t.shape(), DType::f64)) == "head_loss: prediction is f32, target is f64");
  CHECK(words(Tensor::zeros({1, 1, 1, 4, 1}), t) == "head_loss: weight has 4 input channels, x has 8 (weight 1x1x1x4x1, x 1x2x2x3x8)");
  CHECK(message<DeviceError>([&] { head_loss<Unheard>(x, w, Tensor(), t); }) == "unheard_loss: no cpu kernels in this program");
}
