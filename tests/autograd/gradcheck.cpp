// SPDX-License-Identifier: BSD-3-Clause
// gradcheck() finds wrong gradients: it is the judge of the other tests.

#include "voxgrad/autograd/gradcheck.hpp"

#include "catch.hpp"
#include "message.hpp"
#include "voxgrad/ops/pointwise.hpp"

using namespace voxgrad;

namespace {
Tensor draw(const Shape& shape) {
  Random random(11);
  return random_normal(shape, random, DType::f64);
}
/// 3 x, with a gradient that is `factor` times right.
Tensor tripled(const Tensor& x, double factor) {
  return record("tripled", affine(x.detach(), 3, 0), {x},
                [factor](const Tensor& dy, Grads& grads) { grads.set(0, affine(dy, 3 * factor, 0)); });
}
}  // namespace

TEST_CASE("gradcheck accepts a right gradient and refuses a slightly wrong one") {
  const auto with = [](double factor) {
    return gradcheck([=](const std::vector<Tensor>& x) { return tripled(x[0], factor); }, {draw({4, 40})});
  };
  CHECK(with(1));
  const GradcheckResult wrong = with(1.00001);
  CHECK(!wrong);
  CHECK(wrong.worst > 1e-6);
  CHECK(wrong.message.find("input 0 (4x40): analytic ") == 0);
}

TEST_CASE("gradcheck sees one wrong element, a missing gradient and a NaN") {
  const auto one_wrong = [](const std::vector<Tensor>& x) {
    return record("one_wrong", x[0].clone(), {x[0]}, [](const Tensor& dy, Grads& grads) {
      Tensor dx = dy.clone();
      dx.mutable_span<double>()[3] *= 1.01;
      grads.set(0, dx);
    });
  };
  CHECK(!gradcheck(one_wrong, {draw({5})}));
  CHECK(!gradcheck([](const std::vector<Tensor>& x) { return x[0] * x[1].detach(); }, {draw({5}), draw({5})}));
  CHECK(!gradcheck([](const std::vector<Tensor>& x) { return log(x[0]); }, {Tensor::full({3}, -1, DType::f64)}));
}

TEST_CASE("gradcheck catches what a constant incoming gradient would hide") {
  // Gradients that are exchanged between neighbours keep every sum.
  const auto exchanged = [](const std::vector<Tensor>& x) {
    return record("exchanged", x[0].clone(), {x[0]}, [](const Tensor& dy, Grads& grads) {
      Tensor dx = dy.clone();
      const auto e = dx.mutable_span<double>();
      std::swap(e[0], e[1]);
      grads.set(0, dx);
    });
  };
  CHECK(!gradcheck(exchanged, {draw({2})}));
}

TEST_CASE("gradcheck wants doubles and leaves the caller's tensors alone") {
  const auto twice = [](const std::vector<Tensor>& x) { return x[0] * 2; };
  CHECK(test::message<DTypeError>([&] { gradcheck(twice, {Tensor::zeros({2})}); }) == "gradcheck: inputs must be f64, got f32");
  const Tensor x = draw({3});
  const uint64_t version = x.version();
  CHECK(gradcheck(twice, {x}));
  CHECK(!x.requires_grad());
  CHECK(x.version() == version);
}

TEST_CASE("a gradient of the wrong shape is refused where it is set") {
  Tensor x = draw({3});
  x.set_requires_grad();
  const Tensor y = record("bad", x.clone(), {x}, [](const Tensor&, Grads& grads) { grads.set(0, Tensor::zeros({2}, DType::f64)); });
  CHECK(test::message<ShapeError>([&] { backward(y, x.clone()); }) == "backward: gradient of input 0 is 2, the input is 3");
}
