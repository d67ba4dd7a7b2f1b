// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Element types of a Tensor. visit() is the only switch over them.

#include <cstddef>
#include <cstdint>

#include "voxgrad/core/error.hpp"

namespace voxgrad {

enum class DType : uint8_t { f32, f64 };

constexpr size_t size_of(DType t) { return t == DType::f32 ? 4 : 8; }
constexpr const char* name(DType t) { return t == DType::f32 ? "f32" : "f64"; }

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> { static constexpr DType value = DType::f32; };
template <>
struct DTypeOf<double> { static constexpr DType value = DType::f64; };

/// Calls f with a value of the C++ type behind `t`: visit(t, [&](auto zero) { using T = decltype(zero); ... }).
template <class F>
decltype(auto) visit(DType t, F&& f) {
  if (t == DType::f64) return f(double{});
  return f(float{});
}

}  // namespace voxgrad
