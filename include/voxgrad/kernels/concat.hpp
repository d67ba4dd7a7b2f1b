// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Contract of moving boxes between tensors (crop, zero padding and concatenation are one strided copy) and of
// plain memory work.

#include "voxgrad/core/dtype.hpp"
#include "voxgrad/core/kernels.hpp"
#include "voxgrad/core/shape.hpp"

namespace voxgrad::kernels {

/// Copies a box of `extent` elements per axis; offsets and full shapes say where it lies on either side.
struct CopyBoxProblem {
  DType dtype;
  Shape extent, from, to;  ///< equal ranks
  int64_t from_offset[Shape::max_rank], to_offset[Shape::max_rank];
};
struct CopyBoxTable {
  void (*copy)(const CopyBoxProblem&, const void* from, void* to);
};
inline constinit Kernels<CopyBoxTable> copy_box{"copy_box"};

struct MemoryTable {
  void (*fill)(DType, int64_t n, double value, void* y);
  void (*axpy)(DType, int64_t n, double a, const void* x, void* y);  ///< y += a x
  void (*convert)(DType from, DType to, int64_t n, const void* x, void* y);
};
inline constinit Kernels<MemoryTable> memory{"memory"};

}  // namespace voxgrad::kernels
