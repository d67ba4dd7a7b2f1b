// SPDX-License-Identifier: BSD-3-Clause
// Nearest-neighbour up-sampling.

#include "voxgrad/ops/upsample3d.hpp"

#include "catch.hpp"
#include "op_case.hpp"

using namespace voxgrad;
using namespace voxgrad::test;

namespace {
using In = const std::vector<Tensor>&;

std::vector<OpCase> cases() {
  const Call two = [](In x) { return upsample_nearest3d(x[0]); };
  return {
      {"upsample_nearest3d", "last(F.interpolate(first(a), scale_factor=2))", {{{2, 2, 3, 4, 3}}}, two, {0}},
      {"upsample_nearest3d_axes", "last(F.interpolate(first(a), scale_factor=(1, 3, 2)))", {{{1, 3, 2, 2, 5}}},
       [](In x) { return upsample_nearest3d(x[0], {1, 3, 2}); }, {0}},
      {"upsample_nearest3d_one_voxel", "last(F.interpolate(first(a), scale_factor=(4, 1, 1)))", {{{1, 1, 1, 1, 1}}},
       [](In x) { return upsample_nearest3d(x[0], {4, 1, 1}); }, {0}},
      {"upsample_nearest3d_large", "", {{{2, 9, 10, 11, 17}}}, two, {0}},
  };
}
}  // namespace

TEST_CASE("upsample_nearest3d") { run_cases(cases()); }
