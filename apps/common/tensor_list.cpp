// SPDX-License-Identifier: BSD-3-Clause
// Every tensor of a weight file with what an auditor compares: `voxgrad inspect --tensors`.

#include <fmt/format.h>

#include "describe.hpp"
#include "file_kind.hpp"
#include "voxgrad/io/hdf5.hpp"
#include "voxgrad/io/safetensors.hpp"
#include "voxgrad/io/torch_archive.hpp"

namespace voxgrad::app {
namespace {

/// Lines and JSON rows; names, types and shapes as the file has them.
class TensorList {
 public:
  explicit TensorList(Description& d) : d_(d) {}
  ~TensorList() { d_.fields.emplace_back("list", rows_); }
  TensorList(const TensorList&) = delete;
  TensorList& operator=(const TensorList&) = delete;

  /// The sum is taken in row-major order.
  void add(const std::string& name, std::string_view type, const std::vector<std::int64_t>& shape, const std::vector<double>& values) {
    double sum = 0;
    for (const double v : values) sum += v;
    d_.line(name, fmt::format("{} {}, sum {}, first {}", io::h5_shape_text(shape), type, sum, values.empty() ? "-" : fmt::format("{}", values[0])));
    rows_.emplace_back(Fields{{"name", name}, {"dtype", type}, {"shape", std::vector<JsonValue>(shape.begin(), shape.end())}, {"sum", sum},
                              {"first", values.empty() ? JsonValue::null() : JsonValue(values[0])}});
  }

 private:
  Description& d_;
  std::vector<JsonValue> rows_;
};

std::vector<double> decoded(const std::vector<unsigned char>& raw, std::string_view code) {
  std::vector<double> values(raw.size() / io::element_width(code));
  io::decode_elements<double>(raw, code, values);
  return values;
}

/// Data sets of numbers below a group, depth first.
void walk(const io::H5File& file, const std::string& group, int depth, TensorList& list) {
  check<FileError>(depth <= 32, file.path(), ": its groups are nested deeper than 32 levels.");
  for (const std::string& name : file.children(group.empty() ? "/" : group)) {
    const std::string path = group + "/" + name;
    if (file.is_group(path)) {
      walk(file, path, depth + 1, list);
    } else if (file.is_dataset(path)) {
      const io::H5Info info = file.info(path);
      if (info.kind == io::H5Kind::integer || info.kind == io::H5Kind::floating)
        list.add(path.substr(1), info.type_name(), info.shape, file.read<double>(path));
    }
  }
}

}  // namespace

void list_tensors(const std::string& path, Description& d) {
  const FileIdentity found = identify_file(path);
  if (found.kind != FileKind::torch && found.kind != FileKind::safetensors && found.kind != FileKind::hdf5) return;
  TensorList list(d);
  if (found.kind == FileKind::torch) {
    io::TorchArchive archive(path);
    for (const io::TorchTensor& t : archive.tensors()) list.add(t.name, t.type->name, t.shape, decoded(archive.bytes(t), t.type->code));
  } else if (found.kind == FileKind::safetensors) {
    io::SafeTensors file(path);
    for (const std::string& name : file.names()) {
      const io::SafeTensorInfo& info = file.info(name);
      list.add(name, info.dtype, info.shape, decoded(file.bytes(name), info.dtype));
    }
  } else {
    walk(io::H5File(path), "", 0, list);
  }
}

}  // namespace voxgrad::app
