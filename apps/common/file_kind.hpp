// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What a file is, told from its first bytes rather than from its name.

#include <string>

namespace voxgrad::app {

enum class FileKind {
  tiff, hdf5, safetensors, torch, bundle, json, yaml, csv,  // formats that this program reads
  foreign,                                   // known, but of no use here: the advice says what would be
  unknown
};

/// The kind, its name for people, and for foreign files what to do instead.
struct FileIdentity {
  FileKind kind = FileKind::unknown;
  std::string name;
  std::string advice;
};

/// Looks at the first bytes (and the end of a zip archive). FileError: the file cannot be read or is empty.
FileIdentity identify_file(const std::string& path);

}  // namespace voxgrad::app
