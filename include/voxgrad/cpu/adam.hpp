// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU table of the optimiser steps.

#include "voxgrad/cpu/adam_ref.hpp"

namespace voxgrad::cpu {

inline void adam(const kernels::AdamProblem& p, void* w, const void* gradient, void* m, void* v) {
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    adam_ref(p, static_cast<T*>(w), static_cast<const T*>(gradient), static_cast<T*>(m), static_cast<T*>(v));
  });
}

inline void sgd(const kernels::SgdProblem& p, void* w, const void* gradient, void* buffer) {
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    sgd_ref(p, static_cast<T*>(w), static_cast<const T*>(gradient), static_cast<T*>(buffer));
  });
}

inline constexpr kernels::OptimTable optim_table{adam, sgd};
inline const bool optim_filled = kernels::optim.fill(DeviceKind::cpu, &optim_table);

}  // namespace voxgrad::cpu
