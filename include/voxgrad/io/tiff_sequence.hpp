// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Folders of single frames: which files, in which order.

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "voxgrad/core/error.hpp"

namespace voxgrad::io {

/// Order that people expect: frame2 before frame10. Runs of digits compare as numbers, the rest as bytes.
inline bool natural_less(std::string_view a, std::string_view b) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (digit(a[i]) && digit(b[j])) {
      size_t i0 = i, j0 = j;
      while (i < a.size() && digit(a[i])) ++i;
      while (j < b.size() && digit(b[j])) ++j;
      while (i0 < i && a[i0] == '0') ++i0;
      while (j0 < j && b[j0] == '0') ++j0;
      if (i - i0 != j - j0) return i - i0 < j - j0;
      if (const int order = a.substr(i0, i - i0).compare(b.substr(j0, j - j0)); order != 0) return order < 0;
    } else {
      if (a[i] != b[j]) return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[j]);
      ++i;
      ++j;
    }
  }
  if ((i < a.size()) != (j < b.size())) return j < b.size();
  return a < b;  // equal but for leading zeros
}

inline bool is_folder(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored);
}

/// True for names that end in .tif or .tiff, in any case, and are not hidden.
inline bool is_tiff_name(const std::string& name) {
  std::string end = name.substr(std::min(name.find_last_of('.'), name.size()));
  std::transform(end.begin(), end.end(), end.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  return name[0] != '.' && (end == ".tif" || end == ".tiff");
}

/// The TIFF files of a folder in natural order, with their paths. FileError: the folder cannot be read.
inline std::vector<std::string> tiff_sequence_files(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> names;
  for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    if (std::string name = at->path().filename().string(); !name.empty() && is_tiff_name(name)) names.push_back(std::move(name));
  check<FileError>(!error, folder, ": the folder cannot be read (", error.message(), ")");
  std::sort(names.begin(), names.end(), natural_less);
  for (std::string& name : names) name = folder + (folder.ends_with('/') ? "" : "/") + name;
  return names;
}

}  // namespace voxgrad::io
