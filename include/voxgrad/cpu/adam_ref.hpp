// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Optimiser steps as loops, for any float type, in PyTorch's order of operations.

#include <cmath>

#include "voxgrad/kernels/adam.hpp"

namespace voxgrad::cpu {

/// The numbers of one Adam step that do not depend on the element.
struct AdamFactors {
  double step_size, inv_sqrt_bc2, shrink, decay;

  explicit AdamFactors(const kernels::AdamProblem& p)
      : step_size(p.lr / (1 - std::pow(p.beta1, double(p.step)))),
        inv_sqrt_bc2(1 / std::sqrt(1 - std::pow(p.beta2, double(p.step)))),
        shrink(p.decoupled ? 1 - p.lr * p.weight_decay : 1),
        decay(p.decoupled ? 0 : p.weight_decay) {}
};

/// m = beta1 m + (1-beta1) g, v = beta2 v + (1-beta2) g^2, w -= step_size * m / (sqrt(v)/sqrt(bc2) + eps), elements [begin, end).
template <class T>
void adam_ref(const kernels::AdamProblem& p, int64_t begin, int64_t end, T* w, const T* gradient, T* m, T* v) {
  const AdamFactors f(p);
  for (int64_t i = begin; i < end; ++i) {
    const T shrunk = w[i] * T(f.shrink);
    const T g = f.decay != 0 ? gradient[i] + T(f.decay) * w[i] : gradient[i];
    m[i] = T(p.beta1) * m[i] + T(1 - p.beta1) * g;
    v[i] = T(p.beta2) * v[i] + T(1 - p.beta2) * g * g;
    w[i] = shrunk - T(f.step_size) * (m[i] / (std::sqrt(v[i]) * T(f.inv_sqrt_bc2) + T(p.eps)));
  }
}

/// buffer = momentum buffer + g (g at first), w -= lr * (buffer, or g + momentum buffer with Nesterov).
template <class T>
void sgd_ref(const kernels::SgdProblem& p, int64_t begin, int64_t end, T* w, const T* gradient, T* buffer) {
  for (int64_t i = begin; i < end; ++i) {
    T g = p.weight_decay != 0 ? gradient[i] + T(p.weight_decay) * w[i] : gradient[i];
    if (p.momentum != 0) {
      const T b = p.first ? g : T(p.momentum) * buffer[i] + g;
      buffer[i] = b;
      g = p.nesterov ? g + T(p.momentum) * b : b;
    }
    w[i] -= T(p.lr) * g;
  }
}

}  // namespace voxgrad::cpu
