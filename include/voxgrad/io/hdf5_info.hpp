// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Shape, type and storage of an HDF5 data set, checked before any memory is taken for its contents.

#include <vector>

#include "voxgrad/io/hdf5_handle.hpp"

namespace voxgrad::io {

/// What the elements of a data set are; enumerations (h5py's bool) count as integers.
enum class H5Kind { integer, floating, string, other };

/// Shape and storage of a data set, known without reading it.
struct H5Info {
  std::vector<int64_t> shape;  ///< empty for a scalar
  H5Kind kind = H5Kind::other;
  bool is_signed = false;
  int64_t item_bytes = 0;
  int64_t stored_bytes = 0;    ///< bytes in the file, after compression
  std::vector<int64_t> chunk;  ///< empty unless chunked

  int64_t elements() const {
    int64_t n = 1;
    for (int64_t s : shape) n *= s;
    return n;
  }
  /// "uint16", "float32", "string", ...
  std::string type_name() const {
    if (kind == H5Kind::floating) return text("float", item_bytes * 8);
    if (kind == H5Kind::integer) return text(is_signed ? "int" : "uint", item_bytes * 8);
    return kind == H5Kind::string ? "string" : "a compound or other non-numeric type";
  }
};

/// "[600,512,512]"
inline std::string h5_shape_text(const std::vector<int64_t>& shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) out += ',';
    out += std::to_string(shape[i]);
  }
  out += ']';
  return out;
}

namespace h5 {

inline constexpr int64_t max_chunk_bytes = int64_t(1) << 30;  ///< the library allocates whole chunks
inline constexpr int64_t max_expansion = 2000;  ///< deflate reaches 1032; beyond this it is a bomb
inline constexpr int64_t suspicious_bytes = int64_t(1) << 30;  ///< smaller reads are never suspicious

inline void read_shape(const Id& space, const std::string& path, const std::string& name, H5Info& info) {
  check<FileError>(H5Sget_simple_extent_type(space.get()) != H5S_NULL, path, ": ", name, " is empty.");
  const int rank = H5Sget_simple_extent_ndims(space.get());
  check<FileError>(rank >= 0 && rank <= H5S_MAX_RANK, path, ": ", name, " has no shape", reason(), ".");
  std::vector<hsize_t> dims(size_t(rank) + 1);
  H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr);
  int64_t n = 1;
  for (int i = 0; i < rank; ++i) {
    const hsize_t d = dims[size_t(i)];
    check<FileError>(
        d < (hsize_t(1) << 40) && !__builtin_mul_overflow(n, int64_t(d), &n) && n < (int64_t(1) << 56), path,
        ": ", name, " promises more than 2^56 elements.");
    info.shape.push_back(int64_t(d));
  }
}

inline void read_type(const Id& type, H5Info& info) {
  const H5T_class_t kind = H5Tget_class(type.get());
  info.kind = kind == H5T_INTEGER || kind == H5T_ENUM ? H5Kind::integer
              : kind == H5T_FLOAT                     ? H5Kind::floating
              : kind == H5T_STRING                    ? H5Kind::string
                                                      : H5Kind::other;
  info.item_bytes = int64_t(H5Tget_size(type.get()));
  info.is_signed = kind == H5T_INTEGER && H5Tget_sign(type.get()) == H5T_SGN_2;
}

inline void read_chunk(const Id& plist, const std::string& path, const std::string& name, H5Info& info) {
  std::vector<hsize_t> dims(info.shape.size() + 1);
  const int rank = H5Pget_chunk(plist.get(), int(info.shape.size()), dims.data());
  int64_t bytes = info.item_bytes;
  bool ok = rank == int(info.shape.size());
  for (int i = 0; ok && i < rank; ++i) {
    ok = dims[size_t(i)] > 0 && !__builtin_mul_overflow(bytes, int64_t(dims[size_t(i)]), &bytes) &&
         bytes <= max_chunk_bytes;
    info.chunk.push_back(int64_t(dims[size_t(i)]));
  }
  check<FileError>(ok, path, ": ", name, " has impossible chunks ", h5_shape_text(info.chunk),
                   ", the file is damaged.");
}

inline void check_filters(const Id& plist, const std::string& path, const std::string& name) {
  for (int i = 0; i < H5Pget_nfilters(plist.get()); ++i) {
    unsigned flags = 0, config = 0;
    size_t values = 0;
    char filter_name[64] = "";
    const H5Z_filter_t filter = H5Pget_filter2(plist.get(), unsigned(i), &flags, &values, nullptr,
                                               sizeof filter_name, filter_name, &config);
    check<FileError>(
        filter >= 0 && H5Zfilter_avail(filter) > 0, path, ": ", name, " is compressed with filter ",
        int(filter), " (", filter_name[0] ? filter_name : "unnamed",
        "), which this HDF5 library lacks. Rewrite the file where it was made, with: h5repack -f GZIP=4.");
  }
}

/// Everything about an open data set; refuses what is damaged, needs a missing filter or lives in other
/// files.
inline H5Info read_info(const Id& id, const std::string& path, const std::string& name) {
  H5Info info;
  Id space(H5Dget_space(id.get()), H5Sclose), type(H5Dget_type(id.get()), H5Tclose);
  Id plist(H5Dget_create_plist(id.get()), H5Pclose);
  check<FileError>(space && type && plist, path, ": ", name, " is damaged", reason(), ".");
  read_shape(space, path, name, info);
  read_type(type, info);
  const H5D_layout_t layout = H5Pget_layout(plist.get());
  check<FileError>(layout != H5D_VIRTUAL && H5Pget_external_count(plist.get()) <= 0, path, ": ", name,
                   " is stored in other files. Copy the data into one file first (h5repack does it).");
  info.stored_bytes = int64_t(H5Dget_storage_size(id.get()));
  if (layout == H5D_CHUNKED) read_chunk(plist, path, name, info);
  check_filters(plist, path, name);
  return info;
}

/// Refuses non-numbers, and sizes that the bytes in the file cannot hold.
inline void check_amount(const H5Info& info, const std::string& path, const std::string& name,
                         int64_t elements, int64_t item) {
  check<FileError>(info.kind == H5Kind::integer || info.kind == H5Kind::floating, path, ": ", name, " holds ",
                   info.type_name(), " (expected numbers).");
  int64_t bytes = 0;
  const bool fits = !__builtin_mul_overflow(elements, item, &bytes);
  check<FileError>(fits && (bytes <= suspicious_bytes || elements / max_expansion <= info.stored_bytes), path,
                   ": ", name, " promises ", h5_shape_text(info.shape), " values but holds only ",
                   info.stored_bytes, " bytes. The file is damaged or was never filled.");
}

}  // namespace h5

}  // namespace voxgrad::io
