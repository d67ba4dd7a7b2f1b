// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Archives of torch.save for tests: the committed ones, and ones packed around a pickle written by hand.

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "voxgrad/core/error.hpp"

namespace voxgrad::test {

inline std::string torch_golden(const std::string& name) { return std::string(VOXGRAD_SOURCE_DIR) + "/tests/golden/torch_archive/" + name; }

inline std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream all;
  all << in.rdbuf();
  return all.str();
}

/// One file that is written again and again, and removed at the end.
class TorchScratch {
 public:
  explicit TorchScratch(const std::string& bytes = "") : path_((std::filesystem::temp_directory_path() / text("voxgrad_torch_", ::getpid(), ".pt")).string()) { put(bytes); }
  ~TorchScratch() { std::filesystem::remove(path_); }
  TorchScratch(const TorchScratch&) = delete;
  TorchScratch& operator=(const TorchScratch&) = delete;
  const std::string& path() const { return path_; }
  void put(const std::string& bytes) const { std::ofstream(path_, std::ios::binary) << bytes; }

 private:
  std::string path_;
};

inline std::string little(uint64_t v, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += char(v >> (8 * i) & 255);
  return out;
}

/// A zip archive of stored entries without checksums.
inline std::string pack(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string all, directory;
  for (const auto& [name, bytes] : entries) {
    const std::string common = little(0, 2) + little(0, 2) + little(0, 4) + little(0, 4) + little(bytes.size(), 4) + little(bytes.size(), 4) + little(name.size(), 2) + little(0, 2);
    directory += little(0x02014b50, 4) + little(0, 2) + little(0, 2) + common + little(0, 10) + little(all.size(), 4) + name;
    all += little(0x04034b50, 4) + little(0, 2) + common + name + bytes;
  }
  const std::string end = little(0x06054b50, 4) + little(0, 4) + little(entries.size(), 2) + little(entries.size(), 2) + little(directory.size(), 4) + little(all.size(), 4) + little(0, 2);
  return all + directory + end;
}

}  // namespace voxgrad::test
