// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Writing JSON without a library: values become text at once, fields keep their order.

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace voxgrad::app {

class JsonValue;
using Fields = std::vector<std::pair<std::string, JsonValue>>;

/// A finished JSON value. Not-a-number and infinity, which JSON lacks, become null.
class JsonValue {
 public:
  JsonValue(bool value) : text_(value ? "true" : "false") {}
  JsonValue(double value);
  JsonValue(float value) : JsonValue(double(value)) {}
  template <std::integral T>
  requires(!std::same_as<T, bool>) JsonValue(T value) : text_(std::to_string(value)) {}
  JsonValue(const char* value) : JsonValue(std::string_view(value)) {}
  JsonValue(const std::string& value) : JsonValue(std::string_view(value)) {}
  JsonValue(std::string_view value);
  JsonValue(const Fields& object);
  JsonValue(const std::vector<JsonValue>& array);
  static JsonValue null();

  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

/// One line `{"a": 1, "b": "x"}`.
std::string json_object(const Fields& fields);
std::string json_quote(std::string_view text);
/// The shortest text that reads back as the same number; "null" when it is not finite.
std::string number_text(double value);

}  // namespace voxgrad::app
