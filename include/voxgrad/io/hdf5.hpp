// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// HDF5 files, read-only: a thin RAII layer over the library's C API.
//
// Files may be hostile. Every size is checked before memory is taken, the library's error stack ends up in
// the text of a FileError and is never printed, links that leave the file are refused, and all calls run
// under one mutex because the usual builds of the library are not thread-safe. Writing is in hdf5_write.hpp.

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "voxgrad/io/hdf5_handle.hpp"
#include "voxgrad/io/hdf5_info.hpp"
#include "voxgrad/io/hdf5_superblock.hpp"

namespace voxgrad::io {

namespace h5 {

/// Reads all strings of an attribute; fixed and variable length, scalar or array.
inline bool read_strings(hid_t attribute, int64_t count, std::vector<std::string>& out) {
  Id file_type(H5Aget_type(attribute), H5Tclose);
  if (H5Tis_variable_str(file_type.get()) > 0) {
    Id space(H5Aget_space(attribute), H5Sclose);
    std::vector<char*> texts(size_t(count), nullptr);
    const bool ok = H5Aread(attribute, file_type.get(), texts.data()) >= 0;
    for (const char* t : texts) out.emplace_back(t ? t : "");
    H5Dvlen_reclaim(file_type.get(), space.get(), H5P_DEFAULT, texts.data());
    return ok;
  }
  const size_t width = H5Tget_size(file_type.get());
  if (width == 0 || width > (size_t(64) << 20) / size_t(count > 0 ? count : 1)) return false;
  std::string all(width * size_t(count), '\0');
  if (H5Aread(attribute, file_type.get(), all.data()) < 0) return false;
  for (int64_t i = 0; i < count; ++i) {
    std::string one = all.substr(size_t(i) * width, width);
    one.resize(strnlen(one.data(), width));
    while (!one.empty() && one.back() == ' ') one.pop_back();
    out.push_back(std::move(one));
  }
  return true;
}

}  // namespace h5

/// An HDF5 file opened for reading. Names are absolute paths such as "/train/12/input". All functions throw
/// FileError; all may be called from several threads.
class H5File {
 public:
  explicit H5File(const std::string& path) : path_(path) {
    h5::Guard guard;
    h5::check_before_opening(path);
    h5::Id access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
#if H5_VERSION_GE(1, 10, 7)
    H5Pset_file_locking(access.get(), false, true);  // network file systems often have no locks; we only read
#endif
    file_ = h5::Id(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose);
    check<FileError>(bool(file_), path, ": is not an HDF5 file, or is damaged or truncated", h5::reason(),
                     ". Compare its size with the original, or copy it again.");
  }
  ~H5File() {
    h5::Guard guard;
    file_.close();
  }
  H5File(const H5File&) = delete;
  H5File& operator=(const H5File&) = delete;

  const std::string& path() const { return path_; }

  bool is_group(const std::string& name) const { return type_of(name) == H5O_TYPE_GROUP; }
  bool is_dataset(const std::string& name) const { return type_of(name) == H5O_TYPE_DATASET; }

  /// Names of the links in a group, in the library's (alphabetical) order.
  std::vector<std::string> children(const std::string& group) const {
    h5::Guard guard;
    check<FileError>(is_group(group), path_, ": no group '", group, "'.");
    h5::Id id(H5Gopen2(file_.get(), group.c_str(), H5P_DEFAULT), H5Gclose);
    std::vector<std::string> names;
    const herr_t status = !id ? -1
                              : H5Literate(
                                    id.get(), H5_INDEX_NAME, H5_ITER_INC, nullptr,
                                    [](hid_t, const char* link, const H5L_info_t*, void* out) -> herr_t {
                                      static_cast<std::vector<std::string>*>(out)->emplace_back(link);
                                      return 0;
                                    },
                                    &names);
    check<FileError>(status >= 0, path_, ": ", group, " cannot be listed, the file is damaged", h5::reason(),
                     ".");
    return names;
  }

