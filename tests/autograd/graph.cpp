// SPDX-License-Identifier: BSD-3-Clause
// The graph: what backward() adds where, and when it refuses.

#include "catch.hpp"
#include "message.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/ops/conv3d.hpp"
#include "voxgrad/ops/loss.hpp"
#include "voxgrad/ops/mean.hpp"

using namespace voxgrad;
using voxgrad::test::message;

namespace {
Tensor leaf(std::initializer_list<double> values) {
  Tensor t = Tensor::from(std::vector<double>(values), {int64_t(values.size())});
  return t.set_requires_grad();
}
std::vector<double> values(const Tensor& t) {
  REQUIRE(t.defined());
  const auto s = t.span<double>();
  return {s.begin(), s.end()};
}
using V = std::vector<double>;
}  // namespace

TEST_CASE("a diamond adds the gradients of both ways") {
  const Tensor x = leaf({3});
  const Tensor a = x * 2, b = square(x);
  backward(a * b + a);  // 2 x^3 + 2 x
  CHECK(values(x.grad()) == V{6 * 9 + 2});
}

TEST_CASE("a ladder of diamonds visits each node once") {
  const Tensor x = leaf({1});
  Tensor y = x;
  for (int i = 0; i < 60; ++i) y = y * 0.5 + y * 0.5;  // 2^60 paths
  backward(y);
  CHECK(values(x.grad()) == V{1});
}

TEST_CASE("a tensor used several times by one op") {
  const Tensor x = leaf({2, 3});
  backward(sum(x * x * x));
  CHECK(values(x.grad()) == V{12, 27});
  x.clear_grad();
  backward(sum(x - x));
  CHECK(values(x.grad()) == V{0, 0});
}

TEST_CASE("leaves accumulate over calls until they are cleared") {
  const Tensor x = leaf({2, 3});
  backward(sum(square(x)));
  backward(sum(x * 10));
  CHECK(values(x.grad()) == V{14, 16});
  x.clear_grad();
  CHECK(!x.grad().defined());
}

TEST_CASE("gradients of different leaves never share memory") {
  const Tensor a = leaf({1, 2}), b = leaf({3, 4});
  const Tensor dy = Tensor::from(V{1, 1}, {2});
  backward(a + b, dy);
  a.mutable_grad().mutable_span<double>()[0] = 7;
  CHECK(values(b.grad()) == V{1, 1});
  CHECK(values(dy) == V{1, 1});
  const Tensor c = leaf({1, 2});
  backward(reshape(c, {2, 1}) + 0, dy.view({2, 1}));
  c.mutable_grad().mutable_span<double>()[1] = 7;
  CHECK(values(dy) == V{1, 1});
}

TEST_CASE("the caller's incoming gradient is not changed") {
  const Tensor x = leaf({1, 2}), dy = Tensor::from(V{3, 4}, {2});
  const Tensor y = x * 1;
  backward(y + y, dy);
  CHECK(values(dy) == V{3, 4});
  CHECK(values(x.grad()) == V{6, 8});
}

TEST_CASE("a value that is not a scalar needs its gradient") {
  const Tensor x = leaf({1, 2});
  CHECK(message<ShapeError>([&] { backward(x * 2); }) == "backward: y is 2, not one value; give its gradient dy");
  CHECK(message<ShapeError>([&] { backward(x * 2, Tensor::zeros({3}, DType::f64)); }) == "backward: dy is 3, y is 2");
  backward(x * 2, Tensor::from(V{5, 7}, {2}));
  CHECK(values(x.grad()) == V{10, 14});
}

TEST_CASE("a constant has no backward") {
  const Tensor c = Tensor::from(V{1}, {1});
  const std::string refusal = "backward: this value was not computed from anything that requires a gradient";
  CHECK(message<Error>([&] { backward(c); }) == refusal);
  CHECK(message<Error>([&] { backward(c * 2); }) == refusal);
  CHECK(message<Error>([&] { backward(leaf({1}).detach() * 2); }) == refusal);
}

TEST_CASE("backward of a leaf is its incoming gradient") {
  const Tensor x = leaf({4});
  backward(x);
  CHECK(values(x.grad()) == V{1});
}

TEST_CASE("a graph is consumed unless it is kept") {
  const Tensor x = leaf({3});
  const Tensor y = square(x);
  backward(y, Tensor(), true);
  backward(y);
  CHECK(values(x.grad()) == V{12});
  CHECK(message<Error>([&] { backward(y); }) ==
        "backward: the graph of square was consumed by an earlier call; pass keep_graph to walk it twice");
}

