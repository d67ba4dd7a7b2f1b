// SPDX-License-Identifier: BSD-3-Clause
// All GPU kernels, compiled once by nvcc; the rest of the program is plain C++.
#include "launch.cuh"
#include "voxgrad/cuda/kernel_list.hpp"

template struct voxgrad::cuda::CompileAll<voxgrad::cuda::KernelList>;
