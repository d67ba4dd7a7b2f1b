// SPDX-License-Identifier: BSD-3-Clause
// Dropout: which elements go, what is left of the others, and the gradient.

#include "voxgrad/ops/dropout.hpp"

#include <cmath>

#include "catch.hpp"
#include "message.hpp"
#include "op_case.hpp"

using namespace voxgrad;
using namespace voxgrad::test;

TEST_CASE("dropout") {
  using In = const std::vector<Tensor>&;
  run_cases({{"dropout", "", {{{2, 3, 5, 7, 3}}}, [](In x) { return dropout(x[0], 0.4, Random(3, 1)); }, {0}},
             {"dropout by a tenth", "", {{{9000}}}, [](In x) { return dropout(x[0], 0.1, Random(4)); }, {0}}});
}

TEST_CASE("dropout takes its rate away, doubles what stays, and goes by seed, stream and position") {
  const Tensor ones = Tensor::full({100, 100}, 1);
  const Tensor y = dropout(ones, 0.3, Random(7, 2, 50));
  int64_t gone = 0;
  Random random(7, 2, 50);
  for (const float v : y.span<float>()) {
    CHECK((v == 0) == (random.uniform() < 0.3));
    if (v == 0) ++gone;
    else CHECK(std::abs(v - 1 / 0.7) < 1e-6);
  }
  CHECK(std::abs(double(gone) - 3000) < 5 * std::sqrt(10000 * 0.3 * 0.7));
  CHECK(relative_difference(dropout(ones, 0, Random(1)), ones) == 0);
  CHECK(relative_difference(dropout(ones, 0.3, Random(7, 3, 50)), y) > 0);
  CHECK(message<UsageError>([&] { dropout(ones, 1, Random(1)); }) == "dropout: the rate is 1 (expected from 0 to below 1)");
}
