// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The GPU's side of cuda/phases.hpp: one thread runs its phases, barriers between them.

#include <cuda_runtime_api.h>

#include "voxgrad/core/error.hpp"
#include "voxgrad/cuda/launch.hpp"

namespace voxgrad::cuda {

struct BlockBarrier {
  __device__ void operator()() const { __syncthreads(); }
};

template <class K>
__global__ void __launch_bounds__(K::threads, 1) kernel(const typename K::Args args) {
  __shared__ typename K::Shared shared;
  typename K::Thread thread;
  run_phases<K>(args, At{int64_t(blockIdx.x), int64_t(gridDim.x), int(threadIdx.x)}, shared, thread, BlockBarrier{});
}

template <class K>
void launch(const typename K::Args& args, StreamHandle stream) {
  const int64_t blocks = K::blocks(args);
  if (blocks == 0) return;
  check<DeviceError>(blocks > 0 && blocks <= 0x7fffffff, K::name, ": ", blocks, " blocks are more than a card takes");
  kernel<K><<<unsigned(blocks), K::threads, 0, stream>>>(args);
  const cudaError_t status = cudaGetLastError();
  check<DeviceError>(status == cudaSuccess, K::name, ": the card refused the kernel: ", cudaGetErrorString(status));
}

/// Compiles every kernel of a list.
template <class List>
struct CompileAll;
template <template <class...> class List, class... Ks>
struct CompileAll<List<Ks...>> {
  /// Naming a function template's instance makes it. (A tuple of this many is more than nvcc can resolve.)
  static auto starts() {
    using Start = void (*)();
    static const Start all[] = {reinterpret_cast<Start>(&launch<Ks>)...};
    return &all[0];
  }
};

}  // namespace voxgrad::cuda
