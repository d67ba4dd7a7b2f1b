// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What torch.save wrote, without Python: every tensor and every plain value under its name. A checkpoint is a dictionary of
// dictionaries; the value of {"model": {"conv.weight": w}} is called "model.conv.weight", items of lists go by number.
// Nothing in the file is run (pickle.hpp).

#include <map>
#include <optional>
#include <variant>

#include "voxgrad/core/tensor.hpp"
#include "voxgrad/io/torch_container.hpp"

namespace voxgrad::io {

/// A number, text or None beside the tensors; numbers of NumPy included.
struct TorchScalar {
  std::string name;
  std::variant<std::monostate, bool, int64_t, double, std::string> value;
};

class TorchArchive {
 public:
  static constexpr size_t max_depth = 200, max_name = 4096, max_values = 20'000'000;

  /// Reads all names, shapes and scalars, and checks that each tensor's values are there. FileError: see TorchContainer;
  /// or a value of an unknown kind.
  explicit TorchArchive(const std::string& path) : file_(path) {
    name_.reserve(256);
    walk(file_.pickle().root(), 0);
    std::map<std::string, const TorchTensor*> storages;
    for (const TorchTensor& t : tensors_) {
      check<FileError>(by_name_.emplace(t.name, &t).second, path, ": two tensors are called '", t.name, "'.");
      const TorchTensor*& s = storages.emplace(t.storage, &t).first->second;
      check<FileError>(s->type == t.type && s->storage_elements == t.storage_elements, path, ": '", s->name, "' and '", t.name,
                       "' share a storage but not its type and size.");
    }
    file_.locate(storages);
  }
  TorchArchive(const TorchArchive&) = delete;
  TorchArchive& operator=(const TorchArchive&) = delete;

  /// In the file's order.
  const std::vector<TorchTensor>& tensors() const { return tensors_; }
  const std::vector<TorchScalar>& scalars() const { return scalars_; }
  const TorchTensor* find(const std::string& name) const {
    const auto it = by_name_.find(name);
    return it == by_name_.end() ? nullptr : it->second;
  }
  /// Written by PyTorch before 1.6.
  bool legacy() const { return file_.legacy(); }
  const std::string& path() const { return file_.path(); }

  /// The elements of one tensor in row-major order, little-endian, as they are stored.
  std::vector<unsigned char> bytes(const TorchTensor& t) {
    if (!last_ || last_->first != t.storage) last_ = {t.storage, file_.storage(t.storage)};  // views of one storage often follow each other
    return t.gather(last_->second);
  }
  /// The same as f32 (float32, float16, bfloat16) or f64 (float64, integers, bool); at most Shape::max_rank axes.
  Tensor tensor(const TorchTensor& t) {
    check<FileError>(t.shape.size() <= size_t(Shape::max_rank), path(), ": '", t.name, "' has ", t.shape.size(), " axes (expected at most ",
                     Shape::max_rank, ").");
    const std::vector<unsigned char> raw = bytes(t);
    Tensor out(Shape(t.shape.begin(), t.shape.end()), t.type->code == "F32" || t.type->code == "F16" || t.type->code == "BF16" ? DType::f32 : DType::f64);
    visit(out.dtype(), [&](auto zero) { decode_elements(raw, t.type->code, out.mutable_span<decltype(zero)>()); });
    return out;
  }

 private:
  using Id = Pickle::Id;
  using Kind = Pickle::Kind;
  const Pickle& p() const { return file_.pickle(); }
  [[noreturn]] void fail(const std::string& what) const {
    throw FileError(text(path(), ": '", name_.empty() ? "(root)" : name_.size() > 100 ? name_.substr(0, 100) + "..." : name_, "' ", what, "."));
  }

