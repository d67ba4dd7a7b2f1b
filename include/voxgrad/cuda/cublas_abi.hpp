// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The part of cuBLAS that voxgrad uses, as numbers (see cudnn_abi.hpp). Names without "CUBLAS_".

#include <cstddef>

struct cublasContext;
struct CUstream_st;

namespace voxgrad::cuda::cublas {

using Handle = cublasContext*;
using Stream = CUstream_st*;

enum Operation : int { OP_N = 0, OP_T = 1 };
enum ComputeType : int { COMPUTE_32F = 68, COMPUTE_32F_PEDANTIC = 69, COMPUTE_32F_FAST_TF32 = 77 };
enum Algorithm : int { GEMM_DEFAULT = -1 };
enum MathMode : int { DEFAULT_MATH = 0, MATH_DISALLOW_REDUCED_PRECISION_REDUCTION = 16 };
/// cudaDataType_t of library_types.h
enum DataType : int { CUDA_R_32F = 0, CUDA_R_16F = 2, CUDA_R_16BF = 14 };

struct Functions {
  int (*cublasCreate_v2)(Handle* handle);
  int (*cublasDestroy_v2)(Handle handle);
  int (*cublasGetVersion_v2)(Handle handle, int* version);
  int (*cublasGetProperty)(int which, int* value);  ///< 0 major, 1 minor, 2 patch; needs no handle and no card
  int (*cublasSetStream_v2)(Handle handle, Stream stream);
  int (*cublasSetWorkspace_v2)(Handle handle, void* workspace, std::size_t bytes);
  int (*cublasSetMathMode)(Handle handle, int mode);
  const char* (*cublasGetStatusString)(int status);
  /// Column-major C[m,n] = alpha op(A) op(B) + beta C
  int (*cublasGemmEx)(Handle handle, int transa, int transb, int m, int n, int k, const void* alpha, const void* a, int a_type, int lda,
                      const void* b, int b_type, int ldb, const void* beta, void* c, int c_type, int ldc, int compute, int algorithm);
};

}  // namespace voxgrad::cuda::cublas
