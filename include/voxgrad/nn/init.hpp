// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Initial weights: PyTorch's defaults and Keras' Glorot and He rules.

#include <cmath>

#include "voxgrad/core/tensor.hpp"

namespace voxgrad::nn {

/// Products that initialisers divide by, for a weight [..., in, out] with a spatial kernel in front.
struct Fans {
  double in, out;
};
inline Fans fans(const Shape& weight) {
  check<ShapeError>(weight.rank() >= 2, "init: a weight needs input and output channels, got ", weight);
  const double taps = double(weight.size()) / double(weight[-1] * weight[-2]);
  return {taps * double(weight[-2]), taps * double(weight[-1])};
}

/// PyTorch's default of Conv and Linear layers, weight and bias: uniform in +-1/sqrt(fan). The fan is the input side
/// for ordinary layers; for transposed convolutions PyTorch takes dimension 1 of (in, out, k...), the output side.
inline Tensor pytorch_uniform(const Shape& shape, double fan, Random& random) {
  const double bound = 1 / std::sqrt(fan);
  return random_uniform(shape, random, -bound, bound);
}

/// Keras' default kernel rule (Glorot & Bengio 2010): uniform in +-sqrt(6 / (fan_in + fan_out)); biases are zero.
inline Tensor glorot_uniform(const Shape& weight, Random& random) {
  const Fans f = fans(weight);
  const double bound = std::sqrt(6 / (f.in + f.out));
  return random_uniform(weight, random, -bound, bound);
}

/// He et al. 2015, Keras' "he_normal": normal with std sqrt(2 / fan_in), cut at two deviations and rescaled.
inline Tensor he_normal(const Shape& weight, Random& random) {
  const double cut_std = 0.87962566103423978;  // of a standard normal cut at +-2
  const double std = std::sqrt(2 / fans(weight).in) / cut_std;
  Tensor t(weight);
  for (float& e : t.mutable_span<float>()) {
    double z;
    do z = random.normal();
    while (std::abs(z) > 2);
    e = float(z * std);
  }
  return t;
}

}  // namespace voxgrad::nn
