// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The JSON header of a safetensors file: only the few shapes of JSON that the format allows, and every check on them.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "voxgrad/core/error.hpp"

namespace voxgrad::io {

/// Type, shape and place of one tensor; offsets count from the end of the header.
struct SafeTensorInfo {
  std::string dtype;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;

  /// Bytes per element; 0 for a type the format does not know.
  size_t width() const {
    for (auto [name, bytes] : {std::pair{"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8}, {"I32", 4}, {"I16", 2},
                               {"I8", 1}, {"U64", 8}, {"U32", 4}, {"U16", 2}, {"U8", 1}, {"BOOL", 1}})
      if (dtype == name) return size_t(bytes);
    return 0;
  }
  /// Element count times width; a FileError when the type is unknown or the product overflows.
  uint64_t expected_bytes(const std::string& path, const std::string& name) const {
    uint64_t n = width();
    check<FileError>(n != 0, path, ": '", name, "' has the unknown type '", dtype, "'");
    for (int64_t e : shape) {
      check<FileError>(e >= 0, path, ": '", name, "' has a negative extent");
      check<FileError>(!__builtin_mul_overflow(n, uint64_t(e), &n), path, ": the shape of '", name, "' overflows");
    }
    return n;
  }
};

struct SafeTensorsHeader {
  std::map<std::string, SafeTensorInfo> tensors;
  std::vector<std::string> order;  ///< names by offset
  std::map<std::string, std::string> metadata;
};

/// Reads the header's JSON token by token; each failure names the file and the position.
class SafeTensorsParser {
 public:
  SafeTensorsParser(std::string_view json, const std::string& path) : s_(json), path_(path) {}

  void expect(char c) {
    blanks();
    if (at_ >= s_.size() || s_[at_] != c) fail(text("expected '", c, "'"));
    ++at_;
  }
  bool take(char c) {
    blanks();
    if (at_ >= s_.size() || s_[at_] != c) return false;
    ++at_;
    return true;
  }
  std::string string() {
    expect('"');
    std::string out;
    while (at_ < s_.size() && s_[at_] != '"') {
      if (s_[at_] != '\\') {
        if (static_cast<unsigned char>(s_[at_]) < 0x20) fail("control character in a string");
        out += s_[at_++];
        continue;
      }
      if (++at_ >= s_.size()) break;
      const char c = s_[at_++];
      const std::string_view plain = "\"\\/bfnrt", meaning = "\"\\/\b\f\n\r\t";
      if (const size_t k = plain.find(c); k != plain.npos) out += meaning[k];
      else if (c == 'u') utf8(code_point(), out);
      else fail("unknown escape in a string");
    }
    if (at_ >= s_.size()) fail("unterminated string");
    ++at_;
    return out;
  }
  int64_t integer() {
    blanks();
    const size_t start = at_;
    int64_t v = 0;
    for (; at_ < s_.size() && s_[at_] >= '0' && s_[at_] <= '9'; ++at_)
      if (__builtin_mul_overflow(v, int64_t(10), &v) || __builtin_add_overflow(v, int64_t(s_[at_] - '0'), &v))
        fail("number too large");
    if (at_ == start) fail("expected a whole number from 0");
    return v;
  }
  std::vector<int64_t> integers() {
    std::vector<int64_t> out;
    expect('[');
    if (take(']')) return out;
    do out.push_back(integer());
    while (take(','));
    expect(']');
    return out;
  }
  void end() {
    blanks();
    if (at_ != s_.size()) fail("text after the header");
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw FileError(text(path_, ": damaged safetensors header at byte ", at_, ": ", what));
  }

