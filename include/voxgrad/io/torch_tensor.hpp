// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A tensor as PyTorch saves it: a view, with strides in elements, of a storage that several tensors may share.

#include <algorithm>
#include <string>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/io/elements.hpp"

namespace voxgrad::io {

/// An element type: the class of its storage, PyTorch's name for it, and safetensors' name.
struct TorchType {
  std::string_view storage, name, code;
};
inline constexpr TorchType torch_types[] = {
    {"FloatStorage", "float32", "F32"}, {"DoubleStorage", "float64", "F64"}, {"HalfStorage", "float16", "F16"},
    {"BFloat16Storage", "bfloat16", "BF16"}, {"LongStorage", "int64", "I64"}, {"IntStorage", "int32", "I32"},
    {"ShortStorage", "int16", "I16"}, {"CharStorage", "int8", "I8"}, {"ByteStorage", "uint8", "U8"}, {"BoolStorage", "bool", "BOOL"}};

struct TorchTensor {
  std::string name;             ///< keys from the outside in, joined by dots
  const TorchType* type = nullptr;
  std::vector<int64_t> shape, strides;
  int64_t offset = 0;           ///< first element, counted in the storage
  std::string storage;          ///< key of the storage
  int64_t storage_elements = 0;

  size_t width() const { return element_width(type->code); }
  int64_t elements() const {  // cannot overflow once checked
    int64_t n = 1;
    for (const int64_t e : shape) n *= e;
    return n;
  }

  static constexpr int64_t max_repeated = 64 << 20;  ///< bytes that repeating elements (stride 0) may make of a small storage

  /// The reason why the view does not fit its storage, or "".
  std::string problem() const {
    if (shape.size() != strides.size()) return text("has ", shape.size(), " extents but ", strides.size(), " strides");
    if (shape.size() > 64) return text("has ", shape.size(), " axes (expected at most 64)");
    if (offset < 0 || storage_elements < 0) return "has a negative place in its storage";
    if (storage_elements > INT64_MAX / 8) return "has a storage larger than memory can be";
    int64_t n = 1, last = offset;
    bool overflow = false, empty = false;
    for (size_t i = 0; i < shape.size(); ++i) {
      if (shape[i] < 0 || strides[i] < 0) return "has a negative extent or stride";
      empty = empty || shape[i] == 0;
    }
    for (size_t i = 0; i < shape.size() && !empty; ++i) {
      int64_t reach = 0;
      overflow = overflow || __builtin_mul_overflow(shape[i] - 1, strides[i], &reach) || __builtin_add_overflow(last, reach, &last) ||
                 __builtin_mul_overflow(n, shape[i], &n);
    }
    if (empty) return "";
    if (overflow || last >= storage_elements)
      return text("reaches beyond its storage of ", storage_elements, " elements");
    if (n > std::max(storage_elements, max_repeated / int64_t(width()))) return text("repeats its elements to ", n, ", too many");
    return "";
  }

  /// The elements in row-major order, copied out of the storage's bytes.
  std::vector<unsigned char> gather(std::string_view bytes) const {
    const size_t w = width(), n = size_t(std::count(shape.begin(), shape.end(), 0) ? 0 : elements());
    std::vector<unsigned char> out(n * w);
    std::vector<int64_t> index(shape.size());
    size_t from = size_t(offset);
    for (size_t k = 0; k < n; ++k) {
      std::memcpy(&out[k * w], &bytes[from * w], w);
      for (size_t axis = shape.size(); axis-- > 0;) {  // the next index, last axis first
        from += size_t(strides[axis]);
        if (++index[axis] < shape[axis]) break;
        from -= size_t(shape[axis]) * size_t(strides[axis]);
        index[axis] = 0;
      }
    }
    return out;
  }
};

}  // namespace voxgrad::io
