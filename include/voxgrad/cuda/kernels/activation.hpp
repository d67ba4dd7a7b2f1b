// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The activations of the networks, chosen at run time for V values at once. Functions and derivatives are those of the
// engine (kernels/pointwise.hpp).

#include <cmath>
#include <cstdint>

#include "voxgrad/kernels/gelu.hpp"
#include "voxgrad/kernels/pointwise.hpp"

namespace voxgrad::cuda {

enum class ActivationKind : uint8_t { none, leaky_relu, clamp, elu, sigmoid, tanh, softplus, softsign, swish, exponential, gelu, hard_sigmoid };

/// leaky_relu: a is the slope below zero; clamp: to [a, b]; elu: b (x or a (e^x - 1)), with which selu is one; hard_sigmoid: a x + b
/// between 0 and 1.
struct Activation {
  ActivationKind kind = ActivationKind::none;
  float a = 0, b = 0;
};

inline Activation leaky_relu(double slope) { return {ActivationKind::leaky_relu, float(slope), 0}; }

/// Whether the derivative can be told from the activated value alone, so that the value before need not be kept.
inline bool derivative_from_output(const Activation& f) {
  using Kind = ActivationKind;
  if (f.kind == Kind::leaky_relu) return f.a >= 0;
  return f.kind != Kind::clamp && f.kind != Kind::swish && f.kind != Kind::gelu && f.kind != Kind::hard_sigmoid;
}

VOXGRAD_HD inline float leaky(float v, float slope) { return v > 0 ? v : slope * v; }

namespace activation_detail {

template <class F, int V>
VOXGRAD_HD inline void forward(const kernels::Params p, float (&v)[V]) {
  for (int i = 0; i < V; ++i) v[i] = F::f(v[i], p);
}
template <class F, int V>
VOXGRAD_HD inline void backward(const kernels::Params p, bool output, const float (&v)[V], float (&g)[V]) {
  for (int i = 0; i < V; ++i) g[i] *= F::df(v[i], output ? v[i] : F::reads == kernels::Reads::y ? F::f(v[i], p) : v[i], p);
}

struct Softsign {  // x / (1 + |x|)
  static constexpr kernels::Reads reads = kernels::Reads::y;
  VOXGRAD_HD static float f(float x, kernels::Params) { return x / (1 + std::fabs(x)); }
  VOXGRAD_HD static float df(float, float y, kernels::Params) { return (1 - std::fabs(y)) * (1 - std::fabs(y)); }
};
struct Swish {  // x sigmoid(x)
  static constexpr kernels::Reads reads = kernels::Reads::x;
  VOXGRAD_HD static float f(float x, kernels::Params p) { return x * kernels::Sigmoid::f(x, p); }
  VOXGRAD_HD static float df(float x, float, kernels::Params p) {
    const float s = kernels::Sigmoid::f(x, p);
    return s + x * s * (1 - s);
  }
};
struct HardSigmoid {  // a x + b between 0 and 1
  static constexpr kernels::Reads reads = kernels::Reads::x;
  static constexpr kernels::Params ends{0, 1};
  VOXGRAD_HD static float f(float x, kernels::Params p) { return kernels::Clamp::f(kernels::Affine::f(x, p), ends); }
  VOXGRAD_HD static float df(float x, float, kernels::Params p) { return kernels::Clamp::df(kernels::Affine::f(x, p), 0.0f, ends) * float(p.a); }
};
struct Softplus {  // whose derivative the engine takes from x
  static constexpr kernels::Reads reads = kernels::Reads::y;
  VOXGRAD_HD static float f(float x, kernels::Params p) { return kernels::Softplus::f(x, p); }
  VOXGRAD_HD static float df(float, float y, kernels::Params) { return -std::expm1(-y); }
};

VOXGRAD_HD inline void activate_one(ActivationKind kind, const kernels::Params p, float (&v)[1]) {
  switch (kind) {
    case ActivationKind::elu: return forward<kernels::Elu>(p, v);
    case ActivationKind::sigmoid: return forward<kernels::Sigmoid>(p, v);
    case ActivationKind::tanh: return forward<kernels::Tanh>(p, v);
    case ActivationKind::softplus: return forward<Softplus>(p, v);
    case ActivationKind::softsign: return forward<Softsign>(p, v);
    case ActivationKind::swish: return forward<Swish>(p, v);
    case ActivationKind::exponential: return forward<kernels::Exp>(p, v);
    case ActivationKind::gelu: return forward<kernels::Gelu>(p, v);
    case ActivationKind::hard_sigmoid: return forward<HardSigmoid>(p, v);
    default: return;
  }
}

VOXGRAD_HD inline void activate_backward_one(ActivationKind kind, const kernels::Params p, bool output, const float (&v)[1], float (&g)[1]) {
  switch (kind) {
    case ActivationKind::elu: return backward<kernels::Elu>(p, output, v, g);
    case ActivationKind::sigmoid: return backward<kernels::Sigmoid>(p, output, v, g);
    case ActivationKind::tanh: return backward<kernels::Tanh>(p, output, v, g);
    case ActivationKind::softplus: return backward<Softplus>(p, output, v, g);
    case ActivationKind::softsign: return backward<Softsign>(p, output, v, g);
    case ActivationKind::swish: return backward<Swish>(p, output, v, g);
    case ActivationKind::exponential: return backward<kernels::Exp>(p, output, v, g);
    case ActivationKind::gelu: return backward<kernels::Gelu>(p, output, v, g);
    case ActivationKind::hard_sigmoid: return backward<HardSigmoid>(p, output, v, g);
    default: return;
  }
}

}  // namespace activation_detail

/// Whether f is a comparison or two. The others are compiled for one value at a time: they are rare, and eight exponentials
/// side by side would cost every kernel its registers.
VOXGRAD_HD inline bool is_cheap(const Activation& f) { return f.kind <= ActivationKind::clamp; }

/// v = f(v); with V > 1 for cheap ones only.
template <int V>
VOXGRAD_HD inline void activate(const Activation& f, float (&v)[V]) {
  namespace detail = activation_detail;
  const kernels::Params p{f.a, f.b};
  if (f.kind == ActivationKind::none) return;
  if (f.kind == ActivationKind::leaky_relu) return detail::forward<kernels::LeakyRelu>(p, v);
  if (f.kind == ActivationKind::clamp) return detail::forward<kernels::Clamp>(p, v);
  if constexpr (V == 1) detail::activate_one(f.kind, p, v);
}

/// g *= f'(v), v the values before the activation, or after it with `output`; with V > 1 for cheap ones only.
template <int V>
VOXGRAD_HD inline void activate_backward(const Activation& f, bool output, const float (&v)[V], float (&g)[V]) {
  namespace detail = activation_detail;
  const kernels::Params p{f.a, f.b};
  if (f.kind == ActivationKind::none) return;
  if (f.kind == ActivationKind::leaky_relu) return detail::backward<kernels::LeakyRelu>(p, output, v, g);
  if (f.kind == ActivationKind::clamp) return detail::backward<kernels::Clamp>(p, output, v, g);
  if constexpr (V == 1) detail::activate_backward_one(f.kind, p, output, v, g);
}

}  // namespace voxgrad::cuda
