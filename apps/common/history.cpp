// SPDX-License-Identifier: BSD-3-Clause
#include "history.hpp"

#include <cstdio>
#include <fstream>
#include <limits>

#include "files.hpp"
#include "options.hpp"
#include "voxgrad/core/error.hpp"

namespace voxgrad::app {

void append_row(const std::string& path, const std::string& header, const std::string& row) {
  std::FILE* out = std::fopen(path.c_str(), "a");
  check<FileError>(out != nullptr, path, ": cannot be written.");
  std::fseek(out, 0, SEEK_END);
  bool ok = std::ftell(out) != 0 || std::fprintf(out, "%s\n", header.c_str()) > 0;
  ok = std::fprintf(out, "%s\n", row.c_str()) > 0 && ok;
  ok = std::fclose(out) == 0 && ok;
  check<FileError>(ok, path, ": a row could not be written (disk full or quota?).");
}

void keep_rows_before(const std::string& path, int64_t step) {
  std::ifstream in(path);
  if (!in) return;
  std::string kept, line;
  std::getline(in, line);
  kept = line + "\n";
  while (std::getline(in, line)) {
    const size_t comma = line.find(',');
    if (comma == std::string::npos) continue;  // what a power failure left of a row
    const auto at = parse_integer(line.substr(0, comma));
    if (at && *at < step) kept += line + "\n";
  }
  write_file(path, kept);
}

std::pair<int64_t, double> best_row(const std::string& path) {
  std::pair<int64_t, double> best{-1, std::numeric_limits<double>::infinity()};
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    const size_t comma = line.find(','), next = line.find(',', comma + 1);
    if (comma == std::string::npos) continue;
    const auto step = parse_integer(line.substr(0, comma));
    const auto loss = parse_real(line.substr(comma + 1, next == std::string::npos ? next : next - comma - 1));
    if (step && loss && *loss < best.second) best = {*step + 1, *loss};
  }
  return best;
}

std::string hash_text(const std::string& s) {
  uint64_t h = 14695981039346656037u;
  for (const unsigned char c : s) h = (h ^ c) * 1099511628211u;
  char out[17];
  std::snprintf(out, sizeof out, "%016llx", static_cast<unsigned long long>(h));
  return out;
}

}  // namespace voxgrad::app
