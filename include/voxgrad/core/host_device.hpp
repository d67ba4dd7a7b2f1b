// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// VOXGRAD_HD marks what CPU and GPU share: the same functors and kernel bodies are compiled by the C++ compiler, which
// tests them, and by nvcc, which runs them.

#ifdef __CUDACC__
#define VOXGRAD_HD __host__ __device__
#else
#define VOXGRAD_HD
#endif
