// SPDX-License-Identifier: BSD-3-Clause
// Pointwise functions and arithmetic with every form of broadcasting.

#include "voxgrad/ops/pointwise.hpp"

#include "catch.hpp"
#include "op_case.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/models/keras_activation.hpp"
#include "voxgrad/ops/cast.hpp"
#include "voxgrad/ops/gelu.hpp"

using namespace voxgrad;
using namespace voxgrad::test;

namespace {
using In = const std::vector<Tensor>&;
const Shape P{3, 5, 7};

std::vector<OpCase> unary_cases() {
  return {
      {"leaky_relu", "F.leaky_relu(a, 0.2)", {{P, -3, 3, 0.05}}, [](In x) { return leaky_relu(x[0], 0.2); }},
      {"relu", "F.relu(a)", {{P, -3, 3, 0.05}}, [](In x) { return relu(x[0]); }},
      {"sigmoid", "torch.sigmoid(a)", {{P, -3, 3}}, [](In x) { return sigmoid(x[0]); }},
      {"sigmoid_wide", "torch.sigmoid(a)", {{P, -40, 40}}, [](In x) { return sigmoid(x[0]); }},
      {"softplus", "F.softplus(a)", {{P, -3, 3}}, [](In x) { return softplus(x[0]); }},
      {"softplus_wide", "F.softplus(a, threshold=1e9)", {{P, -600, 600}}, [](In x) { return softplus(x[0]); }},
      {"tanh", "torch.tanh(a)", {{P, -3, 3}}, [](In x) { return tanh(x[0]); }},
      {"elu", "F.elu(a, 1.3)", {{P, -3, 3, 0.05}}, [](In x) { return elu(x[0], 1.3); }},
      {"selu", "F.selu(a)", {{P, -3, 3, 0.05}}, [](In x) { return elu(x[0], 1.6732632423543772, 1.0507009873554805); }},
      {"gelu", "F.gelu(a)", {{P, -6, 6}}, [](In x) { return gelu(x[0]); }},
      {"hard_sigmoid", "torch.clamp(0.2 * a + 0.5, 0, 1)", {{P, -4, 4}}, [](In x) { return models::keras_activation("test", "hard_sigmoid")(x[0]); }},
      {"exp", "torch.exp(a)", {{P, -3, 3}}, [](In x) { return exp(x[0]); }},
      {"log", "torch.log(a)", {{P, 0.1, 4}}, [](In x) { return log(x[0]); }},
      {"sqrt", "torch.sqrt(a)", {{P, 0.1, 4}}, [](In x) { return sqrt(x[0]); }},
      {"square", "torch.square(a)", {{P, -3, 3}}, [](In x) { return square(x[0]); }},
      {"abs", "torch.abs(a)", {{P, -3, 3, 0.05}}, [](In x) { return abs(x[0]); }},
      {"clamp", "torch.clamp(a, -1, 1.5)", {{P, -3, 3}}, [](In x) { return clamp(x[0], -1, 1.5); }},
      {"affine", "2.5 * a - 0.75", {{P}}, [](In x) { return affine(x[0], 2.5, -0.75); }, {0}},
      {"scalar_left", "1.5 - (0.5 + 2 * a)", {{P}}, [](In x) { return 1.5 - (0.5 + 2 * x[0]); }, {0}},
      {"scalar_right", "-((a - 1) / 4 * 3 + 2)", {{P}}, [](In x) { return -((x[0] - 1) / 4 * 3 + 2); }, {0}},
      {"one_element", "torch.tanh(a)", {{Shape{}}}, [](In x) { return tanh(x[0]); }},
      {"mul_self", "a * a * a", {{Shape{3, 4}}}, [](In x) { return x[0] * x[0] * x[0]; }},
  };
}

std::vector<OpCase> broadcast_cases(const char* op, const char* sign, const Call& call, std::vector<size_t> linear) {
  const std::vector<std::tuple<const char*, Shape, Shape>> forms = {
      {"same", {2, 3, 4}, {2, 3, 4}},   {"vector", {2, 3, 4}, {4}},        {"vector_left", {4}, {2, 3, 4}},
      {"cross", {2, 1, 4}, {1, 3, 1}},  {"scalar_left", {}, {2, 3}},       {"scalar_right", {2, 3}, {}},
      {"outer", {5, 1}, {1, 6}},        {"column", {3, 5, 1}, {5, 7}},     {"six", {2, 1, 2, 1, 2, 3}, {1, 3, 1, 2, 1, 1}}};
  std::vector<OpCase> cases;
  for (const auto& [form, a, b] : forms)
    cases.push_back({text(op, "_", form), text("a ", sign, " b"), {{a}, {b, 0.5, 2}}, call, linear});
  return cases;
}
}  // namespace

TEST_CASE("pointwise functions") { run_cases(unary_cases()); }
TEST_CASE("add, broadcast") { run_cases(broadcast_cases("add", "+", [](In x) { return x[0] + x[1]; }, {0, 1})); }
TEST_CASE("sub, broadcast") { run_cases(broadcast_cases("sub", "-", [](In x) { return x[0] - x[1]; }, {0, 1})); }
TEST_CASE("mul, broadcast") { run_cases(broadcast_cases("mul", "*", [](In x) { return x[0] * x[1]; }, {0, 1})); }
TEST_CASE("div, broadcast") { run_cases(broadcast_cases("div", "/", [](In x) { return x[0] / x[1]; }, {0})); }

TEST_CASE("cast: the gradient comes back in the input's type; the same type is the same tensor") {
  Tensor x = Tensor::from(std::vector<float>{1, -2}, {2});
  x.set_requires_grad();
  CHECK(cast(x, DType::f32).is(x));
  const Tensor y = cast(x, DType::f64);
  CHECK(y.dtype() == DType::f64);
  backward(sum(y * y));
  REQUIRE(x.grad().dtype() == DType::f32);
  CHECK(x.grad().span<float>()[1] == -4);
}

TEST_CASE("functions with an overflow in between stay finite") {
  for (DType t : {DType::f32, DType::f64})
    for (double v : {-1e30, -1000.0, 1000.0, 1e30}) {
      const Tensor x = Tensor::scalar(v, t);
      CHECK(sigmoid(x).item() == (v > 0 ? 1 : 0));
      CHECK(softplus(x).item() == (v > 0 ? x.item() : 0));
    }
}

TEST_CASE("a NaN passes through clamp and abs") {
  const Tensor x = Tensor::scalar(std::nan(""));
  CHECK(std::isnan(clamp(x, 0, 1).item()));
  CHECK(std::isnan(abs(x).item()));
  CHECK(std::isnan(leaky_relu(x, 0.2).item()));
  CHECK(std::isnan(relu(x).item()));
}
