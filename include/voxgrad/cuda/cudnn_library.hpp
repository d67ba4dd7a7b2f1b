// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// cuDNN's graph interface, opened at run time.

#include <cstddef>
#include <string>
#include <vector>

#include "voxgrad/cuda/conv_spec.hpp"
#include "voxgrad/cuda/cudnn_abi.hpp"
#include "voxgrad/cuda/dynamic_library.hpp"

namespace voxgrad::cuda {

/// An opened cuDNN: its functions by name, its version and the file.
struct CudnnLibrary : cudnn::Functions {
  DynamicLibrary file;
  std::string path;
  std::size_t version = 0;  ///< 91900 for 9.19.0
};

/// VOXGRAD_CUDNN_DIR (then nowhere else), the loader's path, the CUDA toolkit's folders.
LibrarySearch cudnn_search();

/// DeviceError: not found (with the places), a major version other than 9, older than 9.1, a function missing.
CudnnLibrary open_cudnn(const LibrarySearch& search);

/// The process' cuDNN, opened on first use and kept. The same DeviceError each time when it cannot be.
const CudnnLibrary& cudnn_library();

/// Loads the libraries beside it that cuDNN would else look for by name, so that no other installation is mixed in.
/// Takes part of a second; needed before the first plan only.
void preload_sisters(const CudnnLibrary& library);

/// "9.19.0"
std::string cudnn_version_text(std::size_t version);

/// Why this version is not trusted with 3-D convolutions of the given storage and mathematics, "" if it is:
/// 16-bit results of 9.8 to 9.14 can be wrong without a sign of it, and TF32 kernels before 9.16 are broken.
std::string cudnn_distrust(std::size_t version, Element io, Math math);

/// DeviceError unless the version is trusted or VOXGRAD_CUDNN_TRUST=1 is set.
void require_trusted(const CudnnLibrary& library, Element io, Math math);

/// A failed call as one sentence: the call, cuDNN's name and number of the status, its last error text and, when two
/// installations are mixed, that they are.
std::string cudnn_failure(const CudnnLibrary& library, const std::string& call, int status);

/// DeviceError(cudnn_failure) unless the status is success.
inline void check_cudnn(const CudnnLibrary& library, int status, const char* call) {
  if (status != cudnn::STATUS_SUCCESS) [[unlikely]]
    throw DeviceError(cudnn_failure(library, call, status));
}

}  // namespace voxgrad::cuda
