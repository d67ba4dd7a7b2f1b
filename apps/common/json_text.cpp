// SPDX-License-Identifier: BSD-3-Clause
// JSON as text: escaping, numbers that read back exactly.

#include "json_text.hpp"

#include <charconv>
#include <cmath>
#include <cstdio>

namespace voxgrad::app {

std::string number_text(double value) {
  if (!std::isfinite(value)) return "null";
  char buffer[32];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value);
  return error == std::errc() ? std::string(buffer, end) : "null";
}

std::string json_quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (code < 0x20 || code == 0x7f) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", unsigned(code));
      out += escape;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

JsonValue::JsonValue(double value) : text_(number_text(value)) {}
JsonValue::JsonValue(std::string_view value) : text_(json_quote(value)) {}
JsonValue::JsonValue(const Fields& object) : text_(json_object(object)) {}

JsonValue::JsonValue(const std::vector<JsonValue>& array) : text_("[") {
  for (const JsonValue& value : array) text_ += (text_.size() > 1 ? ", " : "") + value.text();
  text_ += "]";
}

JsonValue JsonValue::null() { return JsonValue(std::nan("")); }

std::string json_object(const Fields& fields) {
  std::string out = "{";
  for (const auto& [key, value] : fields)
    out += (out.size() > 1 ? ", " : "") + json_quote(key) + ": " + value.text();
  return out + "}";
}

}  // namespace voxgrad::app