TEST_CASE("a failed walk leaves nothing behind in the graph") {
  const Tensor x = leaf({3}), w = leaf({2});
  const Tensor shared = x * 5;  // older than the node that fails
  Tensor spoilt = w * 1;
  const Tensor y = shared + square(spoilt);
  spoilt.mutable_span<double>()[0] = 9;
  CHECK_THROWS_AS(backward(y), Error);
  x.clear_grad();
  backward(shared * 2);
  CHECK(values(x.grad()) == V{10});
}

TEST_CASE("a value changed in place before backward is noticed, and the op is named") {
  Tensor x = leaf({1, 2});
  const auto refusal = [](const char* op) {
    return std::string(op) + ": a tensor saved for backward was changed in place before backward ran";
  };
  Tensor y = sum(x * x);
  x.mutable_span<double>()[0] = 5;
  CHECK(message<Error>([&] { backward(y); }) == refusal("mul"));

  Tensor s = sigmoid(x);
  Tensor total = sum(s);
  s.mutable_span<double>()[0] = 5;  // sigmoid's derivative reads its output
  CHECK(message<Error>([&] { backward(total); }) == refusal("sigmoid"));

  Tensor target = Tensor::zeros({2}, DType::f64);
  const Tensor loss = mse_loss(x, target);
  target.mutable_span<double>()[0] = 1;
  CHECK(message<Error>([&] { backward(loss); }) == refusal("mse_loss"));

  Tensor view_of_x = x.view({2});  // shares memory, and so the version
  y = sum(square(x));
  view_of_x.mutable_span<double>()[1] = 0;
  CHECK(message<Error>([&] { backward(y); }) == refusal("square"));
}

TEST_CASE("an op that saves nothing does not mind later changes") {
  Tensor x = leaf({1, 2});
  const Tensor y = sum(x + 1);
  x.touch();
  backward(y + sum(x - x));
  CHECK(values(x.grad()) == V{1, 1});
}

TEST_CASE("under NoGrad nothing is recorded, and the mode is restored, also by an exception") {
  const Tensor x = leaf({1});
  {
    NoGrad off;
    CHECK(!(x * 2).requires_grad());
    {
      NoGrad again;
    }
    CHECK(!grad_mode());
  }
  CHECK((x * 2).requires_grad());
  CHECK_THROWS_AS([] { NoGrad off; throw Error("x"); }(), Error);
  CHECK(grad_mode());
}

TEST_CASE("only wanted gradients are computed") {
  Random random(1);
  Tensor x = random_normal({1, 3, 3, 3, 2}, random), w = random_normal({3, 3, 3, 2, 2}, random), b = random_normal({2}, random);
  std::vector<std::string> calls;
  trace_sink() = [&](const TraceEvent& e) {
    if (std::string(e.op) == "conv3d") calls.push_back(e.phase);
  };
  const auto run = [&] {
    calls.clear();
    const Tensor y = conv3d(x, w, b);
    if (y.requires_grad()) backward(sum(y));
    return calls;
  };
  using Calls = std::vector<std::string>;
  CHECK(run() == Calls{"forward"});
  x.set_requires_grad();
  CHECK(run() == Calls{"forward", "backward_data"});
  CHECK(!w.grad().defined());
  x.set_requires_grad(false);
  b.set_requires_grad();
  x.clear_grad();
  CHECK(run() == Calls{"forward", "backward_weight"});
  CHECK(!x.grad().defined());
  CHECK(!w.grad().defined());
  CHECK(b.grad().defined());
  trace_sink() = nullptr;
}

TEST_CASE("interior gradients vanish and memory is given back as the walk goes") {
  const Tensor x = leaf({1, 2, 3});
  std::weak_ptr<Node> inner;
  Tensor y;
  {
    const Tensor h = square(x);
    inner = h.node();
    y = sum(h);
  }
  CHECK(!inner.expired());
  backward(y);
  CHECK(inner.expired());
  CHECK(y.requires_grad());
}

TEST_CASE("a graph of 100 000 nodes is freed and walked without recursion") {
  const Tensor x = leaf({1});
  {
    Tensor y = x;
    for (int i = 0; i < 100'000; ++i) y = y + 1;
    CHECK(y.item() == 100'001);
  }  // freed here, never walked
  Tensor y = x, z = x;
  for (int i = 0; i < 100'000; ++i) y = y + z * 0;  // two chains below each node
  backward(y);
  CHECK(values(x.grad()) == V{1});
}
