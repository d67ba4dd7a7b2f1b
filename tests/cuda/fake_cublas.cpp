// SPDX-License-Identifier: BSD-3-Clause
// A stand-in for libcublas on host memory: f32, column-major, as the original's interface is described. Its major version is
// that of FAKE_CUBLAS_MAJOR. Every status but success comes from FAKE_CUBLAS_STATUS.
#include <cstddef>
#include <cstdlib>

namespace {
int number(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? std::atoi(value) : otherwise;
}
int handle;
}  // namespace

extern "C" {
int cublasCreate_v2(void** out) {
  *out = &handle;
  return number("FAKE_CUBLAS_STATUS", 0);
}
int cublasDestroy_v2(void*) { return 0; }
int cublasGetVersion_v2(void*, int* version) {
  *version = 130000;
  return 0;
}
int cublasGetProperty(int which, int* value) {
  *value = which == 0 ? number("FAKE_CUBLAS_MAJOR", 13) : which;
  return 0;
}
int cublasSetStream_v2(void*, void*) { return 0; }
int cublasSetWorkspace_v2(void*, void*, size_t) { return 0; }
int cublasSetMathMode(void*, int) { return 0; }
const char* cublasGetStatusString(int) { return "CUBLAS_STATUS_FAKE"; }
int cublasGemmEx(void*, int transa, int transb, int m, int n, int k, const void* alpha, const void* a, int a_type, int lda, const void* b,
                 int b_type, int ldb, const void* beta, void* c, int c_type, int ldc, int compute, int) {
  if (a_type != 0 || b_type != 0 || c_type != 0 || (compute != 69 && compute != 77)) return 15;  // f32 only
  const auto* fa = static_cast<const float*>(a);
  const auto* fb = static_cast<const float*>(b);
  auto* fc = static_cast<float*>(c);
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      float sum = 0;
      for (int l = 0; l < k; ++l)
        sum += (transa ? fa[l + size_t(i) * lda] : fa[i + size_t(l) * lda]) * (transb ? fb[j + size_t(l) * ldb] : fb[l + size_t(j) * ldb]);
      float& out = fc[i + size_t(j) * ldc];
      out = *static_cast<const float*>(alpha) * sum + *static_cast<const float*>(beta) * out;
    }
  return 0;
}
}
