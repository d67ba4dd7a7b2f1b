// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Files too large for this tree, in a folder beside it.

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace voxgrad::test {

/// A folder of the shared data, or "" (and a printed line) if it is absent. VOXGRAD_SHARED overrides its place.
inline std::string shared_data(const std::string& part, const char* what) {
  const char* set = std::getenv("VOXGRAD_SHARED");
  const std::string folder = (set && *set ? set : std::string(VOXGRAD_SOURCE_DIR) + "/../shared") + "/" + part;
  if (std::filesystem::is_directory(folder)) return folder;
  std::printf("skipped: %s (no folder %s in VOXGRAD_SHARED or ../shared)\n", what, part.c_str());
  return "";
}

}  // namespace voxgrad::test
