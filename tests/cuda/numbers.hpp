// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Random numbers for the inputs of kernel tests.

#include "voxgrad/core/random.hpp"

namespace voxgrad::cuda::test {

class Numbers {
 public:
  explicit Numbers(uint64_t seed) : random_(seed, 77) {}
  float between(double low, double high) { return float(random_.uniform(low, high)); }
  int64_t below(int64_t n) { return int64_t(random_.below(uint64_t(n))); }

 private:
  Random random_;
};

}  // namespace voxgrad::cuda::test
