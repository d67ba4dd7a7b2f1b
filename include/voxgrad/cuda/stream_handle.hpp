// SPDX-License-Identifier: BSD-3-Clause
#pragma once

struct CUstream_st;  // of the CUDA runtime, and therefore in the global namespace

namespace voxgrad::cuda {

/// A stream of the CUDA runtime (cudaStream_t), without its header.
using StreamHandle = CUstream_st*;

}  // namespace voxgrad::cuda
