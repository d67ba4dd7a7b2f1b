// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU table of gelu: plain loops on all threads.

#include "voxgrad/cpu/pointwise.hpp"
#include "voxgrad/kernels/gelu.hpp"

namespace voxgrad::cpu {

template <>
inline constexpr bool on_vectors<kernels::Gelu> = false;
inline const bool gelu_filled = fill_unary(kernels::List<kernels::Gelu>{});

}  // namespace voxgrad::cpu
