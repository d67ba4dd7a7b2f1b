// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Archives as torch.save writes them, which every PyTorch since 1.6 opens, and PyTorch 2 also with weights_only=True: plain dictionaries,
// lists, numbers, texts and tensors, nothing that would have to be called.

#include <cstring>

#include "voxgrad/core/tensor.hpp"
#include "voxgrad/io/stored_zip_write.hpp"
#include "voxgrad/io/torch_tensor.hpp"

namespace voxgrad::io {

/// Values in the order in which they are to stand: TorchWriter w; w.begin_dict(); w.key("step").value(7); w.end_dict(); w.write("a.pt");
class TorchWriter {
 public:
  TorchWriter& begin_dict() { return open("}(", 'u'); }
  /// The kind of dictionary that state_dict() returns.
  TorchWriter& begin_ordered_dict() { return open("ccollections\nOrderedDict\n)R(", 'u'); }
  TorchWriter& begin_list() { return open("](", 'e'); }
  TorchWriter& begin_tuple() { return open("(", 't'); }
  TorchWriter& end() {
    check<UsageError>(!open_.empty(), "torch_write: nothing is open to be ended");
    pickle_ += open_.back();
    open_.pop_back();
    return *this;
  }
  TorchWriter& key(const std::string& name) { return value(name); }
  TorchWriter& key(int64_t number) { return value(number); }

  TorchWriter& none() { return add("N"); }
  TorchWriter& value(bool v) { return add(v ? "\x88" : "\x89"); }
  TorchWriter& value(int64_t v) {
    if (v >= 0 && v < 256) return add("K" + little(uint64_t(v), 1));
    if (v >= 0 && v < 65536) return add("M" + little(uint64_t(v), 2));
    if (v >= INT32_MIN && v <= INT32_MAX) return add("J" + little(uint64_t(v), 4));
    return add("\x8a\x08" + little(uint64_t(v), 8));
  }
  TorchWriter& value(double v) {
    uint64_t bits;
    std::memcpy(&bits, &v, 8);
    std::string big = little(bits, 8);
    return add("G" + std::string(big.rbegin(), big.rend()));
  }
  TorchWriter& value(const std::string& utf8) { return add("X" + little(utf8.size(), 4) + utf8); }
  TorchWriter& value(const char* utf8) { return value(std::string(utf8)); }

  /// A contiguous tensor in row-major order; `code` as in torch_types ("F32", "I64"), `bytes` little-endian.
  TorchWriter& tensor(std::string_view code, const std::vector<int64_t>& shape, std::string bytes) {
    const TorchType* type = nullptr;
    for (const TorchType& t : torch_types)
      if (t.code == code) type = &t;
    check<UsageError>(type != nullptr, "torch_write: PyTorch has no type '", code, "'");
    int64_t n = 1;
    for (const int64_t e : shape) n *= e;
    check<UsageError>(bytes.size() == size_t(n) * element_width(code), "torch_write: a tensor of ", n, " ", code, " has ", bytes.size(), " bytes");
    std::vector<int64_t> strides(shape.size(), 1);
    for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * std::max<int64_t>(1, shape[i]);
    add("ctorch._utils\n_rebuild_tensor_v2\n((");
    value("storage").add("ctorch\n" + std::string(type->storage) + "\n");
    value(std::to_string(storages_.size())).value("cpu").value(n).add("tQ").value(int64_t(0)).tuple(shape).tuple(strides);
    storages_.push_back(std::move(bytes));
    return value(false).add("ccollections\nOrderedDict\n)RtR");
  }
  /// f32 or f64.
  TorchWriter& tensor(const Tensor& t) {
    return tensor(t.dtype() == DType::f32 ? "F32" : "F64", std::vector<int64_t>(t.shape().begin(), t.shape().end()),
                  std::string(static_cast<const char*>(t.raw()), size_t(t.size()) * size_of(t.dtype())));
  }

  /// The file appears when complete. UsageError: something is still open.
  void write(const std::string& path) const {
    check<UsageError>(open_.empty() && !pickle_.empty(), path, ": torch_write: ", open_.size(), " dictionaries or lists are still open");
    const size_t slash = path.find_last_of('/') + 1;  // npos + 1 is 0
    const std::string root = path.substr(slash, path.find_last_of('.') > slash ? path.find_last_of('.') - slash : std::string::npos) + "/";
    const std::string pickle = "\x80\x02" + pickle_ + ".";
    std::vector<ZipItem> items = {{root + "data.pkl", pickle}, {root + "byteorder", "little"}};
    for (size_t i = 0; i < storages_.size(); ++i) items.push_back({root + "data/" + std::to_string(i), storages_[i]});
    items.push_back({root + "version", "3\n"});
    write_stored_zip(path, items);
  }

 private:
  static std::string little(uint64_t v, int bytes) {
    std::string out;
    for (int i = 0; i < bytes; ++i) out += char(v >> (8 * i) & 255);
    return out;
  }
  TorchWriter& add(const std::string& opcodes) {
    pickle_ += opcodes;
    return *this;
  }
  TorchWriter& open(const char* opcodes, char end) {
    open_ += end;
    return add(opcodes);
  }
  TorchWriter& tuple(const std::vector<int64_t>& numbers) {
    begin_tuple();
    for (const int64_t n : numbers) value(n);
    return end();
  }

  std::string pickle_, open_;  ///< opcodes; the opcodes that end what is open, innermost last
  std::vector<std::string> storages_;
};

}  // namespace voxgrad::io
