// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A reader of Python pickles that cannot run anything. A pickle is a program for a small stack machine; Python's own machine
// imports and calls whatever the file names. This one knows the 33 opcodes that saved weights need, takes only names from
// a list given by the caller, and notes a call as a value. Everything else is refused at its opcode.
// The opcodes are described in Python's Lib/pickletools.py.

#include <cstring>

#include "voxgrad/io/pickle_value.hpp"

namespace voxgrad::io {

class PickleMachine {
 public:
  static constexpr size_t max_bytes = size_t(1) << 30, max_memo = 100'000'000, max_marks = 200, max_name = 4096;

  PickleMachine(std::shared_ptr<const std::string> bytes, size_t begin, std::span<const PickleGlobal> allowed, std::string source)
      : bytes_(*bytes), at_(begin), result_(std::move(bytes), allowed, std::move(source)) {
    if (bytes_.size() > max_bytes) fail(text("holds ", bytes_.size(), " bytes (expected at most ", max_bytes, ")"));
    add(Kind::none, 0);
    add(Kind::boolean, 0);
    add(Kind::boolean, 1);
    add_with(Kind::tuple, {});
  }

  /// Runs to STOP. FileError: damaged, or refused.
  Pickle run() {
    while (step()) {}
    return std::move(result_);
  }
  /// The first byte behind STOP.
  size_t end() const { return at_; }

 private:
  using Id = Pickle::Id;
  using Kind = Pickle::Kind;
  enum : Id { none = 0, no = 1, yes = 2, empty_tuple = 3 };  // values that take no memory each time

  /// One opcode; false at STOP.
  bool step() {
    opcode_at_ = at_;
    const auto opcode = static_cast<unsigned char>(take(1)[0]);
    switch (opcode) {
      case 0x80: {  // PROTO
        const uint64_t version = number(1);
        if (version > 2) fail(text("pickle protocol ", version, " (expected 2, which torch.save writes unless told otherwise)"));
        break;
      }
      case 'N': push(none); break;                                                   // NONE
      case 0x88: push(yes); break;                                                   // NEWTRUE
      case 0x89: push(no); break;                                                    // NEWFALSE
      case 'K': push(add(Kind::integer, int64_t(number(1)))); break;                 // BININT1
      case 'M': push(add(Kind::integer, int64_t(number(2)))); break;                 // BININT2
      case 'J': push(add(Kind::integer, int32_t(uint32_t(number(4))))); break;       // BININT
      case 0x8a: long1(); break;                                                     // LONG1
      case 'G': binfloat(); break;                                                   // BINFLOAT
      case 'X': push_text(number(4)); break;                                         // BINUNICODE
      case 'U': push_text(number(1)); break;                                         // SHORT_BINSTRING, of Python 2
      case 'T': push_text(number(4)); break;                                         // BINSTRING, of Python 2
      case ')': push(empty_tuple); break;                                            // EMPTY_TUPLE
      case ']': push(add_with(Kind::list, {})); break;                               // EMPTY_LIST
      case '}': push(add_with(Kind::dict, {})); break;                               // EMPTY_DICT
      case '(': mark(); break;                                                       // MARK
      case 't': push(add_with(Kind::tuple, pop_to_mark())); break;                   // TUPLE
      case 0x85: case 0x86: case 0x87: push(add_with(Kind::tuple, pop_many(opcode - 0x84u))); break;  // TUPLE1 to TUPLE3
      case 'a': extend(Kind::list, pop_many(1)); break;                              // APPEND
      case 'e': extend(Kind::list, pop_to_mark()); break;                            // APPENDS
      case 's': extend(Kind::dict, pop_many(2)); break;                              // SETITEM
      case 'u': extend(Kind::dict, pop_to_mark()); break;                            // SETITEMS
      case 'q': put(number(1)); break;                                               // BINPUT
      case 'r': put(number(4)); break;                                               // LONG_BINPUT
      case 'h': get(number(1)); break;                                               // BINGET
      case 'j': get(number(4)); break;                                               // LONG_BINGET
      case 'c': global(); break;                                                     // GLOBAL
      case 'Q': push(add_with(Kind::persistent, pop_many(1))); break;                // BINPERSID
      case 'R': reduce(); break;                                                     // REDUCE
      case 'b': build(); break;                                                      // BUILD
      case '.':                                                                      // STOP
        if (stack_.size() != 1 || !marks_.empty()) fail(text("ends with ", stack_.size(), " values on its stack (expected 1)"));
        result_.root_ = stack_[0];
        return false;
      default: refuse(opcode);
    }
    return true;
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw FileError(text(result_.source(), ", byte ", opcode_at_, ": ", what, "."));
  }
  [[noreturn]] void refuse(unsigned opcode) const {
    struct Known {
      unsigned code;
      const char* name;
    };
    static constexpr Known known[] = {
        {0x81, "NEWOBJ"}, {0x92, "NEWOBJ_EX"}, {'i', "INST"}, {'o', "OBJ"}, {0x93, "STACK_GLOBAL"}, {0x82, "EXT1"}, {0x83, "EXT2"},
        {0x84, "EXT4"}, {'P', "PERSID"}, {'0', "POP"}, {'1', "POP_MARK"}, {'2', "DUP"}, {'I', "INT"}, {'L', "LONG"}, {0x8b, "LONG4"},
        {'F', "FLOAT"}, {'S', "STRING"}, {'V', "UNICODE"}, {'B', "BINBYTES"}, {'C', "SHORT_BINBYTES"}, {'d', "DICT"}, {'l', "LIST"},
        {'p', "PUT"}, {'g', "GET"}, {0x8c, "SHORT_BINUNICODE"}, {0x8d, "BINUNICODE8"}, {0x8e, "BINBYTES8"}, {0x8f, "EMPTY_SET"},
        {0x90, "ADDITEMS"}, {0x91, "FROZENSET"}, {0x94, "MEMOIZE"}, {0x95, "FRAME"}, {0x96, "BYTEARRAY8"}, {0x97, "NEXT_BUFFER"},
        {0x98, "READONLY_BUFFER"}};
    for (const Known& k : known)
      if (k.code == opcode)
        fail(text("opcode ", k.name, " is refused, weights do not need it",
                  opcode == 0x81 || opcode == 'i' || opcode == 'o' ? " (it makes an object of a class; save model.state_dict() instead)" : ""));
    fail(text("there is no opcode ", opcode, ", the pickle is damaged"));
  }

