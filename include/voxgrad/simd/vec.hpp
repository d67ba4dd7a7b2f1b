// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Vectors of floats for each instruction set: types and free functions in voxgrad::cpu::{scalar,avx2,avx512}.

#include <cstdint>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define VOXGRAD_INL "voxgrad/simd/vec.inl"
#include "voxgrad/simd/for_each_isa.hpp"
