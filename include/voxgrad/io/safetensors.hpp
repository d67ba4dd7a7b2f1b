// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// safetensors files: an 8-byte header length, a JSON header, raw little-endian bytes. Nothing in them can run.
// Our own weights and checkpoints have this format.

#include <fstream>
#include <map>

#include "voxgrad/core/tensor.hpp"
#include "voxgrad/io/elements.hpp"
#include "voxgrad/io/file_writer.hpp"
#include "voxgrad/io/safetensors_header.hpp"

namespace voxgrad::io {

/// A file opened for reading: its header is checked as a whole, its bytes are read on demand.
class SafeTensors {
 public:
  explicit SafeTensors(const std::string& path) : path_(path), file_(path, std::ios::binary) {
    check<FileError>(file_.good(), path, ": cannot be opened for reading");
    file_.seekg(0, std::ios::end);
    const uint64_t size = uint64_t(file_.tellg());
    file_.seekg(0);
    unsigned char prefix[8] = {};
    file_.read(reinterpret_cast<char*>(prefix), 8);
    check<FileError>(size >= 8 && file_.good(), path, ": has ", size, " bytes, too few for a safetensors file");
    uint64_t length = 0;
    for (int i = 7; i >= 0; --i) length = length << 8 | prefix[i];
    check<FileError>(length <= max_header && length <= size - 8, path, ": not a safetensors file, or damaged: header of ",
                     length, " bytes in a file of ", size);
    std::string json(size_t(length), '\0');
    file_.read(json.data(), std::streamsize(length));
    check<FileError>(file_.good(), path, ": the header cannot be read");
    header_ = parse_safetensors_header(json, size - 8 - length, path);
    data_start_ = 8 + length;
  }

  const std::vector<std::string>& names() const { return header_.order; }
  bool has(const std::string& name) const { return header_.tensors.count(name) != 0; }
  const SafeTensorInfo& info(const std::string& name) const {
    const auto it = header_.tensors.find(name);
    check<FileError>(it != header_.tensors.end(), path_, ": holds no tensor '", name, "'");
    return it->second;
  }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }

  /// The stored bytes of one tensor.
  std::vector<unsigned char> bytes(const std::string& name) {
    const SafeTensorInfo& i = info(name);
    std::vector<unsigned char> out(size_t(i.end - i.begin));
    file_.clear();
    file_.seekg(std::streamoff(data_start_ + i.begin));
    file_.read(reinterpret_cast<char*>(out.data()), std::streamsize(out.size()));
    check<FileError>(file_.good() || out.empty(), path_, ": the bytes of '", name, "' cannot be read");
    return out;
  }

  /// One tensor as f32 (F32, F16, BF16) or f64 (F64, integers, BOOL).
  Tensor tensor(const std::string& name) {
    const SafeTensorInfo& i = info(name);
    check<FileError>(i.shape.size() <= size_t(Shape::max_rank), path_, ": '", name, "' has rank ", i.shape.size());
    const std::vector<unsigned char> raw = bytes(name);
    const Shape shape(i.shape.begin(), i.shape.end());
    Tensor t(shape, i.dtype == "F32" || i.dtype == "F16" || i.dtype == "BF16" ? DType::f32 : DType::f64);
    if (i.dtype == "F32" || i.dtype == "F64") {
      if (!raw.empty()) std::memcpy(t.raw(), raw.data(), raw.size());
    } else if (t.dtype() == DType::f32) {
      decode_elements(std::span(raw), i.dtype, t.mutable_span<float>());
    } else {
      decode_elements(std::span(raw), i.dtype, t.mutable_span<double>());
    }
    return t;
  }

  static constexpr uint64_t max_header = 100 << 20;

 private:
  std::string path_;
  std::ifstream file_;
  SafeTensorsHeader header_;
  uint64_t data_start_ = 0;
};

/// One tensor to be written; `data` holds its elements in row-major order.
struct SafeTensorItem {
  std::string name, dtype;  ///< dtype "F32", "F64", "I64", "U8" ...
  std::vector<int64_t> shape;
  const void* data;
};
inline SafeTensorItem safetensor_item(std::string name, const Tensor& t) {
  return {std::move(name), t.dtype() == DType::f32 ? "F32" : "F64", {t.shape().begin(), t.shape().end()}, t.raw()};
}

/// Writes a file that appears under its name only when complete.
inline void write_safetensors(const std::string& path, const std::vector<SafeTensorItem>& items,
                              const std::map<std::string, std::string>& metadata = {}) {
  std::string json = "{";
  if (!metadata.empty()) {
    json += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata)
      json += (json.back() == '{' ? "" : ",") + json_string(key) + ":" + json_string(value);
    json += "}";
  }
  uint64_t at = 0;
  std::vector<uint64_t> sizes;
  for (const SafeTensorItem& item : items) {
    SafeTensorInfo info{item.dtype, item.shape, 0, 0};
    sizes.push_back(info.expected_bytes(path, item.name));
    json += (json == "{" ? "" : ",") + json_string(item.name) + ":{\"dtype\":\"" + item.dtype + "\",\"shape\":[";
    for (size_t i = 0; i < item.shape.size(); ++i) json += (i ? "," : "") + std::to_string(item.shape[i]);
    json += "],\"data_offsets\":[" + std::to_string(at) + "," + std::to_string(at + sizes.back()) + "]}";
    at += sizes.back();
  }
  json += "}";
  json.resize((json.size() + 7) / 8 * 8, ' ');

  FileWriter out(path);
  unsigned char prefix[8];
  for (int i = 0; i < 8; ++i) prefix[i] = static_cast<unsigned char>(uint64_t(json.size()) >> (8 * i));
  out.put(prefix, 8);
  out.put(json);
  for (size_t i = 0; i < items.size(); ++i) out.put(items[i].data, size_t(sizes[i]));
  out.commit();
}

}  // namespace voxgrad::io