  std::string_view take(size_t n) {
    if (n > bytes_.size() - at_) fail(text("the pickle ends at byte ", bytes_.size(), ", ", n - (bytes_.size() - at_), " bytes are missing"));
    at_ += n;
    return std::string_view(bytes_).substr(at_ - n, n);
  }
  uint64_t number(size_t bytes) {  // little-endian
    uint64_t v = 0;
    const std::string_view raw = take(bytes);
    for (size_t i = bytes; i-- > 0;) v = v << 8 | static_cast<unsigned char>(raw[i]);
    return v;
  }

  Id add(Kind kind, int64_t value, uint32_t length = 0) {
    result_.values_.emplace_back(kind, value, length);
    return Id(result_.values_.size() - 1);  // at most one per byte, and the bytes are counted in 31 bits
  }
  Id add_with(Kind kind, std::vector<Id> children, uint32_t global = 0) {
    result_.children_.push_back(std::move(children));
    return add(kind, int64_t(result_.children_.size() - 1), global);
  }
  void push(Id id) { stack_.push_back(id); }
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  std::vector<Id> pop_many(size_t n) {
    if (stack_.size() - floor() < n) fail("takes more from the stack than there is");
    std::vector<Id> all(stack_.end() - std::ptrdiff_t(n), stack_.end());
    stack_.resize(stack_.size() - n);
    return all;
  }
  std::vector<Id> pop_to_mark() {
    if (marks_.empty()) fail("has no mark on its stack");
    std::vector<Id> all = pop_many(stack_.size() - marks_.back());
    marks_.pop_back();
    return all;
  }
  Id top() const {
    if (stack_.size() == floor()) fail("takes more from the stack than there is");
    return stack_.back();
  }

  void mark() {
    if (marks_.size() == max_marks) fail(text("is nested deeper than ", max_marks, " levels"));
    marks_.push_back(stack_.size());
  }
  void push_text(uint64_t length) {
    const size_t start = at_;
    take(size_t(length));
    push(add(Kind::text, int64_t(at_ == start ? 0 : start), uint32_t(length)));
  }
  void long1() {
    const size_t n = size_t(number(1)), start = at_;
    if (n > 8) {
      take(n);
      return push(add(Kind::big_integer, int64_t(start), uint32_t(n)));
    }
    uint64_t v = number(n);
    if (n > 0 && n < 8 && v >> (8 * n - 1)) v |= ~uint64_t(0) << (8 * n);
    push(add(Kind::integer, int64_t(v)));
  }
  void binfloat() {  // big-endian
    uint64_t bits = 0;
    for (const char c : take(8)) bits = bits << 8 | static_cast<unsigned char>(c);
    push(add(Kind::real, 0));
    std::memcpy(&result_.values_.back().real, &bits, 8);
  }
  void extend(Kind kind, const std::vector<Id>& more) {
    const Id to = top();
    if (result_.kind(to) != kind) fail(kind == Kind::list ? "appends to what is no list" : "sets items of what is no dictionary");
    if (kind == Kind::dict && more.size() % 2) fail("sets a key without a value");
    std::vector<Id>& items = result_.children_[size_t(result_.values_[to].integer)];
    items.insert(items.end(), more.begin(), more.end());
  }

