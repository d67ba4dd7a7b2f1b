// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A file opened for reading at any offset, with its size known: every reader checks against it before taking memory.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

#include "voxgrad/core/error.hpp"

namespace voxgrad::io {

class RandomFile {
 public:
  RandomFile() = default;

  /// Opens a regular file. FileError: absent, a folder, not readable.
  explicit RandomFile(const std::string& path) : path_(path), fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (fd_ < 0) {
      const int why = errno;
      check<FileError>(why != ENOENT, path, ": no such file");
      check<FileError>(why != EACCES, path, ": no permission to read it");
      throw FileError(text(path, ": cannot be opened (", std::strerror(why), ")"));
    }
    struct stat status {};
    const bool known = ::fstat(fd_, &status) == 0;
    if (!known || !S_ISREG(status.st_mode)) {
      close();
      throw FileError(text(path, known && S_ISDIR(status.st_mode) ? ": is a folder, not a file" : ": is not a regular file"));
    }
    size_ = uint64_t(status.st_size);
  }
  RandomFile(const RandomFile&) = delete;
  RandomFile& operator=(const RandomFile&) = delete;
  RandomFile(RandomFile&& other) noexcept : path_(std::move(other.path_)), fd_(other.fd_), size_(other.size_) { other.fd_ = -1; }
  RandomFile& operator=(RandomFile&& other) noexcept {
    if (this != &other) {
      close();
      path_ = std::move(other.path_);
      fd_ = other.fd_;
      size_ = other.size_;
      other.fd_ = -1;
    }
    return *this;
  }
  ~RandomFile() { close(); }

  uint64_t size() const { return size_; }
  const std::string& path() const { return path_; }

  /// Reads up to n bytes at an offset; returns how many there were.
  size_t read_some(uint64_t offset, void* out, size_t n) const {
    size_t done = 0;
    while (done < n && offset + done < size_) {
      const ssize_t got = ::pread(fd_, static_cast<char*>(out) + done, n - done, off_t(offset + done));
      if (got < 0 && errno == EINTR) continue;
      check<FileError>(got >= 0, path_, ": read error at byte ", offset + done, " (", std::strerror(errno), ")");
      if (got == 0) break;
      done += size_t(got);
    }
    return done;
  }

  /// Reads exactly n bytes or throws FileError.
  void read(uint64_t offset, void* out, size_t n) const {
    const size_t got = read_some(offset, out, n);
    check<FileError>(got == n, path_, ": the file ends at byte ", size_, ", ", n - got, " bytes are missing (truncated copy?)");
  }

 private:
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  std::string path_;
  int fd_ = -1;
  uint64_t size_ = 0;
};

}  // namespace voxgrad::io
