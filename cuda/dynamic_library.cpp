// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/cuda/dynamic_library.hpp"

#include <link.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>

#include "voxgrad/core/error.hpp"

namespace voxgrad::cuda {
namespace {

bool is_file(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}
bool is_folder(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

std::string absolute(const std::string& path) {
  char* real = ::realpath(path.c_str(), nullptr);
  const std::string out = real != nullptr ? real : path;
  std::free(real);
  return out;
}

/// The folder itself and where packages of other layouts keep their libraries.
std::vector<std::string> with_inner(const std::string& folder) { return {folder, folder + "/lib", folder + "/lib64"}; }

/// One place after the other, with what happened there for the message.
class Hunt {
 public:
  explicit Hunt(const LibrarySearch& search) : search_(search) {}

  DynamicLibrary in_folder(const std::string& folder, const std::string& label) {
    if (!is_folder(folder)) return miss(label, "no such folder");
    std::string found;
    for (const std::string& inner : with_inner(folder)) {
      for (const std::string& name : search_.names)
        if (is_file(inner + "/" + name)) {
          // Absolute, so that its sister libraries are looked for beside it.
          if (DynamicLibrary library(absolute(inner) + "/" + name, why_); library) return library;
          return miss(label, why_);
        }
      for (const std::string& name : search_.strangers)
        if (found.empty() && is_file(inner + "/" + name)) found = inner + "/" + name;
    }
    return miss(label, found.empty() ? "no such file" : "found " + found + ", a version that this program does not know");
  }
  DynamicLibrary by_loader() {
    std::string first;
    for (const std::string& name : search_.names) {
      if (DynamicLibrary library(name, why_); library) return library;
      if (first.empty()) first = why_;
    }
    for (const std::string& name : search_.strangers)
      if (DynamicLibrary stranger(name, why_); stranger) {
        first = "found " + stranger.path() + ", a version that this program does not know";
        break;
      }
    return miss("the loader's path (LD_LIBRARY_PATH is '" + environment("LD_LIBRARY_PATH") + "')", first);
  }
  [[noreturn]] void give_up() const {
    std::string names;
    for (const std::string& name : search_.names) names += (names.empty() ? "" : " or ") + name;
    throw DeviceError(search_.what + ": " + names + " cannot be opened. Looked in " + misses_ + ". " + search_.advice);
  }

 private:
  DynamicLibrary miss(const std::string& place, const std::string& why) {
    misses_ += (misses_.empty() ? "" : "; ") + place + ": " + why;
    return {};
  }
  const LibrarySearch& search_;
  std::string why_, misses_;
};

struct Loaded {
  const std::string& prefix;
  std::vector<std::string> files;
};

int collect(dl_phdr_info* info, std::size_t, void* data) {
  auto* loaded = static_cast<Loaded*>(data);
  const std::string path = info->dlpi_name != nullptr ? info->dlpi_name : "";
  if (path.compare(path.find_last_of('/') + 1, loaded->prefix.size(), loaded->prefix) == 0) loaded->files.push_back(path);
  return 0;
}

}  // namespace

std::string DynamicLibrary::path() const {
  link_map* map = nullptr;
  if (handle_ == nullptr || ::dlinfo(handle_, RTLD_DI_LINKMAP, &map) != 0 || map == nullptr || map->l_name == nullptr) return "";
  return map->l_name;
}

DynamicLibrary open_library(const LibrarySearch& search) {
  Hunt hunt(search);
  if (!search.folder.empty()) {  // the user said where: another copy would not be what was asked for
    if (DynamicLibrary library = hunt.in_folder(search.folder, search.variable + "=" + search.folder)) return library;
    hunt.give_up();
  }
  if (DynamicLibrary library = hunt.by_loader()) return library;
  for (const std::string& folder : search.folders)
    if (DynamicLibrary library = hunt.in_folder(folder, folder)) return library;
  hunt.give_up();
}

std::vector<std::string> toolkit_folders() {
  std::vector<std::string> out;
  for (const char* name : {"CUDA_HOME", "CUDA_PATH"})
    if (const std::string root = environment(name); !root.empty()) out.push_back(root);
  out.push_back("/usr/local/cuda");
  return out;
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::vector<std::string> loaded_files(const std::string& prefix) {
  Loaded loaded{prefix, {}};
  ::dl_iterate_phdr(collect, &loaded);
  return loaded.files;
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

std::string mixed_folders(const std::string& what, const std::vector<std::string>& files) {
  std::vector<std::string> folders;
  for (const std::string& file : files)
    if (const std::string folder = absolute(folder_of(file)); std::find(folders.begin(), folders.end(), folder) == folders.end())
      folders.push_back(folder);
  if (folders.size() < 2) return "";
  std::string all;
  for (const std::string& folder : folders) all += (all.empty() ? "" : " and ") + folder;
  return "Two copies of " + what + " are mixed in this process, from " + all;
}

}  // namespace voxgrad::cuda
