// SPDX-License-Identifier: BSD-3-Clause
// Compiles one kernel source for each instruction set. No include guard: use it as
//   #define VOXGRAD_INL "voxgrad/cpu/conv3d.inl"
//   #include "voxgrad/simd/for_each_isa.hpp"
// The source is included three times, inside namespace voxgrad::cpu::{scalar,avx2,avx512}, where VOXGRAD_LANES is
// the number of floats in a vector (4, 8, 16) and the compiler may use that instruction set. It must include
// nothing and instantiate no standard-library template: the linker may keep the AVX-512 copy for everyone.
#include "voxgrad/simd/isa.hpp"

#define VOXGRAD_ISA scalar
#define VOXGRAD_LANES 4
namespace voxgrad::cpu::scalar {
#include VOXGRAD_INL
}
#undef VOXGRAD_ISA
#undef VOXGRAD_LANES

#if defined(__x86_64__)
#define VOXGRAD_ISA avx2
#define VOXGRAD_LANES 8
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
namespace voxgrad::cpu::avx2 {
#include VOXGRAD_INL
}
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#undef VOXGRAD_ISA
#undef VOXGRAD_LANES

#define VOXGRAD_ISA avx512
#define VOXGRAD_LANES 16
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")
#endif
namespace voxgrad::cpu::avx512 {
#include VOXGRAD_INL
}
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#undef VOXGRAD_ISA
#undef VOXGRAD_LANES
#endif
#undef VOXGRAD_INL
