// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU table of the matrix product.

#include "voxgrad/cpu/matmul_ref.hpp"

namespace voxgrad::cpu {

inline void matmul(const kernels::MatmulProblem& p, const void* a, const void* b, void* c) {
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    matmul_ref(p, static_cast<const T*>(a), static_cast<const T*>(b), static_cast<T*>(c));
  });
}

inline constexpr kernels::MatmulTable matmul_table{matmul};
inline const bool matmul_filled = kernels::matmul.fill(DeviceKind::cpu, &matmul_table);

}  // namespace voxgrad::cpu
