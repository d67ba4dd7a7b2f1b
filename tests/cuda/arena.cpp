// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/cuda/arena.hpp"

#include "catch.hpp"
#include "voxgrad/core/random.hpp"

using namespace voxgrad;
using namespace voxgrad::cuda;

TEST_CASE("tensors that live at the same time do not overlap in the arena") {
  Random random(7);
  for (int round = 0; round < 200; ++round) {
    const int n = int(random.uniform(0, 40)), steps = 1 + int(random.uniform(0, 30));
    std::vector<Lifetime> lifetimes;
    for (int i = 0; i < n; ++i) {
      const int first = int(random.uniform(0, steps)), last = first + int(random.uniform(0, steps - first));
      lifetimes.push_back({int64_t(random.uniform(0, 5000)), first, last});
    }
    const ArenaPlan plan = plan_arena(lifetimes);
    REQUIRE(plan.bytes >= most_alive(lifetimes));
    for (size_t i = 0; i < lifetimes.size(); ++i) {
      const Lifetime& a = lifetimes[i];
      REQUIRE(plan.offset[i] % 256 == 0);
      REQUIRE(plan.offset[i] + a.bytes <= plan.bytes);
      for (size_t j = 0; j < i; ++j) {
        const Lifetime& b = lifetimes[j];
        const bool together = a.first <= b.last && b.first <= a.last;
        const bool apart = plan.offset[i] + a.bytes <= plan.offset[j] || plan.offset[j] + b.bytes <= plan.offset[i];
        REQUIRE((!together || apart || a.bytes == 0 || b.bytes == 0));
      }
    }
  }
}

TEST_CASE("an arena of a forward and a backward pass wastes at most an eighth") {
  std::vector<Lifetime> lifetimes;  // activation i lives from forward step i to backward step 2n - i, its gradient briefly
  const int n = 20;
  for (int i = 0; i < n; ++i) lifetimes.push_back({int64_t(1) << (20 - i / 2), i, 2 * n - i});
  for (int i = 0; i < n; ++i) lifetimes.push_back({int64_t(1) << (20 - i / 2), 2 * n - i - 1, 2 * n - i});
  REQUIRE(8 * plan_arena(lifetimes).bytes <= 9 * most_alive(lifetimes));
}
