// SPDX-License-Identifier: BSD-3-Clause
// 3-D max-pooling.

#include "voxgrad/ops/pool3d.hpp"

#include "catch.hpp"
#include "op_case.hpp"
#include "voxgrad/autograd/backward.hpp"

using namespace voxgrad;
using namespace voxgrad::test;

namespace {
using In = const std::vector<Tensor>&;

std::vector<OpCase> cases() {
  const Call two = [](In x) { return max_pool3d(x[0]); };
  return {
      {"max_pool3d", "last(F.max_pool3d(first(a), 2))", {{{1, 4, 6, 8, 3}}}, two},
      {"max_pool3d_odd", "last(F.max_pool3d(first(a), 2))", {{{2, 5, 7, 3, 1}}}, two},
      {"max_pool3d_overlap", "last(F.max_pool3d(first(a), 3, 1))", {{{1, 4, 5, 4, 2}}},
       [](In x) { return max_pool3d(x[0], {3, 3, 3}, {1, 1, 1}); }},
      {"max_pool3d_gaps", "last(F.max_pool3d(first(a), 2, 3))", {{{1, 5, 6, 8, 2}}},
       [](In x) { return max_pool3d(x[0], {2, 2, 2}, {3, 3, 3}); }},
      {"max_pool3d_axes", "last(F.max_pool3d(first(a), (3, 2, 1), (1, 2, 2)))", {{{1, 4, 5, 6, 9}}},
       [](In x) { return max_pool3d(x[0], {3, 2, 1}, {1, 2, 2}); }},
      {"max_pool3d_large", "", {{{2, 8, 10, 12, 17}}}, two},
  };
}
}  // namespace

TEST_CASE("max_pool3d") { run_cases(cases()); }

TEST_CASE("max_pool3d sends a tie's gradient to the first maximum, as PyTorch") {
  for (int64_t channels : {1, 8, 17}) {
    Tensor x = Tensor::zeros({1, 2, 2, 4, channels});
    x.mutable_span<float>()[size_t(1 * channels)] = 5;  // (0,0,1) and later (1,1,1) share the first window's maximum
    x.mutable_span<float>()[size_t((8 + 4 + 1) * channels)] = 5;
    x.set_requires_grad();
    backward(max_pool3d(x), Tensor::full({1, 1, 1, 2, channels}, 1));
    const auto g = x.grad().span<float>();
    double total = 0;
    for (float v : g) total += double(v);
    CHECK(total == double(2 * channels));
    CHECK(g[size_t(channels)] == 1);
    CHECK(g[size_t(2 * channels)] == 1);  // an all-equal window: its first voxel
    CHECK(g[size_t((8 + 4 + 1) * channels)] == 0);
  }
}