  /// Shape, type and storage of a data set; refuses what is stored in other files.
  H5Info info(const std::string& dataset) const {
    h5::Guard guard;
    return h5::read_info(open_dataset(dataset), path_, dataset);
  }

  /// Reads a whole data set, converted to T.
  template <class T>
  std::vector<T> read(const std::string& dataset) const {
    h5::Guard guard;
    h5::Id id = open_dataset(dataset);
    const H5Info info = h5::read_info(id, path_, dataset);
    h5::check_amount(info, path_, dataset, info.elements(), int64_t(sizeof(T)));
    std::vector<T> out(size_t(info.elements()));
    if (out.empty()) return out;
    const herr_t status = H5Dread(id.get(), h5::native<T>(), H5S_ALL, H5S_ALL, H5P_DEFAULT, out.data());
    check<FileError>(status >= 0, path_, ": ", dataset, " cannot be read, the file is damaged", h5::reason(),
                     ".");
    return out;
  }

  /// Reads the box start .. start+count (one entry per axis) into `out`, row-major, converted to T.
  template <class T>
  void read(const std::string& dataset, const std::vector<int64_t>& start, const std::vector<int64_t>& count,
            T* out) const {
    h5::Guard guard;
    h5::Id id = open_dataset(dataset);
    const H5Info info = h5::read_info(id, path_, dataset);
    const size_t rank = info.shape.size();
    check<ShapeError>(rank > 0 && start.size() == rank && count.size() == rank, path_, ": ", dataset, " is ",
                      h5_shape_text(info.shape), ", but a box of ", count.size(), " axes was asked for.");
    std::vector<hsize_t> s(rank), c(rank);
    int64_t n = 1;
    for (size_t i = 0; i < rank; ++i) {
      check<ShapeError>(start[i] >= 0 && count[i] >= 0 && start[i] <= info.shape[i] - count[i], path_, ": ",
                        dataset, " is ", h5_shape_text(info.shape), ", but the box at ", h5_shape_text(start),
                        " of size ", h5_shape_text(count), " was asked for.");
      s[i] = hsize_t(start[i]);
      c[i] = hsize_t(count[i]);
      n *= count[i];
    }
    if (n == 0) return;
    h5::check_amount(info, path_, dataset, n, int64_t(sizeof(T)));
    h5::Id in_file(H5Dget_space(id.get()), H5Sclose);
    h5::Id in_memory(H5Screate_simple(int(rank), c.data(), nullptr), H5Sclose);
    H5Sselect_hyperslab(in_file.get(), H5S_SELECT_SET, s.data(), nullptr, c.data(), nullptr);
    const herr_t status =
        H5Dread(id.get(), h5::native<T>(), in_memory.get(), in_file.get(), H5P_DEFAULT, out);
    check<FileError>(status >= 0, path_, ": ", dataset, " cannot be read, the file is damaged", h5::reason(),
                     ".");
  }

  bool has_attribute(const std::string& object, const std::string& name) const {
    h5::Guard guard;
    return type_of(object) != H5O_TYPE_UNKNOWN &&
           H5Aexists_by_name(file_.get(), object.c_str(), name.c_str(), H5P_DEFAULT) > 0;
  }

  /// Whether an attribute that exists holds text.
  bool attribute_is_text(const std::string& object, const std::string& name) const {
    h5::Guard guard;
    int64_t count = 0;
    h5::Id id = open_attribute(object, name, count);
    h5::Id type(H5Aget_type(id.get()), H5Tclose);
    return H5Tget_class(type.get()) == H5T_STRING;
  }

  /// All numbers of an attribute, converted to T.
  template <class T>
  std::vector<T> attribute(const std::string& object, const std::string& name) const {
    h5::Guard guard;
    int64_t count = 0;
    h5::Id id = open_attribute(object, name, count);
    h5::Id type(H5Aget_type(id.get()), H5Tclose);
    const H5T_class_t kind = H5Tget_class(type.get());
    check<FileError>(kind == H5T_INTEGER || kind == H5T_FLOAT || kind == H5T_ENUM, path_, ": attribute '",
                     name, "' of ", object, " holds no numbers.");
    std::vector<T> out(size_t(count), T{});
    const bool ok = count == 0 || H5Aread(id.get(), h5::native<T>(), out.data()) >= 0;
    check<FileError>(ok, path_, ": attribute '", name, "' of ", object, " cannot be read", h5::reason(), ".");
    return out;
  }

