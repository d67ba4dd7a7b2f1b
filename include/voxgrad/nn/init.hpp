// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Initial weights: PyTorch's defaults and Keras' Glorot and He rules.

#include <cmath>
#include <string>

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

/// Uniform with this variance.
inline Tensor scaled_uniform(const Shape& weight, double variance, Random& random) {
  const double bound = std::sqrt(3 * variance);
  return random_uniform(weight, random, -bound, bound);
}

/// Normal cut at two deviations, then rescaled to this variance.
inline Tensor scaled_normal(const Shape& weight, double variance, Random& random) {
  const double cut_std = 0.87962566103423978;  // of a standard normal cut at +-2
  const double std = std::sqrt(variance) / cut_std;
  Tensor t(weight);
  for (float& e : t.mutable_span<float>()) {
    double z;
    do z = random.normal();
    while (std::abs(z) > 2);
    e = float(z * std);
  }
  return t;
}

/// Keras' default kernel rule (Glorot & Bengio 2010): variance 2 / (fan_in + fan_out); biases are zero.
inline Tensor glorot_uniform(const Shape& weight, Random& random) {
  return scaled_uniform(weight, 2 / (fans(weight).in + fans(weight).out), random);
}

/// He et al. 2015, Keras' "he_normal": variance 2 / fan_in.
inline Tensor he_normal(const Shape& weight, Random& random) { return scaled_normal(weight, 2 / fans(weight).in, random); }

/// Throws a UsageError that starts with `what` unless keras_init knows the name.
inline void check_keras_init(const std::string& what, const std::string& name) {
  for (const char* rule : {"glorot", "he", "lecun"})
    if (name == std::string(rule) + "_uniform" || name == std::string(rule) + "_normal") return;
  throw UsageError(text(what, " is '", name, "' (expected glorot, he or lecun with _uniform or _normal)"));
}

/// Keras' kernel rules by name: glorot (variance 2 / (fan_in + fan_out)), he (2 / fan_in), lecun (1 / fan_in).
inline Tensor keras_init(const std::string& name, const Shape& weight, Random& random) {
  check_keras_init("keras_init: the rule", name);
  const Fans f = fans(weight);
  const double variance = name[0] == 'g' ? 2 / (f.in + f.out) : (name[0] == 'h' ? 2 : 1) / f.in;
  return name.back() == 'm' ? scaled_uniform(weight, variance, random) : scaled_normal(weight, variance, random);
}

}  // namespace voxgrad::nn
