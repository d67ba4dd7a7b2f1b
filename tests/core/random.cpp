// SPDX-License-Identifier: BSD-3-Clause
// Random: published vectors of Philox, and sanity of what is made of it.

#include "voxgrad/core/random.hpp"

#include <vector>

#include "catch.hpp"

using namespace voxgrad;

TEST_CASE("philox 4x32-10 gives Random123's known answers") {
  using W = std::array<uint32_t, 4>;  // from the file kat_vectors of Random123
  CHECK(philox({0, 0, 0, 0}, 0, 0) == W{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  const uint32_t all = 0xffffffff;
  CHECK(philox({all, all, all, all}, all, all) == W{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0) ==
        W{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("a number depends on seed, stream and position only") {
  Random a(5, 2);
  std::vector<uint64_t> numbers;
  for (int i = 0; i < 100; ++i) numbers.push_back(a());
  CHECK(a.position() == 100);
  for (uint64_t i : {99u, 0u, 50u}) CHECK(Random(5, 2, i)() == numbers[i]);
  CHECK(Random(5, 3)() != numbers[0]);
  CHECK(Random(6, 2)() != numbers[0]);
  CHECK(Random(5, 2, uint64_t(1) << 32)() != numbers[0]);
  CHECK(Random(5 + (uint64_t(1) << 32), 2)() != numbers[0]);
}

TEST_CASE("uniform and normal numbers have their moments") {
  const int n = 200'000;
  Random random(1);
  double sum = 0, squares = 0, low = 1, high = 0, normal = 0, normal2 = 0, normal4 = 0;
  for (int i = 0; i < n; ++i) {
    const double u = random.uniform(), z = random.normal();
    sum += u, squares += u * u, low = std::min(low, u), high = std::max(high, u);
    normal += z, normal2 += z * z, normal4 += z * z * z * z;
  }
  // Five standard errors of each mean.
  CHECK(std::abs(sum / n - 0.5) < 5 * 0.2887 / std::sqrt(n));
  CHECK(std::abs(squares / n - 1.0 / 3) < 5 * 0.2981 / std::sqrt(n));
  CHECK(low >= 0);
  CHECK(high < 1);
  CHECK(std::abs(normal / n) < 5 / std::sqrt(n));
  CHECK(std::abs(normal2 / n - 1) < 5 * 1.4142 / std::sqrt(n));
  CHECK(std::abs(normal4 / n - 3) < 5 * 9.798 / std::sqrt(n));
}

TEST_CASE("below(n) is uniform and never n") {
  Random random(2);
  std::vector<int> counts(7);
  for (int i = 0; i < 70'000; ++i) ++counts.at(random.below(7));
  double chi2 = 0;
  for (int c : counts) chi2 += (c - 10'000.0) * (c - 10'000.0) / 10'000.0;
  CHECK(chi2 < 22.5);  // 0.1 % of six degrees of freedom
  CHECK(random.below(1) == 0);
}
