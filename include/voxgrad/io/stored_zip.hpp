// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Zip archives whose entries are stored, not compressed, as torch.save writes them: the central directory at the end names
// each entry and its place; local headers are only skipped. Sizes of 64 bits and checksums included.

#include <algorithm>
#include <array>
#include <map>
#include <vector>

#include "voxgrad/io/random_file.hpp"

namespace voxgrad::io {

/// CRC-32 (IEEE 802.3, reflected), as zip uses it.
inline uint32_t crc32(const void* data, size_t n) {
  static constexpr std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> t{};
    for (uint32_t i = 0; i < 256; ++i) {
      t[i] = i;
      for (int k = 0; k < 8; ++k) t[i] = t[i] & 1 ? 0xEDB88320u ^ t[i] >> 1 : t[i] >> 1;
    }
    return t;
  }();
  uint32_t c = ~0u;
  for (const auto* p = static_cast<const unsigned char*>(data); n-- > 0; ++p) c = table[(c ^ *p) & 255] ^ c >> 8;
  return ~c;
}

class StoredZip {
 public:
  struct Entry {
    uint64_t header = 0, size = 0;  ///< place of the local header; bytes
    uint32_t crc = 0;               ///< 0: not given
    uint16_t method = 0, flags = 0;
  };

  /// Reads the directory of an archive. FileError: no complete zip archive.
  explicit StoredZip(const RandomFile& file) : file_(file) { read_directory(find_directory()); }

  const std::map<std::string, Entry>& entries() const { return entries_; }
  bool has(const std::string& name) const { return entries_.count(name) != 0; }

  /// The bytes of one entry, checked against its checksum if it has one.
  std::string read(const std::string& name) const {
    const auto it = entries_.find(name);
    check<FileError>(it != entries_.end(), file_.path(), ": holds no entry '", name, "', the archive is damaged or incomplete.");
    const Entry& e = it->second;
    check<FileError>((e.flags & 1) == 0, file_.path(), ": entry '", name, "' is encrypted.");
    check<FileError>(e.method == 0, file_.path(), ": entry '", name, "' is compressed (method ", e.method,
                     "; expected stored entries, as torch.save writes them). Unpack it and pack it again with: zip -0 -r");
    std::array<unsigned char, 30> local{};
    file_.read(e.header, local.data(), local.size());
    check<FileError>(u32(local.data()) == 0x04034b50, file_.path(), ": entry '", name, "' has no header at byte ", e.header, ", the archive is damaged.");
    const uint64_t start = e.header + 30 + u16(&local[26]) + u16(&local[28]);
    check<FileError>(start <= file_.size() && e.size <= file_.size() - start, file_.path(), ": entry '", name, "' of ", e.size,
                     " bytes does not fit into the file (truncated copy?).");
    std::string bytes(size_t(e.size), '\0');
    file_.read(start, bytes.data(), bytes.size());
    check<FileError>(e.crc == 0 || crc32(bytes.data(), bytes.size()) == e.crc, file_.path(), ": entry '", name,
                     "' does not agree with its checksum, the file is damaged.");
    return bytes;
  }

 private:
  static uint16_t u16(const unsigned char* p) { return uint16_t(p[0] | p[1] << 8); }
  static uint32_t u32(const unsigned char* p) { return u16(p) | uint32_t(u16(p + 2)) << 16; }
  static uint64_t u64(const unsigned char* p) { return u32(p) | uint64_t(u32(p + 4)) << 32; }

  struct Directory {
    uint64_t start, size, count;
  };
  Directory find_directory() const {
    const size_t n = size_t(std::min<uint64_t>(file_.size(), 65557));  // the end record and the longest comment
    std::vector<unsigned char> tail(n);
    file_.read(file_.size() - n, tail.data(), n);
    for (size_t at = n < 22 ? 0 : n - 21; at-- > 0;) {
      const unsigned char* p = &tail[at];
      if (u32(p) != 0x06054b50 || at + 22 + u16(p + 20) != n) continue;
      Directory d{u32(p + 16), u32(p + 12), u16(p + 10)};
      if (at >= 20 && u32(p - 20) == 0x07064b50) {  // the zip64 locator points to a record with 64-bit numbers
        std::array<unsigned char, 56> wide{};
        file_.read(u64(p - 12), wide.data(), wide.size());
        check<FileError>(u32(wide.data()) == 0x06064b50, file_.path(), ": the zip64 record is missing, the archive is damaged.");
        d = {u64(&wide[48]), u64(&wide[40]), u64(&wide[32])};
      }
      return d;
    }
    throw FileError(text(file_.path(), ": the zip archive is incomplete: its directory, which lies at the end, is missing (truncated copy?)."));
  }
  void read_directory(const Directory& d) {
    check<FileError>(d.start <= file_.size() && d.size <= file_.size() - d.start && d.count <= d.size / 46, file_.path(),
                     ": the zip directory (", d.count, " entries, ", d.size, " bytes at ", d.start, ") does not fit into the file.");
    std::vector<unsigned char> all(size_t(d.size));
    file_.read(d.start, all.data(), all.size());
    size_t at = 0;
    for (uint64_t i = 0; i < d.count; ++i) {
      const auto need = [&](size_t n) { check<FileError>(n <= all.size() - at, file_.path(), ": the zip directory is damaged (entry ", i + 1, " of ", d.count, ")."); };
      need(46);
      const unsigned char* p = &all[at];
      const size_t name = u16(p + 28), extra = u16(p + 30), comment = u16(p + 32);
      need(46 + name + extra + comment);
      check<FileError>(u32(p) == 0x02014b50, file_.path(), ": the zip directory is damaged (entry ", i + 1, " of ", d.count, ").");
      Entry e{u32(p + 42), u32(p + 24), u32(p + 16), u16(p + 10), u16(p + 8)};
      uint64_t packed = u32(p + 20);
      widen(p + 46 + name, extra, e.size, packed, e.header);
      check<FileError>(e.method != 0 || packed == e.size, file_.path(), ": the zip directory is damaged (entry ", i + 1, " has two sizes).");
      const std::string key(reinterpret_cast<const char*>(p + 46), name);
      check<FileError>(entries_.emplace(key, e).second, file_.path(), ": entry '", key, "' appears twice in the zip directory.");
      at += 46 + name + extra + comment;
    }
  }
  /// Numbers that need more than 32 bits stand in the extra field 1, in this order, and only those.
  void widen(const unsigned char* p, size_t n, uint64_t& size, uint64_t& packed, uint64_t& header) const {
    for (size_t at = 0; at + 4 <= n;) {
      const size_t length = u16(p + at + 2);
      if (length > n - at - 4) break;
      if (u16(p + at) == 1) {
        size_t used = 0;
        for (uint64_t* v : {&size, &packed, &header})
          if (*v == 0xffffffffu && used + 8 <= length) *v = u64(p + at + 4 + used), used += 8;
      }
      at += 4 + length;
    }
  }

  const RandomFile& file_;
  std::map<std::string, Entry> entries_;
};

}  // namespace voxgrad::io
