// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Reads the golden files: NumPy's .npy, version 1.0, C order, float64, float32 or int64.

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "voxgrad/core/error.hpp"

namespace voxgrad::test {

struct Npy {
  std::vector<int64_t> shape;
  std::vector<double> values;  ///< whatever the file's type; int64 above 2^53 would be rounded
};

/// Path of a file below tests/golden.
inline std::string golden(const std::string& name) { return VOXGRAD_SOURCE_DIR "/tests/golden/" + name; }

inline Npy parse_npy(const std::string& bytes, const std::string& path) {
  check<FileError>(bytes.size() >= 10 && bytes.compare(0, 6, "\x93NUMPY") == 0 && bytes[6] == 1, path, ": not a .npy file of version 1");
  const size_t length = size_t(uint8_t(bytes[8])) | size_t(uint8_t(bytes[9])) << 8;
  check<FileError>(bytes.size() >= 10 + length, path, ": the header is cut off");
  const std::string header = bytes.substr(10, length);
  const auto after = [&](const char* key) {
    const size_t at = header.find(key);
    check<FileError>(at != std::string::npos, path, ": the header has no ", key);
    return header.substr(at + std::strlen(key));
  };
  check<FileError>(after("'fortran_order': ").compare(0, 5, "False") == 0, path, ": the array is in Fortran order");
  const std::string type = after("'descr': ").substr(0, 5);

  Npy npy;
  int64_t count = 1;
  const std::string tuple = after("'shape': (");
  for (const char* p = tuple.c_str(); *p != '\0' && *p != ')';) {
    if (*p < '0' || *p > '9') {
      ++p;
      continue;
    }
    char* end = nullptr;
    npy.shape.push_back(std::strtoll(p, &end, 10));
    count *= npy.shape.back();
    p = end;
  }
  const auto take = [&](auto zero) {
    using T = decltype(zero);
    check<FileError>(bytes.size() == 10 + length + size_t(count) * sizeof(T), path, ": holds ", bytes.size() - 10 - length,
                     " bytes of data, the header says ", size_t(count) * sizeof(T));
    for (int64_t i = 0; i < count; ++i) {
      T value;
      std::memcpy(&value, bytes.data() + 10 + length + size_t(i) * sizeof(T), sizeof(T));
      npy.values.push_back(double(value));
    }
  };
  if (type == "'<f8'") take(double{});
  else if (type == "'<f4'") take(float{});
  else if (type == "'<i8'") take(int64_t{});
  else throw FileError(text(path, ": data type ", type, " (expected <f8, <f4 or <i8)"));
  return npy;
}

inline Npy read_npy(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  check<FileError>(file.good(), path, ": cannot be opened");
  return parse_npy(std::string(std::istreambuf_iterator<char>(file), {}), path);
}

}  // namespace voxgrad::test
