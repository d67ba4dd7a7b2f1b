// SPDX-License-Identifier: BSD-3-Clause
// Softmax over the channels.

#include "voxgrad/ops/softmax.hpp"

#include <cmath>

#include "catch.hpp"
#include "message.hpp"
#include "op_case.hpp"

using namespace voxgrad;
using namespace voxgrad::test;

namespace {
using In = const std::vector<Tensor>&;

std::vector<OpCase> cases() {
  const Call call = [](In x) { return softmax(x[0]); };
  return {
      {"softmax", "torch.softmax(a, -1)", {{{2, 3, 2, 2, 4}, -5, 5}}, call},
      {"softmax of many rows", "", {{{3, 17, 19, 5}, -3, 3}}, call},
  };
}
}  // namespace

TEST_CASE("softmax") { run_cases(cases()); }

TEST_CASE("softmax: one channel is certain, infinity takes all, no channel is refused") {
  CHECK(softmax(Tensor::full({2, 1}, -7)).span<float>()[1] == 1);
  const Tensor y = softmax(Tensor::from(std::vector<float>{1e30f, -1e30f, 0}, {3}));
  CHECK(y.span<float>()[0] == 1);
  CHECK(y.span<float>()[1] == 0);
  CHECK(message<ShapeError>([] { softmax(Tensor::zeros({})); }) == "softmax: x must have a channel axis, got scalar");
}
