// SPDX-License-Identifier: BSD-3-Clause
#include "card.hpp"

#include <cstdio>
#include <cstdlib>
#include <new>

#include "voxgrad/core/error.hpp"

#ifdef VOXGRAD_CUDA
#include <cuda_runtime_api.h>
#endif

namespace voxgrad::cuda::test {
namespace {

/// Why kernels cannot run on a card; empty: they can.
const char* obstacle() {
#ifdef VOXGRAD_CUDA
  int devices = 0, managed = 0;
  if (const cudaError_t status = cudaGetDeviceCount(&devices); status != cudaSuccess) return cudaGetErrorString(status);
  if (devices == 0) return "no GPU";
  if (const cudaError_t status = cudaDeviceGetAttribute(&managed, cudaDevAttrConcurrentManagedAccess, 0); status != cudaSuccess)
    return cudaGetErrorString(status);
  return managed ? "" : "CPU and GPU share no memory on this machine";
#else
  return "this build has no GPU kernels";
#endif
}

bool wanted() {
  if (std::getenv("VOXGRAD_TEST_CARD") == nullptr) return false;
  const char* why = obstacle();
  if (*why == '\0') return true;
  std::printf("skipped: %s\n", why);
  std::fflush(stdout);
  std::_Exit(77);
}

}  // namespace

bool on_card() {
  static const bool is = wanted();
  return is;
}

void* kernel_memory(size_t bytes) {
#ifdef VOXGRAD_CUDA
  if (on_card()) {
    void* p = nullptr;
    if (cudaMallocManaged(&p, bytes > 0 ? bytes : 1, cudaMemAttachGlobal) != cudaSuccess) throw std::bad_alloc();
    return p;
  }
#endif
  return ::operator new(bytes);
}

void free_kernel_memory(void* p) noexcept {
#ifdef VOXGRAD_CUDA
  if (on_card()) return static_cast<void>(cudaFree(p));
#endif
  ::operator delete(p);
}

void wait_for_card([[maybe_unused]] const char* kernel) {
#ifdef VOXGRAD_CUDA
  const cudaError_t status = cudaDeviceSynchronize();
  check<DeviceError>(status == cudaSuccess, kernel, " on the card: ", cudaGetErrorString(status));
#endif
}

}  // namespace voxgrad::cuda::test
