// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "voxgrad/kernels/gelu.hpp"
#include "voxgrad/ops/pointwise.hpp"

namespace voxgrad {

/// y = x Phi(x), Phi the distribution function of the normal distribution (Hendrycks and Gimpel 2016, not their tanh approximation).
/// Any shape, f32 or f64. dx = dy (Phi(x) + x phi(x)).
inline Tensor gelu(const Tensor& x) { return unary<kernels::Gelu>(x); }

}  // namespace voxgrad
