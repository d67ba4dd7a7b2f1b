// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/cuda/kernels/convert.hpp"

#include "emulated.hpp"

using namespace voxgrad::cuda;
using test::Guarded;

TEMPLATE_TEST_CASE("convert scales and rounds every element", "", bf16, f16, float) {
  for (const size_t n : {size_t(0), size_t(1), size_t(7), size_t(8), size_t(2047), size_t(2048), size_t(2049), size_t(5000)}) {
    Guarded<float> x(n);
    for (size_t i = 0; i < n; ++i) x[i] = 0.37f * float(i) - 100;
    Guarded<TestType> y(n);
    test::run<Convert<float, TestType>>({int64_t(n), x.data(), y.data(), 0.5f}, y);
    Guarded<float> back(n);
    test::run<Convert<TestType, float>>({int64_t(n), y.data(), back.data(), 2.0f}, back);
    for (size_t i = 0; i < n; ++i) {
      REQUIRE(float(y[i]) == float(TestType(x[i] * 0.5f)));
      REQUIRE(back[i] == 2 * float(y[i]));
    }
  }
}
