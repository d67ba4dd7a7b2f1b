// SPDX-License-Identifier: BSD-3-Clause
// Concatenation, zero padding and cropping.

#include "voxgrad/ops/concat.hpp"

#include "catch.hpp"
#include "op_case.hpp"

using namespace voxgrad;
using namespace voxgrad::test;

namespace {
using In = const std::vector<Tensor>&;
const Shape V{2, 3, 4};

std::vector<OpCase> cases() {
  return {
      {"concat_last", "torch.cat([a, b, c], -1)", {{V}, {{2, 3, 2}}, {{2, 3, 1}}}, [](In x) { return concat(x); }, {0, 1, 2}},
      {"concat_first", "torch.cat([a, b], 0)", {{{2, 3}}, {{4, 3}}}, [](In x) { return concat(x, 0); }, {0, 1}},
      {"concat_channels", "torch.cat([a, b], -1)", {{{2, 2, 3, 2, 8}}, {{2, 2, 3, 2, 5}}}, [](In x) { return concat(x); }, {0, 1}},
      {"concat_same", "torch.cat([a, a], 1)", {{{2, 3, 2}}}, [](In x) { return concat({x[0], x[0]}, 1); }, {0}},
      {"pad", "F.pad(a, (2, 1, 0, 3, 1, 0))", {{V}}, [](In x) { return pad(x[0], {1, 0, 2}, {0, 3, 1}); }, {0}},
      {"pad_and_crop", "F.pad(a, (2, -1, 0, 1, -1, 1))", {{V}}, [](In x) { return pad(x[0], {-1, 0, 2}, {1, 1, -1}); }, {0}},
      {"crop", "a[0:1, 1:3, 2:4]", {{V}}, [](In x) { return crop(x[0], {0, 1, 2}, {1, 2, 2}); }, {0}},
      {"crop_volume", "a[:, 1:3, 0:2, 2:5, :]", {{{2, 4, 3, 5, 3}}},
       [](In x) { return crop(x[0], {0, 1, 0, 2, 0}, {2, 2, 2, 3, 3}); }, {0}},
  };
}
}  // namespace

TEST_CASE("concat, pad and crop") { run_cases(cases()); }

TEST_CASE("cropping what was joined gives the parts back, bit for bit") {
  Random random(7);
  const Tensor a = random_normal({2, 3, 3, 5, 7}, random), b = random_normal({2, 3, 3, 5, 2}, random);
  const Tensor joined = concat({a, b});
  const auto same = [](const Tensor& x, const Tensor& y) {
    return x.shape() == y.shape() && std::memcmp(x.raw(), y.raw(), size_t(x.size()) * 4) == 0;
  };
  CHECK(same(crop(joined, {0, 0, 0, 0, 0}, a.shape()), a));
  CHECK(same(crop(joined, {0, 0, 0, 0, 7}, b.shape()), b));
  CHECK(same(crop(pad(a, {0, 1, 2, 3, 0}, {0, 3, 2, 1, 0}), {0, 1, 2, 3, 0}, a.shape()), a));
}
