// SPDX-License-Identifier: BSD-3-Clause
// Convolution, batch norm and activation as one op: alone, in chains that finish each other's values, and against the
// composition of the plain ops.

#include "voxgrad/ops/conv_block.hpp"

#include <cmath>

#include "catch.hpp"
#include "op_case.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/ops/mean.hpp"

using namespace voxgrad;
using namespace voxgrad::test;

namespace {
using In = const std::vector<Tensor>&;

ConvBlockOptions same(const Tensor& w, double slope, bool training = true) {
  const int64_t p = w.shape()[0] / 2;
  ConvBlockOptions o{{{1, 1, 1}, {p, p, p}, {1, 1, 1}}, {}};
  o.norm.slope = slope;
  o.norm.training = training;
  return o;
}
Activation block(std::vector<Activation> x, const Tensor& w, const Tensor& gamma, const Tensor& beta, double slope) {
  return conv_block(std::move(x), w, Tensor(), {gamma, beta, {}, {}}, same(w, slope));
}
Activation plain(std::vector<Activation> x, const Tensor& w, const Tensor& bias, double slope) {
  return conv_block(std::move(x), w, bias, {}, same(w, slope));
}
Tensor flat(const Tensor& x) { return reshape(x, {x.size()}); }

Input weight(const Shape& w) {
  const double f = 2 / std::sqrt(double(w.size() / w[4]));
  return {w, -f, f};
}
Input gamma(int64_t c) { return {{c}, 0.5, 1.5}; }
Input beta(int64_t c) { return {{c}, -0.5, 0.5}; }

/// Input x, one block, in training or not, with a bias.
OpCase one(const char* name, const char* torch, const Shape& x, const Shape& w, double slope, bool training) {
  const int64_t c = w[4];
  return {name, torch, {{x, -1, 2}, weight(w), {{c}}, gamma(c), beta(c), {{c}, -0.5, 0.5}, {{c}, 0.5, 2}},
          [=](In in) {
            return conv_block({in[0]}, in[1], in[2], {in[3], in[4], in[5].clone(), in[6].clone()}, same(in[1], slope, training)).value();
          },
          {}, training ? std::vector<size_t>{2, 5, 6} : std::vector<size_t>{5, 6}};
}

/// Two blocks, the second of which reads the first and a plain skip, then a head: a x, b c d block, e skip, f g h, i j.
OpCase chain(const char* name, const char* torch, const Shape& x, int64_t mid, int64_t skip, int64_t out, int64_t head) {
  const Shape e{x[0], x[1], x[2], x[3], skip};
  OpCase c{name, torch,
          {{x}, weight({3, 3, 3, x[4], mid}), gamma(mid), beta(mid), {e}, weight({3, 3, 3, mid + skip, out}), gamma(out),
           beta(out), weight({1, 1, 1, out, head}), {{head}}},
          [](In in) {
            const Activation h = block({in[0]}, in[1], in[2], in[3], 0.2);
            return conv3d(block({h, in[4]}, in[5], in[6], in[7], 0), in[8], in[9]);
          },
          {8, 9}};
  c.tolerance = 2e-5;
  return c;
}

/// A block whose values go to a pool and, as a skip, to another block: the two gradients meet.
OpCase forked(const char* name, const char* torch, const Shape& x, int64_t mid, int64_t out) {
  OpCase c{name, torch, {{x}, weight({3, 3, 3, x[4], mid}), gamma(mid), beta(mid), weight({3, 3, 3, mid, out}), {{out}}},
          [](In in) {
            const Activation h = block({in[0]}, in[1], in[2], in[3], 0.2);
            return concat({flat(max_pool3d(h)), flat(plain({h}, in[4], in[5], 1).value())}, 0);
          },
          {4, 5}};
  c.tolerance = 2e-5;
  return c;
}

/// Without norm: relu(conv) -> conv of [it, skip], no activation.
OpCase relus(const char* name, const char* torch, const Shape& x, int64_t mid, int64_t out) {
  return {name, torch, {{x}, weight({3, 3, 3, x[4], mid}), {{mid}}, weight({3, 3, 3, mid + x[4], out}), {{out}}},
          [](In in) { return plain({plain({in[0]}, in[1], in[2], 0), in[0]}, in[3], in[4], 1).value(); },
          {3, 4}};
}

std::vector<OpCase> cases() {
  const Shape V{2, 3, 4, 5, 2};
  return {
      one("conv_block_training", "norm(conv(a, b, c, padding=1), d, e, f, g, True, 0.2)", V, {3, 3, 3, 2, 3}, 0.2, true),
      one("conv_block_eval", "norm(conv(a, b, c, padding=1), d, e, f, g, False, 0)", V, {3, 3, 3, 2, 3}, 0, false),
      one("conv_block_rows", "norm(conv(a, b, c, padding=1), d, e, f, g, True, 0.2)", {1, 2, 3, 9, 8}, {3, 3, 3, 8, 8}, 0.2, true),
      chain("conv_block_chain", "conv(block(torch.cat([block(a, b, c, d, 0.2), e], -1), f, g, h, 0), i, j)", V, 3, 2, 4, 1),
      chain("conv_block_chain_rows", "conv(block(torch.cat([block(a, b, c, d, 0.2), e], -1), f, g, h, 0), i, j)", {1, 2, 3, 9, 1}, 8, 8, 8, 1),
      forked("conv_block_forked", "fork(block(a, b, c, d, 0.2), e, f)", {1, 4, 5, 6, 2}, 3, 2),
      forked("conv_block_forked_rows", "fork(block(a, b, c, d, 0.2), e, f)", {1, 2, 3, 8, 1}, 8, 8),
      relus("conv_block_relus", "conv(torch.cat([F.relu(conv(a, b, c, padding=1)), a], -1), d, e, padding=1)", V, 3, 2),
  };
}

/// As the networks have them: Winograd and direct kernels, splits inside and between vectors, odd extents, deep layers.
std::vector<OpCase> layers() {
  return {
      one("conv_block 1 to 8", "", {2, 3, 5, 17, 1}, {3, 3, 3, 1, 8}, 0.2, true),
      one("conv_block 16 to 16, eval", "", {1, 3, 4, 9, 16}, {3, 3, 3, 16, 16}, 0.2, false),
      one("conv_block 8 to 8, kernel 5", "", {1, 2, 3, 6, 8}, {5, 5, 5, 8, 8}, 0, true),
      chain("conv_block chain 8 + 8 to 8", "", {2, 3, 5, 18, 1}, 8, 8, 8, 1),
      chain("conv_block chain 16 and 16 to 16", "", {1, 3, 4, 8, 8}, 16, 16, 16, 1),
      chain("conv_block chain 24 + 8 to 40", "", {1, 2, 3, 11, 3}, 24, 8, 40, 3),
      chain("conv_block chain 32 + 32 to 8, short rows", "", {3, 2, 2, 4, 2}, 32, 32, 8, 2),
      chain("conv_block chain 12 + 12 to 12", "", {1, 2, 3, 9, 4}, 12, 12, 12, 1),
      forked("conv_block forked to 16", "", {2, 2, 4, 16, 1}, 8, 16),
      forked("conv_block forked odd", "", {1, 3, 5, 9, 1}, 8, 8),
      relus("conv_block relus 32", "", {1, 3, 4, 10, 8}, 32, 32),
  };
}

Tensor normal(const Shape& shape, Random& random, DType dtype = DType::f64) { return random_normal(shape, random, dtype); }

bool equal(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.raw(), b.raw(), size_t(a.size()) * size_of(a.dtype())) == 0;
}
}  // namespace

