// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Writing zip archives whose entries are stored, with checksums; each entry's bytes start at a multiple of 64, as torch.save places them.

#include <vector>

#include "voxgrad/io/file_writer.hpp"
#include "voxgrad/io/stored_zip.hpp"

namespace voxgrad::io {

/// One entry; `bytes` must live until it is written.
struct ZipItem {
  std::string name;
  std::string_view bytes;
};

/// FileError: more than the 4 GiB or 65535 entries of a plain zip archive.
inline void write_stored_zip(const std::string& path, const std::vector<ZipItem>& items) {
  const auto little = [](uint64_t value, int bytes) {
    std::string out;
    for (int i = 0; i < bytes; ++i) out += char(value >> (8 * i) & 255);
    return out;
  };
  check<FileError>(items.size() <= 65535, path, ": ", items.size(), " entries are too many for a zip archive (at most 65535).");
  FileWriter file(path);
  std::string directory;
  constexpr uint64_t limit = 0xffffffff;
  for (const ZipItem& item : items) {
    const uint64_t start = file.written(), header = 30 + item.name.size() + 4, padding = (64 - (start + header) % 64) % 64;
    check<FileError>(start + header + padding <= limit && item.bytes.size() <= limit - start - header - padding, path,
                     ": would be larger than 4 GiB, the limit of this program's zip archives.");
    // Version, flags, method (stored), time and day (1980-01-01: the same content gives the same file), checksum, two sizes, length of the name.
    const std::string common = little(20, 2) + little(0, 2) + little(0, 2) + little(0, 2) + little(33, 2) +
                               little(crc32(item.bytes.data(), item.bytes.size()), 4) + little(item.bytes.size(), 4) +
                               little(item.bytes.size(), 4) + little(item.name.size(), 2);
    file.put("PK\3\4" + common + little(4 + padding, 2) + item.name + "FB" + little(padding, 2) + std::string(size_t(padding), 'Z'));
    file.put(item.bytes);
    directory += "PK\1\2" + little(20, 2) + common + std::string(12, '\0') + little(start, 4) + item.name;
  }
  const uint64_t at = file.written();
  check<FileError>(at <= limit && directory.size() <= limit - at, path, ": would be larger than 4 GiB, the limit of this program's zip archives.");
  file.put(directory);
  file.put("PK\5\6" + little(0, 4) + little(items.size(), 2) + little(items.size(), 2) + little(directory.size(), 4) + little(at, 4) + little(0, 2));
  file.commit();
}

}  // namespace voxgrad::io
