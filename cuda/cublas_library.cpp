// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/cuda/cublas_library.hpp"

#include <optional>

#include "voxgrad/core/error.hpp"

namespace voxgrad::cuda {
namespace {

void find_functions(CublasLibrary& library) {
  std::string missing;
  const auto find = [&](const char* name, auto& function) {
    if (!library.file.find(name, function)) missing += (missing.empty() ? "" : ", ") + std::string(name);
  };
#define FIND(name) find(#name, library.name)
  FIND(cublasCreate_v2);
  FIND(cublasDestroy_v2);
  FIND(cublasGetVersion_v2);
  FIND(cublasSetStream_v2);
  FIND(cublasSetWorkspace_v2);
  FIND(cublasSetMathMode);
  FIND(cublasGetStatusString);
  FIND(cublasGemmEx);
#undef FIND
  check<DeviceError>(missing.empty(), "cuBLAS: ", library.path, " has no ", missing, ". Is it a complete libcublas?");
}

struct Opened {
  std::optional<CublasLibrary> library;
  std::string why;
};

Opened open_once() {
  Opened out;
  try {
    out.library = open_cublas(cublas_search());
  } catch (const DeviceError& error) {
    out.why = error.what();
  }
  return out;
}

cublas::DataType data_type(Element e) {
  return e == Element::f32 ? cublas::CUDA_R_32F : e == Element::bf16 ? cublas::CUDA_R_16BF : cublas::CUDA_R_16F;
}

}  // namespace

LibrarySearch cublas_search() {
  LibrarySearch search;
  search.what = "cuBLAS";
  search.names = {"libcublas.so.13", "libcublas.so.12"};
  search.strangers = {"libcublas.so.14", "libcublas.so.11"};
  search.variable = "VOXGRAD_CUBLAS_DIR";
  search.folder = environment("VOXGRAD_CUBLAS_DIR");
  search.folders = toolkit_folders();
  // Where Python packages put it: beside the folder of cuDNN.
  if (const std::string cudnn = environment("VOXGRAD_CUDNN_DIR"); !cudnn.empty())
    for (const char* beside : {"/../../cu13", "/../../cublas", "/../cu13", "/../cublas"}) search.folders.push_back(cudnn + beside);
  search.advice = "Set VOXGRAD_CUBLAS_DIR to the folder with libcublas.so.13 or .12.";
  return search;
}

CublasLibrary open_cublas(const LibrarySearch& search) {
  CublasLibrary library;
  library.file = open_library(search);
  library.path = library.file.path();
  check<DeviceError>(library.file.find("cublasGetProperty", library.cublasGetProperty), "cuBLAS: ", library.path,
                     " has no cublasGetProperty. Is it cuBLAS?");
  for (int i = 0; i < 3; ++i)
    check<DeviceError>(library.cublasGetProperty(i, &library.version[i]) == 0, "cuBLAS: ", library.path, " does not tell its version.");
  check<DeviceError>(library.version[0] == 12 || library.version[0] == 13, "cuBLAS: ", library.path, " is version ", library.version[0],
                     ".", library.version[1], "; this program knows 12 and 13. ", search.advice);
  find_functions(library);
  return library;
}

const CublasLibrary& cublas_library() {
  static const Opened& opened = *new Opened(open_once());  // never destroyed, as cuDNN
  if (!opened.library) throw DeviceError(opened.why);
  return *opened.library;
}

void check_cublas(const CublasLibrary& library, int status, const char* call) {
  check<DeviceError>(status == 0, call, ": ", library.cublasGetStatusString(status), " (", status, ")");
}

void validate(const Gemm& g) {
  check<DTypeError>((g.io == Element::f32) == (g.math != Math::tensor_core), "matmul: ", name(g.io), " storage does not go with ",
                    name(g.math), " (16-bit storage is for tensor_core, f32 for tf32 and strict)");
  check<ShapeError>(g.m >= 0 && g.n >= 0 && g.k >= 0, "matmul: extents must not be negative (m ", g.m, ", n ", g.n, ", k ", g.k, ")");
  const int a_row = g.transpose_a ? g.m : g.k, b_row = g.transpose_b ? g.k : g.n;
  check<ShapeError>(g.lda >= a_row && g.ldb >= b_row && g.ldc >= g.n, "matmul: rows overlap (lda ", g.lda, " of ", a_row, ", ldb ", g.ldb,
                    " of ", b_row, ", ldc ", g.ldc, " of ", g.n, ")");
}

Cublas::Cublas(const CublasLibrary& library) : library_(library) {
  check_cublas(library_, library_.cublasCreate_v2(&handle_), "cublasCreate");
}

Cublas::~Cublas() {
  if (handle_ != nullptr) library_.cublasDestroy_v2(handle_);
}

void Cublas::set_workspace(void* memory, std::size_t bytes) {
  workspace_ = memory;
  workspace_bytes_ = bytes;
}

void Cublas::run(const Gemm& g, StreamHandle stream) {
  validate(g);
  if (g.m == 0 || g.n == 0) return;
  check_cublas(library_, library_.cublasSetStream_v2(handle_, stream), "cublasSetStream");
  // A new stream puts the handle back to its own workspace.
  if (workspace_ != nullptr) check_cublas(library_, library_.cublasSetWorkspace_v2(handle_, workspace_, workspace_bytes_), "cublasSetWorkspace");
  const auto mode = g.math == Math::tensor_core ? cublas::MATH_DISALLOW_REDUCED_PRECISION_REDUCTION : cublas::DEFAULT_MATH;
  check_cublas(library_, library_.cublasSetMathMode(handle_, mode), "cublasSetMathMode");
  const auto compute = g.math == Math::tf32     ? cublas::COMPUTE_32F_FAST_TF32
                       : g.math == Math::strict ? cublas::COMPUTE_32F_PEDANTIC
                                                : cublas::COMPUTE_32F;
  const int type = data_type(g.io);
  // cuBLAS is column-major: row-major C is its C', and C' = op(B)' op(A)'.
  check_cublas(library_,
               library_.cublasGemmEx(handle_, g.transpose_b ? cublas::OP_T : cublas::OP_N, g.transpose_a ? cublas::OP_T : cublas::OP_N, g.n,
                                     g.m, g.k, &g.alpha, g.b, type, g.ldb, g.a, type, g.lda, &g.beta, g.c, type, g.ldc, compute,
                                     cublas::GEMM_DEFAULT),
               "cublasGemmEx");
}

}  // namespace voxgrad::cuda
