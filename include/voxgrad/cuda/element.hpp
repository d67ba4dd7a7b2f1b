// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What the GPU stores: f32, bf16 (the upper half of an f32) or f16 (IEEE half). Arithmetic is always f32; conversions
// round to nearest, ties to even, keep infinities and signs, and turn every NaN into a quiet one. On a card they are single
// instructions; what stands here in plain C++ is their definition, for the CPU and for constants.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "voxgrad/core/host_device.hpp"

namespace voxgrad::cuda {

enum class Element : uint8_t { f32, bf16, f16 };

constexpr size_t size_of(Element e) { return e == Element::f32 ? 4 : 2; }
constexpr const char* name(Element e) { return e == Element::f32 ? "f32" : e == Element::bf16 ? "bf16" : "f16"; }

VOXGRAD_HD constexpr uint32_t bits_of(float v) { return std::bit_cast<uint32_t>(v); }
VOXGRAD_HD constexpr float float_of(uint32_t bits) { return std::bit_cast<float>(bits); }

struct bf16 {
  static constexpr Element element = Element::bf16;
  uint16_t bits;

  bf16() = default;
  VOXGRAD_HD constexpr explicit bf16(float v) : bits(round(bits_of(v))) {}
  VOXGRAD_HD constexpr operator float() const { return float_of(uint32_t(bits) << 16); }

 private:
  VOXGRAD_HD static constexpr uint16_t round(uint32_t u) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    if (!std::is_constant_evaluated()) {
      uint16_t h;
      asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h) : "f"(float_of(u)));
      return h;
    }
#endif
    if ((u & 0x7fffffffu) > 0x7f800000u) return uint16_t((u >> 16) | 0x40u);
    return uint16_t((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
};

struct f16 {
  static constexpr Element element = Element::f16;
  uint16_t bits;

  f16() = default;
  VOXGRAD_HD constexpr explicit f16(float v) : bits(round(v)) {}
  VOXGRAD_HD constexpr operator float() const { return widen(bits); }

 private:
  VOXGRAD_HD static constexpr uint16_t round(float v) {
#ifdef __CUDA_ARCH__
    if (!std::is_constant_evaluated()) {
      uint16_t h;
      asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(v));
      return h;
    }
#endif
    const uint32_t u = bits_of(v), sign = (u >> 16) & 0x8000u, magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return uint16_t(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) return uint16_t(sign | 0x7c00u);  // 65520 and more
    if (magnitude < 0x38800000u) {                                  // subnormal: let the adder of a 0.5 do the rounding
      const float shifted = float_of(magnitude) + 0.5f;
      return uint16_t(sign | (bits_of(shifted) - 0x3f000000u));
    }
    const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return uint16_t(sign | ((rounded - 0x38000000u) >> 13));
  }
  VOXGRAD_HD static constexpr float widen(uint16_t h) {
#ifdef __CUDA_ARCH__
    if (!std::is_constant_evaluated()) {
      float v;
      asm("cvt.f32.f16 %0, %1;" : "=f"(v) : "h"(h));
      return v;
    }
#endif
    const uint32_t sign = uint32_t(h & 0x8000u) << 16, e = (h >> 10) & 0x1fu, m = h & 0x3ffu;
    if (e == 0x1f) return float_of(sign | 0x7f800000u | (m << 13));
    if (e != 0) return float_of(sign | ((e + 112u) << 23) | (m << 13));
    const float subnormal = float(m) * 5.9604644775390625e-8f;  // 2^-24
    return float_of(sign | bits_of(subnormal));
  }
};

template <class T>
inline constexpr Element element_of = T::element;
template <>
inline constexpr Element element_of<float> = Element::f32;

/// Calls f with a value of the type behind `e`: visit(e, [&](auto zero) { using T = decltype(zero); ... }).
template <class F>
decltype(auto) visit(Element e, F&& f) {
  if (e == Element::bf16) return f(bf16{});
  if (e == Element::f16) return f(f16{});
  return f(float{});
}

/// V consecutive elements, moved by one access of up to 16 bytes and worked on as floats.
template <class T, int V>
struct alignas(sizeof(T) * V > 16 ? 16 : sizeof(T) * V) Pack {
  T v[V];
};
template <int V, class T>
VOXGRAD_HD inline void load(const T* from, float (&to)[V]) {
  const Pack<T, V> p = *reinterpret_cast<const Pack<T, V>*>(from);
  for (int i = 0; i < V; ++i) to[i] = float(p.v[i]);
}
template <int V, class T>
VOXGRAD_HD inline void store(T* to, const float (&from)[V]) {
  Pack<T, V> p;
  for (int i = 0; i < V; ++i) p.v[i] = T(from[i]);
  *reinterpret_cast<Pack<T, V>*>(to) = p;
}

}  // namespace voxgrad::cuda
