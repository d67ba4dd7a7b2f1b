// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What a pickle says, as plain values: numbers, texts, tuples, lists, dictionaries, and calls that were asked for but
// never made. Values lie in one array and refer to each other by number, so that nothing is ever walked recursively.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "voxgrad/core/error.hpp"

namespace voxgrad::io {

/// A name that a pickle may mention. `makes` says what a call of it stands for.
struct PickleGlobal {
  enum class Makes : uint8_t { nothing, dict, list, call };  ///< nothing: may be named, not called
  std::string_view module, name;
  Makes makes = Makes::nothing;
};

class Pickle {
 public:
  using Id = uint32_t;
  enum class Kind : uint8_t { none, boolean, integer, real, text, big_integer, tuple, list, dict, global, call, persistent };

  Pickle(std::shared_ptr<const std::string> bytes, std::span<const PickleGlobal> globals, std::string source)
      : bytes_(std::move(bytes)), globals_(globals), source_(std::move(source)) {}

  Kind kind(Id id) const { return values_[id].kind; }
  /// Kind integer or boolean.
  int64_t integer(Id id) const { return values_[id].integer; }
  double real(Id id) const { return values_[id].real; }
  /// Kind text; also the little-endian bytes of a big_integer.
  std::string_view text(Id id) const { return std::string_view(*bytes_).substr(size_t(values_[id].integer), values_[id].length); }
  /// Of a tuple or list its items; of a dictionary key, value, key, value ...; of a call its arguments (one tuple) and,
  /// if the pickle sets one, its state; of a persistent value the tuple that names it.
  const std::vector<Id>& items(Id id) const { return children_[size_t(values_[id].integer)]; }
  /// The name behind a global or a call.
  const PickleGlobal& global(Id id) const { return globals_[kind(id) == Kind::call ? values_[id].length : size_t(values_[id].integer)]; }
  Id root() const { return root_; }
  /// Where the bytes came from, for messages.
  const std::string& source() const { return source_; }

  /// The value of a key, or nullptr. `dict` must be a dictionary.
  const Id* find(Id dict, std::string_view key) const {
    const std::vector<Id>& all = items(dict);
    for (size_t i = 0; i + 1 < all.size(); i += 2)
      if (kind(all[i]) == Kind::text && text(all[i]) == key) return &all[i + 1];
    return nullptr;
  }

 private:
  friend class PickleMachine;
  struct Value {
    Kind kind = Kind::none;
    uint32_t length = 0;  ///< of a text; of a call the number of its global
    union {
      int64_t integer;  ///< the number; the text's place in the bytes; the place among children_; the number of the global
      double real;
    };
    Value(Kind k, int64_t v, uint32_t l = 0) : kind(k), length(l), integer(v) {}
  };
  std::shared_ptr<const std::string> bytes_;
  std::span<const PickleGlobal> globals_;
  std::string source_;
  std::vector<Value> values_;
  std::vector<std::vector<Id>> children_;
  Id root_ = 0;
};

}  // namespace voxgrad::io
