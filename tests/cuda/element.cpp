// SPDX-License-Identifier: BSD-3-Clause
// bf16 and f16: every 16-bit pattern there and back, rounding of halfway values, infinities and NaN.
#include "voxgrad/cuda/element.hpp"

#include <cmath>
#include <limits>

#include <vector>

#include "catch.hpp"

using namespace voxgrad::cuda;

namespace {

/// The nearest of all 65536 values, ties to the even pattern: the definition.
template <class T>
uint16_t nearest(float v, const std::vector<float>& values) {
  uint16_t best = 0;
  double least = std::numeric_limits<double>::infinity();
  for (uint32_t b = 0; b < 65536; ++b) {
    if (!std::isfinite(values[b])) continue;
    const double d = std::abs(double(values[b]) - double(v));
    if (d < least || (d == least && b % 2 == 0 && best % 2 == 1)) least = d, best = uint16_t(b);
  }
  return best;
}

template <class T>
std::vector<float> all_values() {
  std::vector<float> values(65536);
  for (uint32_t b = 0; b < 65536; ++b) {
    T t;
    t.bits = uint16_t(b);
    values[b] = float(t);
  }
  return values;
}

template <class T>
void check_type(float largest, float overflow) {
  const std::vector<float> values = all_values<T>();
  for (uint32_t b = 0; b < 65536; ++b) {
    const T back(values[b]);
    if (std::isnan(values[b])) REQUIRE(std::isnan(float(back)));
    else REQUIRE(back.bits == b);
  }
  uint32_t state = 1;
  for (int i = 0; i < 300; ++i) {
    state = state * 1664525u + 1013904223u;
    const float v = std::ldexp(float(state >> 8) / 16777216.0f - 0.5f, int(state % 34) - 20);
    CAPTURE(v);
    REQUIRE(float(T(v)) == values[nearest<T>(v, values)]);
  }
  for (uint32_t b = 1; b < 0x7bff; b += 97) {  // halfway between two neighbours
    const float half = float((double(values[b]) + double(values[b + 1])) / 2);
    if (!std::isfinite(values[b + 1])) continue;
    REQUIRE(T(half).bits == (b % 2 == 0 ? b : b + 1));
    REQUIRE(T(-half).bits == (0x8000u | (b % 2 == 0 ? b : b + 1)));
  }
  REQUIRE(float(T(largest)) == largest);
  REQUIRE(std::isinf(float(T(overflow))));
  REQUIRE(std::isinf(float(T(-std::numeric_limits<float>::infinity()))));
  REQUIRE(std::isnan(float(T(std::numeric_limits<float>::quiet_NaN()))));
  REQUIRE(std::signbit(float(T(-0.0f))));
}

}  // namespace

TEST_CASE("bf16 rounds to the nearest value, ties to even") { check_type<bf16>(3.3895314e38f, 3.4e38f); }
TEST_CASE("f16 rounds to the nearest value, ties to even") { check_type<f16>(65504.0f, 65520.0f); }
