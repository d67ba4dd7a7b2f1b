// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Starting a kernel on a card. Kernels of KernelList (cuda/kernel_list.hpp) are compiled by nvcc in
// cuda/voxgrad_cuda.cu; everybody else only sees this declaration.

#include "voxgrad/cuda/phases.hpp"
#include "voxgrad/cuda/stream_handle.hpp"

namespace voxgrad::cuda {

/// Puts K into the stream; throws a DeviceError when the start is refused. A kernel without blocks does nothing.
template <class K>
void launch(const typename K::Args& args, StreamHandle stream);

}  // namespace voxgrad::cuda
