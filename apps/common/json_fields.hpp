// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Reading a JSON object field by field, each with its type and range. For the .cpp files that read JSON alone.

#include <array>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "voxgrad/core/error.hpp"

namespace voxgrad::app {

/// Fields of one JSON object into variables, which keep their value when the field is missing; a wrong one is a FileError
/// "NAME: 'prefixkey' is FOUND (expected ...).". What was not asked for is left over.
class JsonFields {
  using json = nlohmann::json;

 public:
  JsonFields(const json& object, std::string name, std::string prefix = "")
      : object_(object), name_(std::move(name)), prefix_(std::move(prefix)) {
    for (const auto& [key, value] : object.items()) left_.insert(key);
  }

  /// The field's value, null when it is missing; counts as asked for.
  const json& raw(const char* key) {
    static const json none;
    left_.erase(key);
    const auto found = object_.find(key);
    return found == object_.end() ? none : *found;
  }
  bool has(const char* key) const { return object_.contains(key); }
  void ignore(const char* key) { left_.erase(key); }
  const std::set<std::string>& left() const { return left_; }

  [[noreturn]] void refuse(const char* key, const json& found, const std::string& expected) const {
    throw FileError(text(name_, ": '", prefix_, key, "' is ", found.dump(-1, ' ', false, json::error_handler_t::replace),
                         " (expected ", expected, ")."));
  }

  void integer(const char* key, int64_t& to, int64_t low, int64_t high) {
    if (const json& v = raw(key); has(key)) to = integer_of(key, v, low, high);
  }
  void optional_integer(const char* key, std::optional<int64_t>& to, int64_t low, int64_t high) {
    if (const json& v = raw(key); has(key)) {
      if (v.is_null()) to.reset();
      else to = integer_of(key, v, low, high);
    }
  }
  void real(const char* key, double& to, double low, double high) {
    if (const json& v = raw(key); has(key)) to = real_of(key, v, low, high);
  }
  void flag(const char* key, bool& to) {
    const json& v = raw(key);
    if (!has(key)) return;
    if (!v.is_boolean()) refuse(key, v, "true or false");
    to = v.get<bool>();
  }
  void word(const char* key, std::string& to) {
    const json& v = raw(key);
    if (!has(key)) return;
    if (!v.is_string()) refuse(key, v, "a text");
    to = v.get<std::string>();
  }
  /// Three numbers, or one for all axes.
  void triple(const char* key, std::array<int64_t, 3>& to, int64_t low, int64_t high) {
    const json& v = raw(key);
    if (!has(key)) return;
    if (v.is_number()) {
      to.fill(integer_of(key, v, low, high));
      return;
    }
    if (!v.is_array() || v.size() != 3) refuse(key, v, "a list of three integers, for z, y and x");
    for (size_t a = 0; a < 3; ++a) to[a] = integer_of(key, v[a], low, high);
  }
  void reals(const char* key, std::vector<double>& to, size_t count, const char* of_what) {
    const json& v = raw(key);
    if (!has(key)) return;
    if (!v.is_array() || v.size() != count) refuse(key, v, text("a list of ", count, " numbers, ", of_what));
    to.clear();
    for (const json& e : v) to.push_back(real_of(key, e, 0, 1e12));
  }
  void positive_triple(const char* key, std::optional<std::array<double, 3>>& to) {
    const json& v = raw(key);
    if (!has(key) || v.is_null()) return;
    if (!v.is_array() || v.size() != 3) refuse(key, v, "null or a list of three numbers, for z, y and x");
    to.emplace();
    for (size_t a = 0; a < 3; ++a) {
      (*to)[a] = real_of(key, v[a], 0, 1e6);
      if ((*to)[a] == 0) refuse(key, v, "numbers above 0");
    }
  }

  int64_t integer_of(const char* key, const json& v, int64_t low, int64_t high) const {
    const bool whole = v.is_number_integer() || (v.is_number_float() && v.get<double>() == std::floor(v.get<double>()));
    const double d = v.is_number() ? v.get<double>() : 0;
    if (!whole || d < double(low) || d > double(high)) refuse(key, v, text("an integer from ", low, " to ", high));
    return int64_t(d);
  }
  double real_of(const char* key, const json& v, double low, double high) const {
    if (!v.is_number() || !(v.get<double>() >= low && v.get<double>() <= high))
      refuse(key, v, text("a number from ", low, " to ", high));
    return v.get<double>();
  }

 private:
  const json& object_;
  std::string name_, prefix_;
  std::set<std::string> left_;
};

}  // namespace voxgrad::app