TEST_CASE("conv_block") { run_cases(cases()); }
TEST_CASE("conv_block, layers") { run_cases(layers()); }

TEST_CASE("conv_block is the composition of the plain ops", "[oracle]") {
  const bool training = GENERATE(true, false);
  Random random(3);
  std::vector<Tensor> leaves = {normal({2, 4, 6, 9, 8}, random), normal({2, 4, 6, 9, 8}, random), normal({3, 3, 3, 8, 8}, random),
                                normal({8}, random), normal({8}, random), normal({8}, random), normal({3, 3, 3, 16, 8}, random),
                                normal({8}, random), normal({8}, random), normal({8}, random)};
  for (Tensor& t : leaves) t.set_requires_grad();
  const auto run = [&](bool fused, Tensor centre, Tensor var) {
    for (Tensor& t : leaves) t.clear_grad();
    const auto& l = leaves;
    const ConvBlockOptions o = same(l[2], 0.2, training);
    Tensor y;
    if (fused) {
      const Activation a = conv_block({l[0]}, l[2], l[3], {l[4], l[5], centre, var}, o);
      const Activation b = conv_block({l[1], a}, l[6], l[7], {l[8], l[9], centre, var}, o);
      y = mean(square(add(b.value(), a.value())));
    } else {
      const Tensor a = batch_norm(conv3d(l[0], l[2], l[3], o.conv), l[4], l[5], centre, var, o.norm);
      const Tensor b = batch_norm(conv3d(concat({l[1], a}), l[6], l[7], o.conv), l[8], l[9], centre, var, o.norm);
      y = mean(square(add(b, a)));
    }
    backward(y);
    std::vector<Tensor> all{y, centre, var};
    for (Tensor& t : leaves) all.push_back(t.grad().clone());
    return all;
  };
  const auto statistics = [] { return std::pair(Tensor::zeros({8}, DType::f64), Tensor::full({8}, 1, DType::f64)); };
  const auto [m1, v1] = statistics();
  const auto [m2, v2] = statistics();
  const auto got = run(true, m1, v1), want = run(false, m2, v2);
  for (size_t i = 0; i < got.size(); ++i) {
    INFO("value " << i);
    const bool idle_bias = training && (i == 3 + 3 || i == 3 + 7);  // exactly zero here, rounding noise there
    if (idle_bias) CHECK(equal(got[i], Tensor::zeros({8}, DType::f64)));
    else CHECK(relative_difference(got[i], want[i]) < 1e-12);
  }
}

