// SPDX-License-Identifier: BSD-3-Clause
// The tests that need a card: without one they end with 77, which test runners count as skipped, and say why.
#define CATCH_CONFIG_RUNNER
#include "catch.hpp"

#include <cstdio>

#include "voxgrad/cuda/runtime.hpp"

int main(int argc, char** argv) {
  const voxgrad::cuda::Availability& here = voxgrad::cuda::availability();
  if (here.devices == 0) {
    std::printf("skipped: %s\n", here.reason.c_str());
    return 77;
  }
  return Catch::Session().run(argc, argv);
}
