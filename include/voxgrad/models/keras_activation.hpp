// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Keras' activations by name.

#include <string>

#include "voxgrad/ops/gelu.hpp"
#include "voxgrad/ops/pointwise.hpp"

namespace voxgrad::models {

/// max(x, slope x), which a convolution block does itself, or, where `apply` is given, that.
struct KerasActivation {
  double slope = 1;
  Tensor (*apply)(const Tensor&) = nullptr;

  Tensor operator()(const Tensor& x) const { return apply ? apply(x) : slope == 1 ? x : leaky_relu(x, slope); }
};

/// The activation of this name, as Keras 2 defines it (in Keras 3 hard_sigmoid is another function); a UsageError that starts with `what` lists the names.
inline KerasActivation keras_activation(const std::string& what, const std::string& name) {
  struct Entry {
    const char* name;
    KerasActivation activation;
  };
  static const Entry entries[] = {
      {"linear", {}},
      {"relu", {0, nullptr}},
      {"leaky_relu", {0.2, nullptr}},
      {"relu6", {1, [](const Tensor& x) { return clamp(x, 0, 6); }}},
      {"elu", {1, [](const Tensor& x) { return elu(x); }}},
      {"selu", {1, [](const Tensor& x) { return elu(x, 1.6732632423543772, 1.0507009873554805); }}},
      {"sigmoid", {1, [](const Tensor& x) { return sigmoid(x); }}},
      {"hard_sigmoid", {1, [](const Tensor& x) { return clamp(x * 0.2 + 0.5, 0, 1); }}},
      {"tanh", {1, [](const Tensor& x) { return tanh(x); }}},
      {"gelu", {1, [](const Tensor& x) { return gelu(x); }}},
      {"softplus", {1, [](const Tensor& x) { return softplus(x); }}},
      {"softsign", {1, [](const Tensor& x) { return x / (abs(x) + 1.0); }}},
      {"swish", {1, [](const Tensor& x) { return x * sigmoid(x); }}},
      {"silu", {1, [](const Tensor& x) { return x * sigmoid(x); }}},
      {"exponential", {1, [](const Tensor& x) { return exp(x); }}},
  };
  std::string known;
  for (const Entry& e : entries) {
    if (name == e.name) return e.activation;
    known += (known.empty() ? "" : ", ") + std::string(e.name);
  }
  throw UsageError(text(what, " is '", name, "' (expected one of ", known, ")"));
}

}  // namespace voxgrad::models