  void put(uint64_t index) {
    const Id id = top();
    // Numbers are given one by one; whatever else costs no more memory than the file has bytes.
    if (index > max_memo || index >= bytes_.size()) fail(text("memo number ", index, " is too large"));
    if (index >= memo_.size()) memo_.resize(size_t(index) + 1, unset);
    memo_[size_t(index)] = id;
  }
  void get(uint64_t index) {
    if (index >= memo_.size() || memo_[size_t(index)] == unset) fail(text("memo number ", index, " was never set"));
    push(memo_[size_t(index)]);
  }

  std::string_view line() {
    const size_t newline = bytes_.find('\n', at_);
    if (newline == std::string::npos || newline - at_ > max_name) fail(text("a name that does not end, or is longer than ", max_name, " bytes"));
    const std::string_view all = take(newline - at_);
    take(1);
    return all;
  }
  static std::string printable(std::string_view s) {
    std::string out;
    for (const char c : s.substr(0, 200)) out += c >= 32 && c < 127 ? c : '?';
    return out;
  }
  void global() {
    const std::string_view module = line(), name = line();
    for (size_t i = 0; i < result_.globals_.size(); ++i)
      if (result_.globals_[i].module == module && result_.globals_[i].name == name) return push(add(Kind::global, int64_t(i)));
    fail(text("asks for '", printable(module), ".", printable(name), "', which is not part of saved weights; it is refused and nothing was run. ",
              "In Python, save only the weights: torch.save(model.state_dict(), ...)"));
  }
  void reduce() {
    const std::vector<Id> both = pop_many(2);
    const Id callee = both[0], arguments = both[1];
    if (result_.kind(callee) != Kind::global) fail("calls what is no function; it is refused and nothing was run");
    if (result_.kind(arguments) != Kind::tuple) fail("calls with what is no tuple of arguments");
    const PickleGlobal& g = result_.global(callee);
    switch (g.makes) {
      case PickleGlobal::Makes::nothing: fail(text("calls '", g.module, ".", g.name, "', which may only be named; it is refused"));
      case PickleGlobal::Makes::list:
        if (!result_.items(arguments).empty()) fail("makes a list from something (expected an empty one)");
        return push(add_with(Kind::list, {}));
      case PickleGlobal::Makes::dict: return push(add_with(Kind::dict, pairs(arguments)));
      case PickleGlobal::Makes::call: return push(add_with(Kind::call, {arguments}, uint32_t(result_.values_[callee].integer)));
    }
  }
  /// Python 2 gives a dictionary's entries as a list of pairs; later ones set them afterwards. A default's maker is ignored.
  std::vector<Id> pairs(Id arguments) {
    std::vector<Id> all;
    if (result_.items(arguments).empty()) return all;
    const Id first = result_.items(arguments)[0];
    if (result_.items(arguments).size() == 1 && result_.kind(first) == Kind::global) return all;
    if (result_.items(arguments).size() != 1 || result_.kind(first) != Kind::list) fail("makes a dictionary from what is no list of pairs");
    for (const Id pair : result_.items(first)) {
      const bool is_pair = result_.kind(pair) == Kind::tuple || result_.kind(pair) == Kind::list;
      if (!is_pair || result_.items(pair).size() != 2) fail("makes a dictionary from what is no list of pairs");
      all.insert(all.end(), result_.items(pair).begin(), result_.items(pair).end());
    }
    copied_ += all.size();  // a list used again and again must not outgrow the file
    if (copied_ > bytes_.size()) fail("repeats a list of pairs too often");
    return all;
  }
  void build() {
    const Id state = pop_many(1)[0], to = top();
    if (result_.kind(to) == Kind::dict) return;  // attributes such as _metadata, versions of modules
    if (result_.kind(to) != Kind::call) fail("sets the state of what has none");
    std::vector<Id>& items = result_.children_[size_t(result_.values_[to].integer)];
    if (items.size() > 1) fail("sets a state twice");
    items.push_back(state);
  }

  static constexpr Id unset = ~Id(0);
  const std::string& bytes_;
  size_t at_, opcode_at_ = 0, copied_ = 0;
  Pickle result_;
  std::vector<Id> stack_, memo_;
  std::vector<size_t> marks_;
};

/// Reads one pickle from byte `begin` on; `end` gets the first byte behind it. `source` starts every message ("a.pt: data.pkl").
/// FileError: damaged, an opcode or a name that is not allowed, too deep, too large.
inline Pickle read_pickle(std::shared_ptr<const std::string> bytes, std::span<const PickleGlobal> allowed, const std::string& source,
                          size_t begin = 0, size_t* end = nullptr) {
  PickleMachine machine(std::move(bytes), begin, allowed, source);
  Pickle result = machine.run();
  if (end) *end = machine.end();
  return result;
}

}  // namespace voxgrad::io
