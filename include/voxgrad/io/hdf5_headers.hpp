// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The object headers of an HDF5 file, walked before the library reads them (HDF5 File Format Specification 3.0, III and IV): every
// piece must lie within the file. libhdf5 1.10.8 reads outside of its memory for a header that goes on at byte 2^64 - 1.
//
// Walked are the headers that the root leads to by symbol tables and links inside headers, as small files and Keras write them. What
// this walk does not know (other sizes of addresses and lengths than 8 bytes, links in heaps, a broken tree) is left to the library.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <set>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/io/random_file.hpp"

namespace voxgrad::io::h5 {

class HeaderWalk {
 public:
  /// origin: where the superblock stands; the library counts addresses from there, whatever the superblock says.
  HeaderWalk(const RandomFile& file, uint64_t origin) : file_(file), origin_(origin), size_(file.size() - origin) {}

  /// Everything below the header at `root`. FileError naming the bytes that a piece claims.
  void run(uint64_t root) {
    todo_ = {root};
    while (!todo_.empty() && seen_.size() < most_objects) {
      const uint64_t at = todo_.back();
      todo_.pop_back();
      if (seen_.insert(at).second) header(at);
    }
  }

 private:
  static constexpr size_t most_objects = 20000;    // beyond, the walk would take longer than it is worth
  static constexpr uint64_t most_header = 1 << 26;  // bytes of one piece that are looked at
  enum Message : uint64_t { link = 0x06, continuation = 0x10, symbol_table = 0x11 };

  struct Piece {
    uint64_t begin, size;
  };
  using Bytes = std::vector<unsigned char>;

  static uint64_t number(const Bytes& b, size_t at, size_t width) {
    uint64_t v = 0;
    for (size_t i = width; i-- > 0;) v = v << 8 | b[at + i];
    return v;
  }
  bool has_signature(const Bytes& b, const char* text) const { return b.size() >= 4 && std::memcmp(b.data(), text, 4) == 0; }

  /// The bytes of a piece that must lie in the file.
  Bytes piece(const Piece& p, const char* what) const {
    check<FileError>(p.begin <= size_ && p.size <= size_ - p.begin, file_.path(), ": is damaged: ", what, " claims ", p.size,
                     " bytes from byte ", p.begin, " on, but the file has ", size_,
                     ". Compare its size with the original, or copy it again.");
    return some({p.begin, std::min(p.size, most_header)});
  }
  /// As many of them as there are.
  Bytes some(const Piece& p) const {
    if (p.begin >= size_) return {};
    Bytes b(size_t(std::min(p.size, size_ - p.begin)));
    b.resize(file_.read_some(origin_ + p.begin, b.data(), b.size()));
    return b;
  }

  void header(uint64_t at) {
    const Bytes b = some({at, 32});
    if (has_signature(b, "OHDR") && b.size() == 32) return new_header(at, b);
    if (b.size() < 16 || b[0] != 1) return;
    std::vector<Piece> pieces{{at + 16, number(b, 8, 4)}};
    for (size_t i = 0; i < pieces.size() && pieces.size() < most_objects; ++i) {
      const Bytes all = piece(pieces[i], i == 0 ? "the header of an object" : "the continued header of an object");
      for (size_t m = 0; m + 8 <= all.size();) {
        const size_t size = size_t(number(all, m + 2, 2));
        if (m + 8 + size > all.size()) break;
        message(number(all, m, 2), all, m + 8, size, pieces);
        m += 8 + size;
      }
    }
  }

  // Version 2: messages without padding, a checksum at the end of each piece, a signature before all but the first.
  void new_header(uint64_t at, const Bytes& b) {
    const unsigned flags = b[5];
    const size_t width = size_t(1) << (flags & 3), prefix = 6 + (flags & 0x20 ? 16 : 0) + (flags & 0x10 ? 4 : 0);
    if (prefix + width > b.size()) return;
    std::vector<Piece> pieces{{at + prefix + width, number(b, prefix, width)}};
    const size_t head = 4 + (flags & 4 ? 2 : 0);
    for (size_t i = 0; i < pieces.size() && pieces.size() < most_objects; ++i) {
      const Bytes all = piece(pieces[i], i == 0 ? "the header of an object" : "the continued header of an object");
      const size_t end = i == 0 ? all.size() : all.size() - std::min<size_t>(all.size(), 4);  // the checksum
      for (size_t m = i == 0 ? 0 : 4; m + head <= end;) {
        const size_t size = size_t(number(all, m + 1, 2));
        if (m + head + size > end) break;
        message(all[m], all, m + head, size, pieces);
        m += head + size;
      }
    }
  }

  void message(uint64_t type, const Bytes& all, size_t at, size_t size, std::vector<Piece>& pieces) {
    if (type == continuation || type == symbol_table)  // the library reads both whatever size they give
      check<FileError>(size >= 16, file_.path(), ": is damaged: a message of an object header has ", size,
                       " bytes where 16 belong. Compare its size with the original, or copy it again.");
    if (type == continuation) pieces.push_back({number(all, at, 8), number(all, at + 8, 8)});
    if (type == symbol_table) tree(number(all, at, 8));
    if (type == link) hard_link(all, at, size);
  }

  void hard_link(const Bytes& all, size_t at, size_t size) {
    if (size < 2) return;
    const unsigned flags = all[at + 1];
    size_t p = 2;
    if (flags & 8) {
      if (p >= size || all[at + p] != 0) return;  // a soft or external one
      ++p;
    }
    p += (flags & 4 ? 8 : 0) + (flags & 0x10 ? 1 : 0);
    const size_t width = size_t(1) << (flags & 3);
    if (p + width > size) return;
    const uint64_t name = number(all, at + p, width);
    p += width;
    if (name > size || p + name + 8 > size) return;
    todo_.push_back(number(all, at + p + size_t(name), 8));
  }

  // A group's B-tree of version 1 and the tables of symbols under it.
  void tree(uint64_t root) {
    std::vector<uint64_t> nodes{root};
    while (!nodes.empty() && seen_.size() < most_objects) {
      const uint64_t at = nodes.back();
      nodes.pop_back();
      if (!seen_.insert(at).second) continue;
      const Bytes head = some({at, 24});
      if (has_signature(head, "TREE") && head.size() == 24) {
        const uint64_t children = number(head, 6, 2);
        const Bytes rows = some({at + 24, 16 * children + 8});
        for (size_t i = 0; i < children && 16 * i + 16 <= rows.size(); ++i) nodes.push_back(number(rows, 16 * i + 8, 8));
      } else if (has_signature(head, "SNOD")) {
        const uint64_t symbols = number(head, 6, 2);
        const Bytes rows = some({at + 8, 40 * symbols});
        for (size_t i = 0; 40 * i + 40 <= rows.size(); ++i) todo_.push_back(number(rows, 40 * i + 8, 8));
      }
    }
  }

  const RandomFile& file_;
  uint64_t origin_, size_;
  std::vector<uint64_t> todo_;
  std::set<uint64_t> seen_;
};

}  // namespace voxgrad::io::h5
