// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Files as a user expects them: nothing half-written, nothing replaced unasked, names in natural order.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace voxgrad::app {

/// A file that appears under its name only when complete: written as a hidden temporary file in the same
/// folder, flushed to disk and renamed by commit(); removed if commit() is not reached.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);  ///< creates missing parent folders
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  const std::string& temporary() const {
    return temporary_;
  }  ///< write here (with any library), then commit()
  void commit();

 private:
  std::string path_, temporary_;
  bool committed_ = false;
};

/// Writes `content` to `path` atomically. FileError with the needed and free space when the disk is full.
void write_file(const std::string& path, std::string_view content);
/// The whole file. FileError when it cannot be read or is larger than `limit` bytes.
std::string read_file(const std::string& path, std::size_t limit = std::size_t(1) << 30);

/// "movie9" before "movie10": digits compare as numbers.
bool natural_less(std::string_view a, std::string_view b);

/// One input: where it is and where it stands below the folder it was found in, so that outputs keep the
/// structure.
struct Input {
  std::string path;      ///< to open
  std::string relative;  ///< path below the given folder; the file name for a file given by name
};

/// Files, folders (their files, with --recursive those below too), "-" (a list on `standard_input`) and
/// "@list.txt". `accept` chooses files found in folders by name; files given by name are always taken.
/// Natural order within a folder, duplicates dropped. FileError names what does not exist, and a folder in
/// which nothing was accepted.
std::vector<Input> expand_inputs(const std::vector<std::string>& arguments, bool recursive,
                                 const std::function<bool(const std::string& name)>& accept,
                                 std::FILE* standard_input = stdin);
/// True if the name ends in one of the endings, ignoring case: has_ending("a.TIF", {".tif"}).
bool has_ending(const std::string& name, const std::vector<std::string>& endings);

/// Throws a FileError if `path` exists and `overwrite` is false.
void refuse_existing(const std::string& path, bool overwrite);
/// Throws a UsageError if `out` is an input's folder or lies inside it.
void refuse_output_in_input(const std::string& out, const std::vector<std::string>& arguments);
void make_folders(const std::string& path);
/// Throws a FileError with both amounts when `needed` bytes do not fit on the file system of `path`.
void check_space(const std::string& path, std::uint64_t needed);

}  // namespace voxgrad::app
