// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// HDF5 files, writing: everything goes to a temporary name beside the target and is renamed by commit().

#include <algorithm>

#include "voxgrad/io/atomic_name.hpp"
#include "voxgrad/io/hdf5.hpp"

namespace voxgrad::io {

/// How a data set is stored.
struct H5Storage {
  std::vector<int64_t> chunk;  ///< empty: contiguous, or one chunk per data set when compressed
  int gzip = 0;                ///< deflate level 0 (off) to 9
};

/// A new HDF5 file. Nothing appears under `path` before commit(); without it the temporary file is removed.
class H5Writer {
 public:
  explicit H5Writer(const std::string& path) : path_(path), temporary_(partial_name(path)) {
    h5::Guard guard;
    h5::Id access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
#if H5_VERSION_GE(1, 10, 7)
    H5Pset_file_locking(access.get(), false, true);  // the temporary name is ours alone
#endif
    file_ = h5::Id(H5Fcreate(temporary_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()), H5Fclose);
    check<FileError>(bool(file_), path, ": cannot be created", h5::reason(), ".");
  }
  ~H5Writer() {
    h5::Guard guard;
    file_.close();
    if (!committed_) std::remove(temporary_.c_str());
  }
  H5Writer(const H5Writer&) = delete;
  H5Writer& operator=(const H5Writer&) = delete;

  /// Creates a data set of T to be filled by write_box; missing groups are made.
  template <class T>
  void create(const std::string& name, const std::vector<int64_t>& shape, const H5Storage& storage = {}) {
    h5::Guard guard;
    std::vector<hsize_t> dims(shape.begin(), shape.end());
    h5::Id space(H5Screate_simple(int(dims.size()), dims.data(), nullptr), H5Sclose);
    h5::Id plist(H5Pcreate(H5P_DATASET_CREATE), H5Pclose), links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
    H5Pset_create_intermediate_group(links.get(), 1);
    H5Pset_obj_track_times(plist.get(), false);  // the same content gives the same file
    bool empty = shape.empty();
    for (int64_t s : shape) empty = empty || s == 0;
    if (!empty && (storage.gzip > 0 || !storage.chunk.empty())) {
      std::vector<hsize_t> chunk = dims;
      for (size_t i = 0; i < storage.chunk.size() && i < chunk.size(); ++i)
        chunk[i] = std::min(chunk[i], hsize_t(storage.chunk[i]));
      H5Pset_chunk(plist.get(), int(chunk.size()), chunk.data());
      if (storage.gzip > 0) H5Pset_deflate(plist.get(), unsigned(storage.gzip));
    }
    h5::Id id(H5Dcreate2(file_.get(), name.c_str(), h5::native<T>(), space.get(), links.get(), plist.get(),
                         H5P_DEFAULT),
              H5Dclose);
    check<FileError>(bool(id), path_, ": ", name, " ", h5_shape_text(shape), " cannot be created",
                     h5::reason(), ".");
  }

  /// Writes the box start .. start+count of a data set made by create().
  template <class T>
  void write_box(const std::string& name, const std::vector<int64_t>& start,
                 const std::vector<int64_t>& count, const T* values) {
    h5::Guard guard;
    h5::Id id(H5Dopen2(file_.get(), name.c_str(), H5P_DEFAULT), H5Dclose);
    check<FileError>(bool(id), path_, ": no data set '", name, "' was created.");
    std::vector<hsize_t> s(start.begin(), start.end()), c(count.begin(), count.end());
    h5::Id in_file(H5Dget_space(id.get()), H5Sclose);
    h5::Id in_memory(H5Screate_simple(int(c.size()), c.data(), nullptr), H5Sclose);
    const bool ok =
        H5Sselect_hyperslab(in_file.get(), H5S_SELECT_SET, s.data(), nullptr, c.data(), nullptr) >= 0 &&
        H5Dwrite(id.get(), h5::native<T>(), in_memory.get(), in_file.get(), H5P_DEFAULT, values) >= 0;
    check<FileError>(ok, path_, ": ", name, " cannot be written", h5::reason(), ". Is the disk full?");
  }

  /// Creates and fills a data set in one go.
  template <class T>
  void write(const std::string& name, const std::vector<int64_t>& shape, const T* values,
             const H5Storage& storage = {}) {
    create<T>(name, shape, storage);
    int64_t n = 1;
    for (int64_t s : shape) n *= s;
    if (n > 0) write_box(name, std::vector<int64_t>(shape.size(), 0), shape, values);
  }

  void create_group(const std::string& name) {
    h5::Guard guard;
    h5::Id links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
    H5Pset_create_intermediate_group(links.get(), 1);
    h5::Id id(H5Gcreate2(file_.get(), name.c_str(), links.get(), H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
    check<FileError>(bool(id), path_, ": group ", name, " cannot be created", h5::reason(), ".");
  }

  /// Attaches a variable-length UTF-8 string.
  void set_attribute(const std::string& object, const std::string& name, const std::string& value) {
    h5::Guard guard;
    h5::Id type(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type.get(), H5T_VARIABLE);
    H5Tset_cset(type.get(), H5T_CSET_UTF8);
    const char* pointer = value.c_str();
    write_attribute(object, name, type.get(), h5::Id(H5Screate(H5S_SCALAR), H5Sclose), &pointer);
  }

  /// Attaches a list of numbers.
  template <class T>
  void set_attribute(const std::string& object, const std::string& name, const std::vector<T>& values) {
    h5::Guard guard;
    const hsize_t n = values.size();
    write_attribute(object, name, h5::native<T>(), h5::Id(H5Screate_simple(1, &n, nullptr), H5Sclose),
                    values.data());
  }

  /// Attaches a list of strings of one length, padded with zero bytes.
  void set_attribute(const std::string& object, const std::string& name, const std::vector<std::string>& values) {
    h5::Guard guard;
    size_t width = 1;
    for (const std::string& v : values) width = std::max(width, v.size());
    std::string all;
    for (const std::string& v : values) all += v + std::string(width - v.size(), '\0');
    h5::Id type(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type.get(), width);
    H5Tset_strpad(type.get(), H5T_STR_NULLPAD);
    const hsize_t n = values.size();
    write_attribute(object, name, type.get(), h5::Id(H5Screate_simple(1, &n, nullptr), H5Sclose), all.data());
  }

  /// Closes the file and gives it its name. After this the writer is done.
  void commit() {
    h5::Guard guard;
    const bool ok = H5Fflush(file_.get(), H5F_SCOPE_GLOBAL) >= 0;
    const bool closed = file_.close();
    check<FileError>(ok && closed, path_, ": cannot be written", h5::reason(), ". Is the disk full?");
    put_in_place(temporary_, path_);
    committed_ = true;
  }

 private:
  void write_attribute(const std::string& object, const std::string& name, hid_t type, const h5::Id& space,
                       const void* values) {
    h5::Id id(H5Acreate_by_name(file_.get(), object.c_str(), name.c_str(), type, space.get(), H5P_DEFAULT,
                                H5P_DEFAULT, H5P_DEFAULT),
              H5Aclose);
    const bool ok = id && H5Awrite(id.get(), type, values) >= 0;
    check<FileError>(ok, path_, ": attribute '", name, "' of ", object, " cannot be written", h5::reason(),
                     ".");
  }

  std::string path_, temporary_;
  h5::Id file_;
  bool committed_ = false;
};

}  // namespace voxgrad::io
