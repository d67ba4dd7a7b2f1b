// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Little-endian elements of the types that weight files have, as floating-point numbers. Types are named as in safetensors.

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

namespace voxgrad::io {

/// Bytes of one element; 0 for an unknown type.
constexpr size_t element_width(std::string_view type) {
  for (const auto& [name, bytes] : {std::pair<std::string_view, size_t>{"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8}, {"I32", 4},
                                    {"I16", 2}, {"I8", 1}, {"U64", 8}, {"U32", 4}, {"U16", 2}, {"U8", 1}, {"BOOL", 1}})
    if (type == name) return bytes;
  return 0;
}

inline float float_of_bits(uint32_t bits) {
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}
/// IEEE 754 binary16.
inline float float_of_half(uint16_t h) {
  const uint32_t sign = uint32_t(h & 0x8000u) << 16, exponent = h >> 10 & 31u, fraction = h & 0x3ffu;
  if (exponent == 31) return float_of_bits(sign | 0x7f800000u | fraction << 13);
  if (exponent != 0) return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
  const float tiny = float(fraction) * 0x1p-24f;
  return sign ? -tiny : tiny;
}

/// out[i] = element i of `raw`, which holds out.size() elements of a known type.
template <class T>
void decode_elements(std::span<const unsigned char> raw, std::string_view type, std::span<T> out) {
  const size_t width = element_width(type);
  for (size_t k = 0; k < out.size(); ++k) {
    uint64_t v = 0;
    for (size_t b = width; b-- > 0;) v = v << 8 | raw[k * width + b];
    double wide = 0;
    if (type == "F64") std::memcpy(&wide, &v, 8), out[k] = T(wide);
    else if (type == "F32") out[k] = T(float_of_bits(uint32_t(v)));
    else if (type == "F16") out[k] = T(float_of_half(uint16_t(v)));
    else if (type == "BF16") out[k] = T(float_of_bits(uint32_t(v) << 16));
    else if (type[0] != 'I') out[k] = T(v);
    else {
      if (width < 8 && v >> (8 * width - 1)) v |= ~uint64_t(0) << (8 * width);
      out[k] = T(int64_t(v));
    }
  }
}

}  // namespace voxgrad::io
