// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Tables and pictures of the example programs.

#include <string>

#include "voxgrad/io/file_writer.hpp"

namespace examples {

/// Writes a file under its name only when it is complete. Errors: FileError.
inline void write_whole(const std::string& path, const std::string& content) {
  voxgrad::io::FileWriter file(path);
  file.put(content);
  file.commit();
}

}  // namespace examples