  /// Adds what lies below one value; `name_` is its name. A list in itself ends at the depth limit, a list used a thousand
  /// times a thousand times at the count of values.
  void walk(Id id, size_t depth) {
    if (++visited_ > max_values) fail(text("is beyond the first ", max_values, " values, the limit"));
    if (depth > max_depth) fail(text("is nested deeper than ", max_depth, " levels"));
    switch (p().kind(id)) {
      case Kind::none: return add({});
      case Kind::boolean: return add(p().integer(id) != 0);
      case Kind::integer: return add(p().integer(id));
      case Kind::real: return add(p().real(id));
      case Kind::text: return add(std::string(p().text(id)));
      case Kind::big_integer: return add("(whole number beyond 64 bits)");
      case Kind::tuple: case Kind::list:
        for (size_t i = 0; i < p().items(id).size(); ++i) below(std::to_string(i), p().items(id)[i], depth);
        return;
      case Kind::dict:
        for (size_t i = 0; i + 1 < p().items(id).size(); i += 2) below(key(p().items(id)[i]), p().items(id)[i + 1], depth);
        return;
      case Kind::call: return call(id);
      case Kind::global: fail(text("is the name '", p().global(id).name, "' itself (expected a value)"));
      case Kind::persistent: fail("is a bare storage (expected a tensor)");
    }
  }
  void below(const std::string& part, Id id, size_t depth) {
    const size_t length = name_.size();
    if (length) name_ += '.';
    name_ += part;
    if (name_.size() > max_name) fail(text("has a name of more than ", max_name, " bytes"));
    walk(id, depth + 1);
    name_.resize(length);
  }
  std::string key(Id id) const {
    if (p().kind(id) == Kind::text) {
      if (p().text(id).size() > max_name) fail(text("has a key of more than ", max_name, " bytes"));
      return std::string(p().text(id));
    }
    if (p().kind(id) == Kind::integer) return std::to_string(p().integer(id));
    fail("has a key that is neither a text nor a whole number");
  }
  template <class T>
  void add(T value) { scalars_.push_back({name_, std::move(value)}); }
  void add(std::monostate) { scalars_.push_back({name_, {}}); }

  void call(Id id) {
    const std::string_view name = p().global(id).name;
    const std::vector<Id>& a = p().items(p().items(id)[0]);
    if (name == "_rebuild_parameter") {  // (tensor, requires_grad, hooks)
      if (a.empty() || p().kind(a[0]) != Kind::call || p().global(a[0]).name == name) fail("is a parameter of no tensor");
      call(a[0]);
    } else if (name.starts_with("_rebuild_tensor")) {
      tensor_of(a);
    } else if (name == "scalar") {
      numpy_scalar(a);
    } else {
      fail(text("is a bare '", p().global(id).module, ".", name, "' (expected a tensor, a number, a text, a list or a dictionary)"));
    }
  }

  int64_t whole(Id id) const {
    if (p().kind(id) != Kind::integer) fail("has a tensor with an extent, stride or offset that is no whole number");
    return p().integer(id);
  }
  std::vector<int64_t> wholes(Id id) const {
    if (p().kind(id) != Kind::tuple && p().kind(id) != Kind::list) fail("has a tensor whose shape or strides are no tuple");
    std::vector<int64_t> all;
    if (p().items(id).size() > 64) fail("has a tensor with more than 64 axes");
    for (const Id i : p().items(id)) all.push_back(whole(i));
    return all;
  }
  /// (storage, offset, shape, strides, ...); the storage is ('storage', class, key, device, elements[, None]).
  void tensor_of(const std::vector<Id>& a) {
    if (a.size() < 4 || p().kind(a[0]) != Kind::persistent) fail("is a tensor without a storage");
    const Id named = p().items(a[0])[0];
    const std::vector<Id> s = p().kind(named) == Kind::tuple ? p().items(named) : std::vector<Id>{};
    if (s.size() < 5 || s.size() > 6 || p().kind(s[0]) != Kind::text || p().text(s[0]) != "storage" || p().kind(s[1]) != Kind::global ||
        p().kind(s[2]) != Kind::text)
      fail("has a storage that is not named as PyTorch names storages");
    if (s.size() == 6 && p().kind(s[5]) != Kind::none) fail("is a view of a part of a storage, as only PyTorch before 0.4 wrote. Load it there and save it again");
    TorchTensor t;
    t.name = name_.empty() ? "tensor" : name_;
    for (const TorchType& type : torch_types)
      if (p().global(s[1]).module == "torch" && p().global(s[1]).name == type.storage) t.type = &type;
    if (!t.type) fail("has a storage of no known type");
    t.storage = p().text(s[2]);
    if (t.storage.size() > max_name) fail("has a storage with a key that is too long");
    t.storage_elements = whole(s[4]);
    t.offset = whole(a[1]);
    t.shape = wholes(a[2]);
    t.strides = wholes(a[3]);
    if (const std::string problem = t.problem(); !problem.empty()) fail(problem);
    tensors_.push_back(std::move(t));
  }

