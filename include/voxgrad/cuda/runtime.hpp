// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The CUDA runtime as the rest of the program sees it, without its headers. Defined in cuda/runtime.cpp, or in
// cuda/absent.cpp when the program is built without CUDA.

namespace voxgrad::cuda {

/// Whether this program has GPU kernels at all.
bool built();

}  // namespace voxgrad::cuda
