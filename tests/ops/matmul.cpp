// SPDX-License-Identifier: BSD-3-Clause
// Matrix product and linear layer.

#include "voxgrad/ops/matmul.hpp"

#include "catch.hpp"
#include "op_case.hpp"

using namespace voxgrad;
using namespace voxgrad::test;

namespace {
using In = const std::vector<Tensor>&;
const Call product = [](In x) { return matmul(x[0], x[1]); };

std::vector<OpCase> cases() {
  return {
      {"matmul", "a @ b", {{{5, 7}}, {{7, 3}}}, product, {0, 1}},
      {"matmul_one", "a @ b", {{{1, 1}}, {{1, 1}}}, product, {0, 1}},
      {"matmul_odd", "a @ b", {{{17, 9}}, {{9, 8}}}, product, {0, 1}},
      {"matmul_large", "", {{{65, 130}}, {{130, 33}}}, product, {0, 1}},
      {"linear", "a @ b + c", {{{4, 6}}, {{6, 3}}, {{3}}}, [](In x) { return linear(x[0], x[1], x[2]); }, {0, 1, 2}},
      {"linear_no_bias", "a @ b", {{{4, 6}}, {{6, 3}}}, [](In x) { return linear(x[0], x[1], Tensor()); }, {0, 1}},
  };
}
}  // namespace

TEST_CASE("matmul and linear") { run_cases(cases()); }