  /// scalar(dtype('f8', ...) with state (3, '<', ...), encode(text, 'latin1')): each code point of the text is one byte.
  void numpy_scalar(const std::vector<Id>& a) {
    const auto is_call = [&](Id id, std::string_view name) { return p().kind(id) == Kind::call && p().global(id).name == name; };
    if (a.size() != 2 || !is_call(a[0], "dtype") || !is_call(a[1], "encode")) fail("is a NumPy number that is not stored as NumPy does");
    const std::vector<Id>& made = p().items(a[0]);
    const std::vector<Id>& arguments = p().items(made[0]);
    const std::vector<Id>& coded = p().items(p().items(a[1])[0]);
    const bool has_state = made.size() == 2 && p().kind(made[1]) == Kind::tuple && p().items(made[1]).size() >= 2 && p().kind(p().items(made[1])[1]) == Kind::text;
    if (arguments.empty() || p().kind(arguments[0]) != Kind::text || !has_state || coded.empty() || p().kind(coded[0]) != Kind::text)
      fail("is a NumPy number that is not stored as NumPy does");
    const std::string_view type = p().text(arguments[0]), order = p().text(p().items(made[1])[1]);
    std::string_view code;
    for (const auto& [numpy, ours] : {std::pair<std::string_view, std::string_view>{"f8", "F64"}, {"f4", "F32"}, {"f2", "F16"}, {"i8", "I64"},
                                      {"i4", "I32"}, {"i2", "I16"}, {"i1", "I8"}, {"u4", "U32"}, {"u2", "U16"}, {"u1", "U8"}, {"b1", "BOOL"}})
      if (type == numpy) code = ours;
    if (code.empty() || order == ">") fail(text("is a NumPy number of a type that is not read (f8, f4, f2, i1 to i8, u1 to u4 and b1 are, little-endian)"));
    std::vector<unsigned char> raw;
    const std::string_view s = p().text(coded[0]);
    if (s.size() > 16) fail("is a NumPy number with too many bytes");
    for (size_t i = 0; i < s.size(); ++i) {
      const auto c = static_cast<unsigned char>(s[i]);
      if (c < 0x80) raw.push_back(c);
      else if ((c == 0xC2 || c == 0xC3) && i + 1 < s.size()) raw.push_back(static_cast<unsigned char>((c & 3) << 6 | (static_cast<unsigned char>(s[++i]) & 63)));
      else fail("is a NumPy number whose bytes are damaged");
    }
    if (raw.size() != element_width(code)) fail(text("is a NumPy number of ", raw.size(), " bytes (expected ", element_width(code), ")"));
    if (code == "I64") {  // exact
      uint64_t v = 0;
      for (size_t i = 8; i-- > 0;) v = v << 8 | raw[i];
      return add(int64_t(v));
    }
    double value = 0;
    decode_elements(raw, code, std::span(&value, 1));
    if (code == "BOOL") add(value != 0);
    else if (code[0] == 'F') add(value);
    else add(int64_t(value));
  }

  TorchContainer file_;
  std::string name_;
  size_t visited_ = 0;
  std::vector<TorchTensor> tensors_;
  std::vector<TorchScalar> scalars_;
  std::map<std::string, const TorchTensor*> by_name_;
  std::optional<std::pair<std::string, std::string>> last_;  ///< key, bytes
};

}  // namespace voxgrad::io
