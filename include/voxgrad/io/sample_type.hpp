// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The number types that microscopy files store, and their conversion to float.

#include <bit>
#include <cstdint>
#include <cstring>

#include "voxgrad/core/error.hpp"

namespace voxgrad::io {

/// One sample as it lies in a decoded frame, in the byte order of this machine.
enum class SampleType { u8, i8, u16, i16, u32, i32, u64, i64, f16, f32, f64 };

/// Bytes of one sample.
inline int64_t sample_bytes(SampleType type) {
  switch (type) {
    case SampleType::u8: case SampleType::i8: return 1;
    case SampleType::u16: case SampleType::i16: case SampleType::f16: return 2;
    case SampleType::u32: case SampleType::i32: case SampleType::f32: return 4;
    case SampleType::u64: case SampleType::i64: case SampleType::f64: return 8;
  }
  return 0;
}

/// The name that people know: uint8, float32, ...
inline const char* sample_name(SampleType type) {
  switch (type) {
    case SampleType::u8: return "uint8";
    case SampleType::i8: return "int8";
    case SampleType::u16: return "uint16";
    case SampleType::i16: return "int16";
    case SampleType::u32: return "uint32";
    case SampleType::i32: return "int32";
    case SampleType::u64: return "uint64";
    case SampleType::i64: return "int64";
    case SampleType::f16: return "float16";
    case SampleType::f32: return "float32";
    case SampleType::f64: return "float64";
  }
  return "unknown";
}

/// IEEE half to float, exactly (subnormals, infinities and NaN included).
inline float half_to_float(uint16_t half) {
  const uint32_t sign = uint32_t(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 31u;
  const uint32_t fraction = half & 1023u;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (fraction << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
  const float magnitude = float(fraction) * 0x1p-24f;
  return sign ? -magnitude : magnitude;
}

/// Converts n samples, `stride` samples apart, to float. 32- and 64-bit integers and float64 are rounded to nearest.
inline void samples_to_float(const void* source, SampleType type, int64_t n, int64_t stride, float* out) {
  const auto convert = [&](auto zero) {
    using T = decltype(zero);
    const auto* p = static_cast<const uint8_t*>(source);
    for (int64_t i = 0; i < n; ++i) {
      T value;
      std::memcpy(&value, p + size_t(i * stride) * sizeof(T), sizeof(T));
      out[i] = static_cast<float>(value);
    }
  };
  switch (type) {
    case SampleType::u8: return convert(uint8_t{});
    case SampleType::i8: return convert(int8_t{});
    case SampleType::u16: return convert(uint16_t{});
    case SampleType::i16: return convert(int16_t{});
    case SampleType::u32: return convert(uint32_t{});
    case SampleType::i32: return convert(int32_t{});
    case SampleType::u64: return convert(uint64_t{});
    case SampleType::i64: return convert(int64_t{});
    case SampleType::f32: return convert(float{});
    case SampleType::f64: return convert(double{});
    case SampleType::f16: break;
  }
  const auto* p = static_cast<const uint8_t*>(source);
  for (int64_t i = 0; i < n; ++i) {
    uint16_t half;
    std::memcpy(&half, p + size_t(i * stride) * 2, 2);
    out[i] = half_to_float(half);
  }
}

}  // namespace voxgrad::io
