// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A file that appears under its name only when complete.

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "voxgrad/core/error.hpp"

namespace voxgrad::io {

/// Writes a hidden file beside `path`; commit() gives it its name, without it nothing is left. FileError: no folder, permission or space.
class FileWriter {
 public:
  explicit FileWriter(const std::string& path) : path_(path) {
    const size_t slash = path.find_last_of('/');
    const std::string folder = slash == std::string::npos ? "" : path.substr(0, slash + 1);
    partial_ = folder + "." + path.substr(folder.size()) + ".part-" + std::to_string(getpid());
    out_ = std::fopen(partial_.c_str(), "wb");
    check<FileError>(out_ != nullptr, path, ": cannot be written (no such folder, or no permission)");
  }
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;
  ~FileWriter() {
    if (out_) std::fclose(out_);
    if (!committed_) std::remove(partial_.c_str());
  }

  void put(const void* data, size_t bytes) {
    ok_ = ok_ && (bytes == 0 || std::fwrite(data, 1, bytes, out_) == bytes);
    written_ += bytes;
  }
  void put(std::string_view bytes) { put(bytes.data(), bytes.size()); }
  /// Bytes so far.
  uint64_t written() const { return written_; }

  void commit() {
    ok_ = std::fflush(out_) == 0 && fsync(fileno(out_)) == 0 && ok_;
    ok_ = std::fclose(out_) == 0 && ok_;
    out_ = nullptr;
    committed_ = ok_ && std::rename(partial_.c_str(), path_.c_str()) == 0;
    check<FileError>(committed_, path_, ": writing ", written_, " bytes failed (disk full or quota?)");
  }

 private:
  std::string path_, partial_;
  std::FILE* out_ = nullptr;
  uint64_t written_ = 0;
  bool ok_ = true, committed_ = false;
};

}  // namespace voxgrad::io
