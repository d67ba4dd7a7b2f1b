// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Libraries opened at run time, and where they are looked for. The program links none of NVIDIA's, so that it starts on
// every machine; what is missing is said when it is needed.

#include <dlfcn.h>

#include <string>
#include <utility>
#include <vector>

namespace voxgrad::cuda {

/// A shared library, closed at the end of its life.
class DynamicLibrary {
 public:
  DynamicLibrary() = default;
  /// By path or, without a slash, by the loader's own search. Empty when it cannot be opened: `why` then says what the
  /// loader said.
  DynamicLibrary(const std::string& name, std::string& why) : handle_(::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    if (handle_ != nullptr) return;
    const char* said = ::dlerror();
    why = said != nullptr ? said : "the loader gives no reason";
  }
  DynamicLibrary(DynamicLibrary&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  DynamicLibrary& operator=(DynamicLibrary&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~DynamicLibrary() {
    if (handle_ != nullptr) ::dlclose(handle_);
  }

  explicit operator bool() const { return handle_ != nullptr; }

  /// Fills `function` with the symbol of this name; false when there is none.
  template <class F>
  bool find(const char* name, F*& function) const {
    function = reinterpret_cast<F*>(::dlsym(handle_, name));
    return function != nullptr;
  }

  /// The file behind it, links followed as far as the loader did.
  std::string path() const;

 private:
  void* handle_ = nullptr;
};

/// What is looked for, and where: a folder that the user names (then nowhere else), the loader's own search, folders.
struct LibrarySearch {
  std::string what;                    ///< "cuDNN"
  std::vector<std::string> names;      ///< file names that will do, best first
  std::vector<std::string> strangers;  ///< file names of versions that this program does not know: only for the message
  std::string variable;                ///< the environment variable that names a folder
  std::string folder;                  ///< its value, "" when unset
  std::vector<std::string> folders;    ///< tried after the loader's search
  std::string advice;                  ///< last sentence of the message
};

/// Opens the first that is found. DeviceError: what was looked for where, and what was found instead.
/// In a folder F, F/lib and F/lib64 are looked at too.
DynamicLibrary open_library(const LibrarySearch& search);

/// Folders of a toolkit, newest layout first: /usr/local/cuda/lib64 and alike.
std::vector<std::string> toolkit_folders();

/// Value of an environment variable, "" when unset.
std::string environment(const char* name);

/// Files of this process' loaded libraries whose name (without folder) starts with `prefix`.
std::vector<std::string> loaded_files(const std::string& prefix);

/// "" when all files lie in one folder, else a sentence that names the folders.
std::string mixed_folders(const std::string& what, const std::vector<std::string>& files);

/// The folder of a path, without the slash; "." when it has none.
std::string folder_of(const std::string& path);

}  // namespace voxgrad::cuda
