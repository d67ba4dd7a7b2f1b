// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A file that appears under its name only when complete.

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "voxgrad/core/error.hpp"
#include "voxgrad/io/atomic_name.hpp"

namespace voxgrad::io {

/// Writes a hidden file beside `path`; commit() gives it its name, without it nothing is left. FileError: no folder, permission or space, or
/// something that is no file has the name.
class FileWriter {
 public:
  explicit FileWriter(const std::string& path) : path_(path), partial_(partial_name(path)) {
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
    ok_ = std::fclose(out_) == 0 && ok_;
    out_ = nullptr;
    check<FileError>(ok_, path_, ": writing ", written_, " bytes failed (disk full or quota?)");
    put_in_place(partial_, path_);
    committed_ = true;
  }

 private:
  std::string path_, partial_;
  std::FILE* out_ = nullptr;
  uint64_t written_ = 0;
  bool ok_ = true, committed_ = false;
};

}  // namespace voxgrad::io