 private:
  void blanks() {
    while (at_ < s_.size() && (s_[at_] == ' ' || s_[at_] == '\n' || s_[at_] == '\t' || s_[at_] == '\r')) ++at_;
  }
  uint32_t hex4() {
    uint32_t v = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const size_t digit = at_ < s_.size() ? std::string_view("0123456789abcdefABCDEF").find(s_[at_]) : std::string_view::npos;
      if (digit == std::string_view::npos) fail("damaged \\u escape");
      v = v * 16 + uint32_t(digit > 15 ? digit - 6 : digit);
    }
    return v;
  }
  uint32_t code_point() {
    const uint32_t first = hex4();
    if (first < 0xD800 || first > 0xDFFF) return first;
    if (first > 0xDBFF || s_.substr(at_, 2) != "\\u") fail("lone surrogate");
    at_ += 2;
    const uint32_t second = hex4();
    if (second < 0xDC00 || second > 0xDFFF) fail("lone surrogate");
    return 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
  }
  static void utf8(uint32_t c, std::string& out) {
    const int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    const uint32_t lead[] = {0, 0xC0, 0xE0, 0xF0};
    out += char(lead[more] | c >> (6 * more));
    for (int i = more; i-- > 0;) out += char(0x80 | (c >> (6 * i) & 0x3F));
  }

  std::string_view s_;
  const std::string& path_;
  size_t at_ = 0;
};

/// Parses and checks a header: known types, sizes that agree with shapes, and tensors that cover `data_bytes` without
/// gap or overlap.
inline SafeTensorsHeader parse_safetensors_header(std::string_view json, uint64_t data_bytes, const std::string& path) {
  SafeTensorsHeader header;
  SafeTensorsParser p(json, path);
  check<FileError>(!json.empty() && json[0] == '{', path, ": not a safetensors file (its header does not start with '{')");
  p.expect('{');
  std::map<std::pair<uint64_t, uint64_t>, std::vector<std::string>> by_place;
  if (!p.take('}')) {
    do {
      const std::string name = p.string();
      p.expect(':');
      p.expect('{');
      if (name == "__metadata__") {
        if (p.take('}')) continue;
        do {
          const std::string key = p.string();
          p.expect(':');
          header.metadata[key] = p.string();
        } while (p.take(','));
        p.expect('}');
        continue;
      }
      SafeTensorInfo info;
      bool has_dtype = false, has_shape = false, has_offsets = false;
      do {
        const std::string key = p.string();
        p.expect(':');
        if (key == "dtype") info.dtype = p.string(), has_dtype = true;
        else if (key == "shape") info.shape = p.integers(), has_shape = true;
        else if (key == "data_offsets") {
          const std::vector<int64_t> o = p.integers();
          if (o.size() != 2 || o[0] > o[1]) p.fail("data_offsets of '" + name + "' are not [begin, end]");
          info.begin = uint64_t(o[0]), info.end = uint64_t(o[1]), has_offsets = true;
        } else p.fail("unknown key '" + key + "' for '" + name + "'");
      } while (p.take(','));
      p.expect('}');
      if (!has_dtype || !has_shape || !has_offsets) p.fail("'" + name + "' lacks dtype, shape or data_offsets");
      const uint64_t bytes = info.expected_bytes(path, name);
      check<FileError>(info.end <= data_bytes, path, ": '", name, "' ends at byte ", info.end, " of ", data_bytes, " (truncated copy?)");
      check<FileError>(info.end - info.begin == bytes, path, ": '", name, "' needs ", bytes, " bytes, its offsets give ",
                       info.end - info.begin);
      check<FileError>(header.tensors.emplace(name, info).second, path, ": '", name, "' appears twice");
      by_place[{info.begin, info.end}].push_back(name);
    } while (p.take(','));
    p.expect('}');
  }
  p.end();
  uint64_t at = 0;
  for (const auto& [place, names] : by_place) {
    check<FileError>(place.first == at && (names.size() == 1 || place.first == place.second), path, ": '", names.back(),
                     "' leaves a gap or overlaps another tensor");
    at = place.second;
    header.order.insert(header.order.end(), names.begin(), names.end());
  }
  check<FileError>(at == data_bytes, path, ": ", data_bytes - at, " bytes after the last tensor belong to none");
  return header;
}

/// A JSON string literal.
inline std::string json_string(std::string_view s) {
  std::string out = "\"";
  for (char c : s) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (u < 0x20) {
      const char* hex = "0123456789abcdef";
      out += "\\u00";
      out += hex[u >> 4];
      out += hex[u & 15];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace voxgrad::io