TEST_CASE("an activation's value is finished once and its raw values stay hidden from plain ops") {
  Random random(4);
  const Tensor x = normal({1, 3, 4, 9, 8}, random, DType::f32), w = normal({3, 3, 3, 8, 8}, random, DType::f32);
  const Tensor ones = Tensor::full({8}, 1), zeros = Tensor::zeros({8});
  const Activation a = block({x}, w, ones, zeros, 0);
  CHECK(!a.plain());
  const Tensor v = a.value();
  for (float e : v.span<float>()) REQUIRE(e >= 0);
  CHECK(equal(max_pool3d(a), max_pool3d(v)));
  CHECK(equal(plain({a}, w, Tensor(), 1).value(), conv3d(v, w, Tensor(), same(w, 1).conv)));
  CHECK(Activation(x).value().is(x));
}

TEST_CASE("a fused chain walked twice, and after another output, gives the same gradients") {
  Random random(5);
  Tensor x = normal({1, 3, 4, 9, 8}, random, DType::f32), w = normal({3, 3, 3, 8, 8}, random, DType::f32);
  Tensor g = Tensor::full({8}, 1), b = Tensor::full({8}, 0.1);
  for (Tensor* t : {&x, &w, &g, &b}) t->set_requires_grad();
  const Activation h = block({x}, w, g, b, 0.2);
  const Tensor y = mean(square(block({h}, w, g, b, 0.2).value()));
  backward(y, Tensor(), true);
  const Tensor first[] = {x.grad().clone(), w.grad().clone(), g.grad().clone(), b.grad().clone()};
  for (Tensor* t : {&x, &w, &g, &b}) t->clear_grad();
  backward(y, Tensor::scalar(2), true);  // another gradient on the way, then the first one again
  for (Tensor* t : {&x, &w, &g, &b}) t->clear_grad();
  backward(y);
  size_t i = 0;
  for (Tensor* t : {&x, &w, &g, &b}) CHECK(equal(t->grad(), first[i++]));
}

TEST_CASE("frozen parameters and unwanted sources get nothing, the rest is unchanged") {
  Random random(6);
  const Shape wide{1, 3, 4, 9, 8};
  const std::vector<Tensor> values = {normal(wide, random, DType::f32), normal(wide, random, DType::f32),
                                      normal({3, 3, 3, 16, 8}, random, DType::f32), Tensor::full({8}, 1), Tensor::full({8}, 0.1)};
  const auto gradients = [&](unsigned frozen) {
    std::vector<Tensor> in, out;
    for (size_t i = 0; i < values.size(); ++i) {
      in.push_back(values[i].clone());
      if (!(frozen >> i & 1)) in.back().set_requires_grad();
    }
    backward(mean(square(block({in[0], in[1]}, in[2], in[3], in[4], 0.2).value())));
    for (const Tensor& t : in) out.push_back(t.grad());
    return out;
  };
  const std::vector<Tensor> all = gradients(0);
  for (unsigned frozen = 1; frozen < 31; ++frozen) {
    const std::vector<Tensor> some = gradients(frozen);
    for (size_t i = 0; i < some.size(); ++i) {
      INFO("frozen " << frozen << " input " << i);
      REQUIRE(some[i].defined() == !(frozen >> i & 1));
      if (some[i].defined()) CHECK(relative_difference(some[i], all[i]) < 1e-5);
    }
  }
}

TEST_CASE("conv_block says what does not fit") {
  const Tensor x = Tensor::zeros({1, 3, 4, 9, 8}), w = Tensor::zeros({3, 3, 3, 8, 8}), one = Tensor::full({8}, 1);
  CHECK_THROWS_AS(plain({}, w, Tensor(), 0), ShapeError);
  CHECK_THROWS_AS(plain({x, x, x}, w, Tensor(), 0), ShapeError);
  CHECK_THROWS_AS(plain({x, x}, w, Tensor(), 0), ShapeError);                               // 16 channels for 8
  CHECK_THROWS_AS(plain({x, Tensor::zeros({1, 3, 4, 8, 8})}, w, Tensor(), 0), ShapeError);  // another extent
  CHECK_THROWS_AS(block({x}, w, one, Tensor::zeros({7}), 0), ShapeError);
  CHECK_THROWS_AS(block({x}, w, one, Tensor(), 0), Error);
  CHECK_THROWS_AS(block({Tensor::zeros({1, 1, 1, 1, 8})}, w, one, one, 0), ShapeError);  // one value per channel
}
