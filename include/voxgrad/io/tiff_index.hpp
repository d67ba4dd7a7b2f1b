// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Where the pages of a TIFF file are: one pass over the chain of directories, safe on loops, damage and truncation.

#include <array>
#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

#include "voxgrad/io/random_file.hpp"

namespace voxgrad::io {

/// What must be equal in all pages of a movie, as the directory states it.
struct TiffShape {
  uint64_t width = 0, height = 0;
  uint64_t samples = 1, bits = 1, format = 1;
  bool operator==(const TiffShape&) const = default;
};

struct TiffIndex {
  bool big_endian = false, bigtiff = false, scanimage = false;
  std::vector<uint64_t> pages;    ///< file offset of each full-size directory
  uint64_t reduced = 0;           ///< thumbnails and pyramid levels that were left out
  TiffShape shape;                ///< of the first page
  int64_t odd_page = -1;          ///< the first page with another shape, if any
  TiffShape odd_shape;
  std::string broken;             ///< why the chain of directories stops early; empty if it ends properly
};

/// Reads numbers in the file's byte order.
class TiffBytes {
 public:
  explicit TiffBytes(bool big_endian) : big_(big_endian) {}
  uint64_t number(const uint8_t* p, int bytes) const {
    uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) value |= uint64_t(p[i]) << (8 * (big_ ? bytes - 1 - i : i));
    return value;
  }

 private:
  bool big_;
};

/// The walk over the directories of one file.
class TiffWalk {
 public:
  static constexpr uint64_t max_entries = 4096;       // libtiff's own limit
  static constexpr size_t max_pages = size_t(1) << 24;

  explicit TiffWalk(const RandomFile& file) : file_(file) {}

  TiffIndex run() {
    uint64_t next = read_header();
    std::unordered_set<uint64_t> seen;
    while (next != 0) {
      if (!seen.insert(next).second) {
        stop("the list of pages runs in a circle");
        break;
      }
      if (index_.pages.size() >= max_pages) {
        stop("more than 16 million pages");
        break;
      }
      next = read_directory(next);
    }
    check<FileError>(!index_.pages.empty(), file_.path(), ": no usable TIFF page (",
                     index_.broken.empty() ? "the list of pages is empty" : index_.broken, "). The file is damaged or incomplete.");
    return std::move(index_);
  }

 private:
  void stop(const std::string& why) {
    if (index_.broken.empty()) index_.broken = why;
  }

  uint64_t read_header() {
    std::array<uint8_t, 24> head{};
    const size_t n = file_.read_some(0, head.data(), head.size());
    check<FileError>(n > 0, file_.path(), ": the file is empty");
    check<FileError>(n >= 8 && head[0] == head[1] && (head[0] == 'I' || head[0] == 'M'), file_.path(),
                     ": is not a TIFF file (it does not start with II or MM)");
    index_.big_endian = head[0] == 'M';
    bytes_ = TiffBytes(index_.big_endian);
    const uint64_t magic = bytes_.number(&head[2], 2);
    check<FileError>(magic == 42 || magic == 43, file_.path(), ": is not a TIFF file (version ", magic, ", expected 42 or 43)");
    if (magic == 42) return bytes_.number(&head[4], 4);
    index_.bigtiff = true;
    check<FileError>(n >= 16 && bytes_.number(&head[4], 2) == 8, file_.path(), ": is a BigTIFF file with a damaged header");
    index_.scanimage = n >= 20 && bytes_.number(&head[16], 4) == 117637889;
    return bytes_.number(&head[8], 8);
  }

  /// Notes one page; returns the offset of the next directory, 0 at the end or when the chain breaks.
  uint64_t read_directory(uint64_t offset) {
    const size_t count_bytes = index_.bigtiff ? 8 : 2, entry = index_.bigtiff ? 20 : 12, link = index_.bigtiff ? 8 : 4;
    if (offset >= file_.size()) {
      stop(text("a page is said to be at byte ", offset, ", the file has ", file_.size(), " bytes"));
      return 0;
    }
    buffer_.resize(512);
    size_t have = file_.read_some(offset, buffer_.data(), buffer_.size());
    const uint64_t count = have >= count_bytes ? bytes_.number(buffer_.data(), int(count_bytes)) : 0;
    const size_t need = count_bytes + size_t(count <= max_entries ? count : 0) * entry + link;
    if (count == 0 || count > max_entries) {
      stop(text("the directory at byte ", offset, " has ", count, " entries"));
      return 0;
    }
    if (need > have) {
      buffer_.resize(need);
      have = file_.read_some(offset, buffer_.data(), need);
    }
    if (have + link < need) {
      stop(text("the file ends inside the directory at byte ", offset));
      return 0;
    }
    note_page(offset, size_t(count), count_bytes, entry);
    if (have < need) {
      stop(text("the file ends inside the directory at byte ", offset));
      return 0;
    }
    return bytes_.number(buffer_.data() + need - link, int(link));
  }

  void note_page(uint64_t offset, size_t count, size_t count_bytes, size_t entry) {
    TiffShape shape;
    bool reduced = false;
    for (size_t i = 0; i < count; ++i) {
      const uint8_t* e = buffer_.data() + count_bytes + i * entry;
      switch (bytes_.number(e, 2)) {
        case 254: reduced = (value(e) & 1) != 0; break;
        case 256: shape.width = value(e); break;
        case 257: shape.height = value(e); break;
        case 258: shape.bits = value(e); break;
        case 277: shape.samples = value(e); break;
        case 339: shape.format = value(e); break;
        default: break;
      }
    }
    if (reduced && !index_.pages.empty()) {
      ++index_.reduced;
      return;
    }
    if (index_.pages.empty()) {
      index_.shape = shape;
    } else if (index_.odd_page < 0 && shape != index_.shape) {
      index_.odd_page = int64_t(index_.pages.size());
      index_.odd_shape = shape;
    }
    index_.pages.push_back(offset);
  }

  /// First number of an entry of type BYTE, SHORT, LONG or LONG8; 0 if it is none of these.
  uint64_t value(const uint8_t* e) const {
    const uint64_t type = bytes_.number(e + 2, 2);
    const int width = type == 1 ? 1 : type == 3 ? 2 : type == 4 ? 4 : type == 16 ? 8 : 0;
    if (width == 0) return 0;
    const int field = index_.bigtiff ? 8 : 4;
    const uint64_t count = bytes_.number(e + 4, field);
    const uint8_t* inside = e + 4 + field;
    if (count == 0) return 0;
    if (count <= uint64_t(field / width)) return bytes_.number(inside, width);
    std::array<uint8_t, 8> far{};
    const uint64_t where = bytes_.number(inside, field);
    if (where >= file_.size() || file_.read_some(where, far.data(), size_t(width)) != size_t(width)) return 0;
    return bytes_.number(far.data(), width);
  }

  const RandomFile& file_;
  TiffBytes bytes_{false};
  TiffIndex index_;
  std::vector<uint8_t> buffer_;
};

/// Finds all pages of a TIFF file. FileError: not a TIFF, or no page can be found.
inline TiffIndex index_tiff(const RandomFile& file) { return TiffWalk(file).run(); }

}  // namespace voxgrad::io
