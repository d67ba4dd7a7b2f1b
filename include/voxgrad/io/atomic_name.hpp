// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// How every file of ours comes into being: written under a hidden name beside its own, which it gets only when it is complete.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "voxgrad/core/error.hpp"

namespace voxgrad::io {

/// A name to write under until put_in_place(), another one at every call. FileError when `path` is a folder, a device, a pipe or a socket:
/// a file would take its place (as root even that of /dev/null).
inline std::string partial_name(const std::string& path) {
  static std::atomic<int> counter{0};
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    const char* const kind = S_ISDIR(status.st_mode) ? "folder" : S_ISFIFO(status.st_mode) ? "pipe" : S_ISSOCK(status.st_mode) ? "socket" : "device";
    throw FileError(text(path, ": is a ", kind, ", so no file can be written there. Give another name."));
  }
  const size_t base = path.find_last_of('/') + 1;  // npos + 1 is 0
  return text(path.substr(0, base), ".", path.substr(base, 200), ".", ::getpid(), "-", counter++, ".tmp");
}

/// Flushes the complete file `partial` to disk and gives it the name `path`, which may stand for an older file. FileError: the disk is full,
/// no permission; then `partial` is still there.
inline void put_in_place(const std::string& partial, const std::string& path) {
  const int fd = ::open(partial.c_str(), O_RDONLY | O_CLOEXEC);
  check<FileError>(fd >= 0, path, ": cannot be written (", std::strerror(errno), ").");
  const bool flushed = ::fsync(fd) == 0 || errno == EINVAL || errno == EROFS;  // these two: nothing to flush
  const int why = errno;
  ::close(fd);
  check<FileError>(flushed, path, ": cannot be written (", std::strerror(why), ").");
  check<FileError>(std::rename(partial.c_str(), path.c_str()) == 0, path, ": cannot be replaced (", std::strerror(errno), ").");
  // The renaming itself shall last too. A file system that cannot flush folders is no reason to fail.
  const std::string folder = path.substr(0, path.find_last_of('/') + 1);
  const int parent = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (parent < 0) return;
  ::fsync(parent);
  ::close(parent);
}

}  // namespace voxgrad::io
