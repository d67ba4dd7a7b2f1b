// SPDX-License-Identifier: BSD-3-Clause
// The tests that need a card: without one they end with 77, which test runners count as skipped, and say why.
#define CATCH_CONFIG_RUNNER
#include "catch.hpp"

#include <cstdio>

#include "voxgrad/core/error.hpp"
#include "voxgrad/cuda/cuda_device.hpp"

int main(int argc, char** argv) {
  try {
    const voxgrad::cuda::CudaDevice device(0);
  } catch (const voxgrad::Error& e) {
    std::printf("skipped: no usable card: %s\n", e.what());
    return 77;
  }
  return Catch::Session().run(argc, argv);
}