  /// All strings of an attribute (one for a scalar), of fixed or variable length.
  std::vector<std::string> string_attribute(const std::string& object, const std::string& name) const {
    h5::Guard guard;
    int64_t count = 0;
    h5::Id id = open_attribute(object, name, count);
    h5::Id type(H5Aget_type(id.get()), H5Tclose);
    check<FileError>(H5Tget_class(type.get()) == H5T_STRING, path_, ": attribute '", name, "' of ", object,
                     " holds no text.");
    std::vector<std::string> out;
    check<FileError>(h5::read_strings(id.get(), count, out), path_, ": attribute '", name, "' of ", object,
                     " cannot be read", h5::reason(), ".");
    return out;
  }

 private:
  /// Type of the object, or unknown when a link on the way is missing, dangling or leads to another file.
  H5O_type_t type_of(const std::string& name) const {
    h5::Guard guard;
    for (size_t end = 1; end <= name.size() && name != "/"; ++end) {
      if (end < name.size() && name[end] != '/') continue;
      const std::string part = name.substr(0, end);
      H5L_info_t link;
      if (H5Lexists(file_.get(), part.c_str(), H5P_DEFAULT) <= 0 ||
          H5Lget_info(file_.get(), part.c_str(), &link, H5P_DEFAULT) < 0)
        return H5O_TYPE_UNKNOWN;
      check<FileError>(link.type == H5L_TYPE_HARD || link.type == H5L_TYPE_SOFT, path_, ": '", part,
                       "' is a link to another file. Copy the data into one file first.");
      if (H5Oexists_by_name(file_.get(), part.c_str(), H5P_DEFAULT) <= 0) return H5O_TYPE_UNKNOWN;
    }
    h5::Id id(H5Oopen(file_.get(), name.c_str(), H5P_DEFAULT), H5Oclose);
    const H5I_type_t type = id ? H5Iget_type(id.get()) : H5I_BADID;
    return type == H5I_GROUP ? H5O_TYPE_GROUP : type == H5I_DATASET ? H5O_TYPE_DATASET : H5O_TYPE_UNKNOWN;
  }

  h5::Id open_dataset(const std::string& name) const {
    check<FileError>(is_dataset(name), path_,
                     damaged_link(name) ? ": cannot open, the file is damaged: '" : ": no data set '", name,
                     "'.");
    h5::Id id(H5Dopen2(file_.get(), name.c_str(), H5P_DEFAULT), H5Dclose);
    check<FileError>(bool(id), path_, ": ", name, " cannot be opened, the file is damaged", h5::reason(),
                     ".");
    return id;
  }

  /// Whether the name exists but nothing can be opened under it.
  bool damaged_link(const std::string& name) const {
    if (type_of(name) != H5O_TYPE_UNKNOWN || H5Lexists(file_.get(), name.c_str(), H5P_DEFAULT) <= 0)
      return false;
    return !h5::Id(H5Oopen(file_.get(), name.c_str(), H5P_DEFAULT), H5Oclose);
  }

  h5::Id open_attribute(const std::string& object, const std::string& name, int64_t& count) const {
    check<FileError>(has_attribute(object, name), path_, ": ", object, " has no attribute '", name, "'.");
    h5::Id id(H5Aopen_by_name(file_.get(), object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    h5::Id space(id ? H5Aget_space(id.get()) : -1, H5Sclose);
    count = space ? int64_t(H5Sget_simple_extent_npoints(space.get())) : -1;
    check<FileError>(count >= 0 && count < (int64_t(1) << 24), path_, ": attribute '", name, "' of ", object,
                     " is damaged", h5::reason(), ".");
    return id;
  }

  std::string path_;
  h5::Id file_;
};

}  // namespace voxgrad::io
