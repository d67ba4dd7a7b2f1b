// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Reads the golden tables: JSON as Python writes it. Numbers, strings without escapes, arrays, objects, true, false, null.

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "voxgrad/core/error.hpp"

namespace voxgrad::test {

struct Json {
  enum Kind { null, boolean, number, string, array, object } kind = null;
  double value = 0;  ///< also of true and false
  std::string text_value;
  std::vector<Json> items;
  std::map<std::string, Json> members;

  bool has(const std::string& key) const { return members.count(key) > 0; }
  const Json& operator[](const std::string& key) const {
    const auto it = members.find(key);
    check<FileError>(it != members.end(), "golden table: no '", key, "'");
    return it->second;
  }
  double get(const std::string& key, double fallback) const { return has(key) && (*this)[key].kind == number ? (*this)[key].value : fallback; }
  std::string get(const std::string& key, const std::string& fallback) const { return has(key) ? (*this)[key].text_value : fallback; }
  std::vector<double> numbers() const {
    std::vector<double> v;
    for (const Json& j : items) v.push_back(j.value);
    return v;
  }
};

class JsonReader {
 public:
  explicit JsonReader(const std::string& path) : path_(path) {
    std::ifstream file(path, std::ios::binary);
    check<FileError>(file.good(), path, ": cannot be opened");
    text_.assign(std::istreambuf_iterator<char>(file), {});
  }
  Json read() { return value(); }

 private:
  void space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) ++at_;
  }
  char peek() {
    space();
    check<FileError>(at_ < text_.size(), path_, ": ends early");
    return text_[at_];
  }
  void take(char c) {
    check<FileError>(peek() == c, path_, ": expected '", c, "' at byte ", at_, ", found '", text_[at_], "'");
    ++at_;
  }
  bool next(char end) {  // after an item: ',' goes on, `end` does not
    const bool more = peek() == ',';
    take(more ? ',' : end);
    return more;
  }
  std::string word() {
    take('"');
    const size_t end = text_.find('"', at_);
    check<FileError>(end != std::string::npos, path_, ": a string does not end");
    const std::string s = text_.substr(at_, end - at_);
    at_ = end + 1;
    return s;
  }
  Json value() {
    Json j;
    const char c = peek();
    if (c == '{') {
      j.kind = Json::object;
      take('{');
      if (peek() == '}') return take('}'), j;
      do {
        const std::string key = word();
        take(':');
        j.members[key] = value();
      } while (next('}'));
    } else if (c == '[') {
      j.kind = Json::array;
      take('[');
      if (peek() == ']') return take(']'), j;
      do j.items.push_back(value());
      while (next(']'));
    } else if (c == '"') {
      j.kind = Json::string;
      j.text_value = word();
    } else if (text_.compare(at_, 4, "true") == 0 || text_.compare(at_, 5, "false") == 0) {
      j.kind = Json::boolean;
      j.value = c == 't';
      at_ += c == 't' ? 4 : 5;
    } else if (text_.compare(at_, 4, "null") == 0) {
      at_ += 4;
    } else {
      j.kind = Json::number;
      char* end = nullptr;
      j.value = std::strtod(text_.c_str() + at_, &end);
      check<FileError>(end != text_.c_str() + at_, path_, ": no value at byte ", at_);
      at_ = size_t(end - text_.c_str());
    }
    return j;
  }

  std::string path_, text_;
  size_t at_ = 0;
};

}  // namespace voxgrad::test
