// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Matrix products by cuBLAS, opened at run time.

#include <string>

#include "voxgrad/cuda/conv_spec.hpp"
#include "voxgrad/cuda/cublas_abi.hpp"
#include "voxgrad/cuda/dynamic_library.hpp"
#include "voxgrad/cuda/stream_handle.hpp"

namespace voxgrad::cuda {

struct CublasLibrary : cublas::Functions {
  DynamicLibrary file;
  std::string path;
  int version[3] = {0, 0, 0};
};

/// VOXGRAD_CUBLAS_DIR (then nowhere else), the loader's path, the CUDA toolkit's folders, folders beside cuDNN.
LibrarySearch cublas_search();

/// DeviceError: not found (with the places), a major version other than 12 or 13, a function missing.
CublasLibrary open_cublas(const LibrarySearch& search);

/// The process' cuBLAS, opened on first use and kept. The same DeviceError each time when it cannot be.
const CublasLibrary& cublas_library();

/// DeviceError with call, name and number unless the status is success.
void check_cublas(const CublasLibrary& library, int status, const char* call);

/// Row-major C[m,n] = alpha op(A) op(B) + beta C; op transposes where asked. Rows of the matrices as stored are lda, ldb and
/// ldc elements apart. All matrices have the same element type, sums are f32.
struct Gemm {
  Element io = Element::f32;
  Math math = Math::strict;
  bool transpose_a = false, transpose_b = false;
  int m = 0, n = 0, k = 0;
  const void* a = nullptr;
  const void* b = nullptr;
  void* c = nullptr;
  int lda = 0, ldb = 0, ldc = 0;
  float alpha = 1, beta = 0;
};

/// DTypeError or ShapeError when the fields contradict each other.
void validate(const Gemm& gemm);

/// A handle of cuBLAS on the current device. Give it its own workspace before a CUDA graph is captured: what it takes by
/// itself is not allowed there, and results are only the same from run to run with one stream per handle.
class Cublas {
 public:
  explicit Cublas(const CublasLibrary& library = cublas_library());
  Cublas(const Cublas&) = delete;
  Cublas& operator=(const Cublas&) = delete;
  ~Cublas();

  void set_workspace(void* memory, std::size_t bytes);
  void run(const Gemm& gemm, StreamHandle stream);

 private:
  const CublasLibrary& library_;
  cublas::Handle handle_ = nullptr;
  void* workspace_ = nullptr;
  std::size_t workspace_bytes_ = 0;
};

}  // namespace voxgrad::cuda
