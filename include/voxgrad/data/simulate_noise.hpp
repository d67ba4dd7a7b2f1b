// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Exact Poisson numbers, one cheap draw per voxel, each from its own counter: thread count changes nothing.

#include <cmath>
#include <cstdint>

#include "voxgrad/core/random.hpp"

namespace voxgrad::data {

/// log(k!) for whole k >= 0 (Stirling's series above 9; error below 1e-10).
inline double log_factorial(double k) {
  constexpr double small[10] = {0,
                                0,
                                0.6931471805599453,
                                1.791759469228055,
                                3.1780538303479458,
                                4.787491742782046,
                                6.579251212010101,
                                8.525161361065415,
                                10.60460290274525,
                                12.801827480081469};
  if (k < 10) return small[int(k)];
  const double n = k + 1, r = 1 / n;
  return (n - 0.5) * std::log(n) - n + 0.9189385332046727 +
         r * (1.0 / 12 - r * r * (1.0 / 360 - r * r / 1260));
}

/// Poisson number of mean `lambda` >= 0. `u`, `v`: two uniform numbers in (0,1) that decide nearly always;
/// `more` gives further ones. W. Hörmann, "The transformed rejection method", Insurance: Mathematics and
/// Economics 1993.
inline double poisson(double lambda, double u, double v, Random& more) {
  if (lambda < 10) {  // product of uniform numbers
    const double limit = std::exp(-lambda);
    double k = 0;
    for (double product = u; product > limit; product *= v, v = more.uniform()) ++k;
    return k;
  }
  const double root = std::sqrt(lambda), b = 0.931 + 2.53 * root, a = -0.059 + 0.02483 * b;
  const double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4), sure = 0.9277 - 3.6224 / (b - 2);
  for (;; u = more.uniform(), v = 1 - more.uniform()) {
    const double centred = u - 0.5, us = 0.5 - std::fabs(centred);
    const double k = std::floor((2 * a / us + b) * centred + lambda + 0.43);
    if (us >= 0.07 && v <= sure) return k;
    if (k < 0 || us <= 0 || (us < 0.013 && v > us)) continue;
    if (std::log(v * inverse_alpha / (a / (us * us) + b)) <=
        -lambda + k * std::log(lambda) - log_factorial(k))
      return k;
  }
}

/// What a camera pixel reports for `light` photo-electrons: Poisson plus read noise, times gain, plus offset;
/// 16 bit.
inline uint16_t camera_pixel(double light, double offset, double gain, double read_noise, uint64_t seed,
                             uint64_t stream, uint64_t position) {
  const auto w =
      philox({uint32_t(position), uint32_t(position >> 32), uint32_t(stream), uint32_t(stream >> 32)},
             uint32_t(seed), uint32_t(seed >> 32));
  const auto open = [](uint32_t bits) { return (double(bits) + 0.5) * 0x1.0p-32; };
  Random more(seed, stream + 1, position << 8);
  const double electrons = poisson(light, open(w[0]), open(w[1]), more);
  const double normal = std::sqrt(-2 * std::log(open(w[2]))) * std::cos(6.283185307179586 * open(w[3]));
  const double counts = offset + gain * (electrons + read_noise * normal) + 0.5;
  return counts <= 0 ? 0 : counts >= 65535 ? 65535 : uint16_t(counts);
}

}  // namespace voxgrad::data
