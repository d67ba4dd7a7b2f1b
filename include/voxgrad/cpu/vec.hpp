// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The vector type of the memory-bound kernels, for each instruction set.

#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors never cross a call: every function on them is inlined
#endif

#define VOXGRAD_INL "voxgrad/cpu/vec.inl"
#include "voxgrad/simd/for_each_isa.hpp"

namespace voxgrad::cpu {

inline constexpr int64_t flat_grain = 1 << 14;  ///< elements worth a thread of their own

/// Floats in a vector of the instruction set in force.
inline int64_t flat_lanes() { return current_isa() == Isa::avx512 ? 16 : current_isa() == Isa::avx2 ? 8 : 4; }

}  // namespace voxgrad::cpu
