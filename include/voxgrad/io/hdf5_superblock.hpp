// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The first bytes of an HDF5 file, looked at before the library does: a superblock that claims a place far outside of the file made
// libhdf5 1.10.8 take gigabytes for a file of 54 bytes.

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

#include "voxgrad/core/error.hpp"

namespace voxgrad::io::h5 {

/// FileError when the base address, from which all others count, lies behind the end of the file. What is no HDF5 file is left to the library.
inline void check_superblock(std::FILE* file, const std::string& path) {
  std::fseek(file, 0, SEEK_END);
  const uint64_t size = uint64_t(std::ftell(file));
  for (uint64_t at = 0; at < size; at = at ? 2 * at : 512) {  // where a superblock may stand
    std::array<unsigned char, 64> b{};
    std::fseek(file, long(at), SEEK_SET);
    const size_t n = std::fread(b.data(), 1, b.size(), file);
    if (n < 16 || std::memcmp(b.data(), "\x89HDF\r\n\x1a\n", 8) != 0) continue;
    const bool old = b[8] < 2;
    const size_t width = old ? b[13] : b[9], place = b[8] == 0 ? 24 : b[8] == 1 ? 28 : 12;
    if (b[8] > 3 || width > 8 || place + width > n) return;  // the library refuses it
    uint64_t base = 0;
    for (size_t i = width; i-- > 0;) base = base << 8 | b[place + i];
    check<FileError>(base <= size, path, ": is damaged: its superblock says that its data begin at byte ", base, ", but it has ", size,
                     ". Compare its size with the original, or copy it again.");
    return;
  }
}

}  // namespace voxgrad::io::h5
