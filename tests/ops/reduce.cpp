// SPDX-License-Identifier: BSD-3-Clause
// Sums and means over axes; reshape.

#include "voxgrad/ops/mean.hpp"

#include "catch.hpp"
#include "op_case.hpp"

using namespace voxgrad;
using namespace voxgrad::test;

namespace {
using In = const std::vector<Tensor>&;
const Shape R{3, 4, 5};

std::vector<OpCase> cases() {
  return {
      {"sum_all", "a.sum()", {{R}}, [](In x) { return sum(x[0]); }, {0}},
      {"sum_first", "a.sum(0)", {{R}}, [](In x) { return sum(x[0], {0}); }, {0}},
      {"sum_middle", "a.sum(1)", {{R}}, [](In x) { return sum(x[0], {1}); }, {0}},
      {"sum_last", "a.sum(-1)", {{R}}, [](In x) { return sum(x[0], {-1}); }, {0}},
      {"sum_outer", "a.sum((0, 2))", {{R}}, [](In x) { return sum(x[0], {0, 2}); }, {0}},
      {"sum_channels", "a.sum((0, 1, 2, 3))", {{Shape{2, 3, 4, 5, 6}}}, [](In x) { return sum(x[0], {0, 1, 2, 3}); }, {0}},
      {"sum_six", "a.sum((1, 3, 5))", {{Shape{2, 3, 2, 1, 3, 2}}}, [](In x) { return sum(x[0], {1, 3, 5}); }, {0}},
      {"mean_all", "a.mean()", {{R}}, [](In x) { return mean(x[0]); }, {0}},
      {"mean_last", "a.mean(-1)", {{R}}, [](In x) { return mean(x[0], {-1}); }, {0}},
      {"mean_outer", "a.mean((0, 2))", {{R}}, [](In x) { return mean(x[0], {0, -1}); }, {0}},
      {"reshape", "a.reshape(4, 6)", {{Shape{2, 3, 4}}}, [](In x) { return reshape(x[0], {4, 6}); }, {0}},
  };
}
}  // namespace

TEST_CASE("sum, mean and reshape") { run_cases(cases()); }

TEST_CASE("a long sum of f32 runs in double") {
  const int64_t n = 20'000'001;  // a float counter would stop at 2^24
  CHECK(sum(Tensor::full({n}, 1)).item() == double(float(n)));
  CHECK(sum(Tensor::full({n}, 0.1)).item() == Approx(0.1 * double(n)).epsilon(1e-6));
}

TEST_CASE("an empty tensor sums to zero") {
  CHECK(sum(Tensor({0, 3})).item() == 0);
  const Tensor columns = sum(Tensor({0, 3}), {0});
  REQUIRE(columns.shape() == Shape{3});
  for (float v : columns.span<float>()) CHECK(v == 0);
  CHECK(std::isnan(mean(Tensor({0})).item()));
}
