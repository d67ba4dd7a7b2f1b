// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Where the recordings and files made by others are, if this machine has them, and their tables.

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace voxgrad::test {

/// The folder with real data, or "" (and a printed line) if it is absent. VOXGRAD_SHARED overrides its place.
inline std::string real_data(const char* what) {
  const char* set = std::getenv("VOXGRAD_SHARED");
  const std::string shared = set && *set ? set : std::string(VOXGRAD_SOURCE_DIR) + "/../shared";
  const std::string folder = shared + "/data/real";
  if (std::filesystem::is_directory(folder)) return folder;
  std::printf("skipped: %s (no folder data/real in VOXGRAD_SHARED or ../shared)\n", what);
  return "";
}

/// Splits one CSV line; double quotes protect commas.
inline std::vector<std::string> split_csv(const std::string& line) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"') {
      if (quoted && i + 1 < line.size() && line[i + 1] == '"') cells.back() += line[i++];
      else quoted = !quoted;
    } else if (line[i] == ',' && !quoted) {
      cells.emplace_back();
    } else if (line[i] != '\r') {
      cells.back() += line[i];
    }
  }
  return cells;
}

/// Rows of a CSV file with a header, each as column -> cell.
inline std::vector<std::map<std::string, std::string>> read_csv(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::map<std::string, std::string>> rows;
  std::string line;
  if (!std::getline(file, line)) return rows;
  const std::vector<std::string> names = split_csv(line);
  while (std::getline(file, line)) {
    const std::vector<std::string> cells = split_csv(line);
    for (rows.emplace_back(); const std::string& name : names) {
      const size_t i = size_t(&name - names.data());
      rows.back()[name] = i < cells.size() ? cells[i] : "";
    }
  }
  return rows;
}

}  // namespace voxgrad::test
