// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/cuda/cudnn_library.hpp"

#include <mutex>
#include <optional>

#include "voxgrad/core/error.hpp"

namespace voxgrad::cuda {
namespace {

constexpr std::size_t known_major = 9, oldest = 90100;

std::size_t major_of(std::size_t version) { return version < 90000 ? version / 1000 : version / 10000; }

void find_functions(CudnnLibrary& library) {
  std::string missing;
  const auto find = [&](const char* name, auto& function) {
    if (!library.file.find(name, function)) missing += (missing.empty() ? "" : ", ") + std::string(name);
  };
#define FIND(name) find(#name, library.name)
  FIND(cudnnGetErrorString);
  FIND(cudnnGetLastErrorString);
  FIND(cudnnCreate);
  FIND(cudnnDestroy);
  FIND(cudnnSetStream);
  FIND(cudnnBackendCreateDescriptor);
  FIND(cudnnBackendDestroyDescriptor);
  FIND(cudnnBackendFinalize);
  FIND(cudnnBackendSetAttribute);
  FIND(cudnnBackendGetAttribute);
  FIND(cudnnBackendExecute);
#undef FIND
  check<DeviceError>(missing.empty(), "cuDNN: ", library.path, " has no ", missing, ". Is it a complete libcudnn_graph?");
}

/// Either the library or why there is none, found out once.
struct Opened {
  std::optional<CudnnLibrary> library;
  std::string why;
};

Opened open_once() {
  Opened out;
  try {
    out.library = open_cudnn(cudnn_search());
  } catch (const DeviceError& error) {
    out.why = error.what();
  }
  return out;
}

}  // namespace

LibrarySearch cudnn_search() {
  LibrarySearch search;
  search.what = "cuDNN";
  search.names = {"libcudnn_graph.so.9"};
  search.strangers = {"libcudnn_graph.so.10", "libcudnn_graph.so.11", "libcudnn.so.8", "libcudnn.so.7"};
  search.variable = "VOXGRAD_CUDNN_DIR";
  search.folder = environment("VOXGRAD_CUDNN_DIR");
  search.folders = toolkit_folders();
  search.advice = "Install cuDNN 9 and set VOXGRAD_CUDNN_DIR to the folder with libcudnn_graph.so.9.";
  return search;
}

CudnnLibrary open_cudnn(const LibrarySearch& search) {
  CudnnLibrary library;
  library.file = open_library(search);
  library.path = library.file.path();
  check<DeviceError>(library.file.find("cudnnGetVersion", library.cudnnGetVersion), "cuDNN: ", library.path,
                     " has no cudnnGetVersion. Is it cuDNN?");
  library.version = library.cudnnGetVersion();
  check<DeviceError>(major_of(library.version) == known_major, "cuDNN: ", library.path, " is version ",
                     cudnn_version_text(library.version), "; this program knows ", known_major, ". ", search.advice);
  check<DeviceError>(library.version >= oldest, "cuDNN: ", library.path, " is version ", cudnn_version_text(library.version), "; ",
                     cudnn_version_text(oldest), " or newer is needed.");
  find_functions(library);
  return library;
}

const CudnnLibrary& cudnn_library() {
  // Never destroyed: cuDNN keeps threads and state of its own until the process ends.
  static const Opened& opened = *new Opened(open_once());
  if (!opened.library) throw DeviceError(opened.why);
  return *opened.library;
}

void preload_sisters(const CudnnLibrary& library) {
  static std::mutex mutex;
  static std::vector<DynamicLibrary>& kept = *new std::vector<DynamicLibrary>;
  const std::scoped_lock lock(mutex);
  if (!kept.empty()) return;
  const std::string folder = folder_of(library.path);
  std::string why;  // an absent one is not needed by every plan: cuDNN says so when it is
  for (const char* name : {"ops", "cnn", "engines_precompiled", "engines_runtime_compiled", "heuristic"})
    if (DynamicLibrary sister(folder + "/libcudnn_" + name + ".so.9", why); sister) kept.push_back(std::move(sister));
}

std::string cudnn_version_text(std::size_t version) {
  const std::size_t big = version < 90000 ? 1000 : 10000;
  return text(version / big, ".", version % big / 100, ".", version % 100);
}

std::string cudnn_distrust(std::size_t version, Element io, Math math) {
  if (io != Element::f32 && version >= 90800 && version < 91500)
    return text("cuDNN ", cudnn_version_text(version), " can give wrong results in 16-bit 3-D convolutions (known of 9.8 to 9.10, trusted from 9.15 on)");
  if (math == Math::tf32 && version < 91600)
    return text("cuDNN ", cudnn_version_text(version), " has a broken TF32 kernel for 3-D convolutions (trusted from 9.16 on)");
  return "";
}

void require_trusted(const CudnnLibrary& library, Element io, Math math) {
  const std::string why = cudnn_distrust(library.version, io, math);
  check<DeviceError>(why.empty() || environment("VOXGRAD_CUDNN_TRUST") == "1", why, ": ", library.path,
                     ". Use another version or precision, or set VOXGRAD_CUDNN_TRUST=1 to use it all the same.");
}

std::string cudnn_failure(const CudnnLibrary& library, const std::string& call, int status) {
  char last[2048] = "";
  library.cudnnGetLastErrorString(last, sizeof last);
  last[sizeof last - 1] = '\0';
  std::string out = text(call, ": ", library.cudnnGetErrorString(status), " (", status, ")");
  std::string said = last;
  while (!said.empty() && (said.back() == '\n' || said.back() == ' ')) said.pop_back();
  for (char& c : said)
    if (c == '\n') c = ' ';
  if (!said.empty()) out += ": " + said;
  if (status == cudnn::STATUS_SUBLIBRARY_VERSION_MISMATCH || status == cudnn::STATUS_SUBLIBRARY_LOADING_FAILED ||
      status == cudnn::STATUS_NOT_SUPPORTED_SUBLIBRARY_UNAVAILABLE)
    if (const std::string mixed = mixed_folders("cuDNN", loaded_files("libcudnn")); !mixed.empty())
      out += ". " + mixed + ". Set VOXGRAD_CUDNN_DIR to the one to use, or take the other out of LD_LIBRARY_PATH.";
  return out;
}

}  // namespace voxgrad::cuda
