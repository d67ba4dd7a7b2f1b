// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What is looked at before the HDF5 library opens a file: that it is one, its first bytes, and its object headers. A superblock that
// claims a place far outside of the file made libhdf5 1.10.8 take gigabytes for a file of 54 bytes.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/io/hdf5_headers.hpp"
#include "voxgrad/io/random_file.hpp"

namespace voxgrad::io::h5 {

/// What to give in place of a folder: "Name a file: FOLDER/a.h5 or FOLDER/b.h5".
inline std::string files_to_name(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(folder, none)) {
    const std::string ending = entry.path().extension().string();
    const bool named = ending == ".h5" || ending == ".hdf5" || ending == ".hdf";
    if (named && entry.is_regular_file(none)) files.push_back(entry.path().string());
  }
  if (files.empty()) return "No file in it is called .h5; name one that is HDF5.";
  std::sort(files.begin(), files.end());
  std::string all = "Name a file: " + files[0];
  for (size_t i = 1; i < std::min<size_t>(files.size(), 3); ++i) all += " or " + files[i];
  return all + (files.size() > 3 ? " ..." : "");
}

/// FileError when the base address, from which all others count, or a piece of an object header lies behind the end of the file. What is
/// no HDF5 file is left to the library.
inline void check_superblock(const RandomFile& file) {
  for (uint64_t at = 0; at < file.size(); at = at ? 2 * at : 512) {  // where a superblock may stand
    std::array<unsigned char, 96> b{};
    const size_t n = file.read_some(at, b.data(), b.size());
    if (n < 16 || std::memcmp(b.data(), "\x89HDF\r\n\x1a\n", 8) != 0) continue;
    const bool old = b[8] < 2;
    const size_t width = old ? b[13] : b[9], lengths = old ? b[14] : b[10], place = b[8] == 0 ? 24 : b[8] == 1 ? 28 : 12;
    if (b[8] > 3 || width > 8 || place + width > n) return;  // the library refuses it
    const auto address = [&](size_t from) {
      uint64_t v = 0;
      for (size_t i = width; i-- > 0;) v = v << 8 | b[from + i];
      return v;
    };
    const uint64_t base = address(place);
    check<FileError>(base <= file.size(), file.path(), ": is damaged: its superblock says that its data begin at byte ", base, ", but it has ",
                     file.size(), ". Compare its size with the original, or copy it again.");
    const size_t root = old ? place + 40 : place + 24;  // behind three or four addresses, and where its name stands
    if (width == 8 && lengths == 8 && root + 8 <= n) HeaderWalk(file, at).run(address(root));
    return;
  }
}

/// FileError: absent, a folder, no regular file, or a superblock that lies.
inline void check_before_opening(const std::string& path) {
  std::error_code none;
  if (std::filesystem::is_directory(path, none)) throw FileError(text(path, ": is a folder, but an HDF5 file is needed. ", files_to_name(path)));
  check_superblock(RandomFile(path));
}

}  // namespace voxgrad::io::h5
