// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU tables of box copies and plain memory work.

#include <cstring>

#include "voxgrad/core/parallel.hpp"
#include "voxgrad/kernels/concat.hpp"

namespace voxgrad::cpu {

/// A box copy seen as equal runs of bytes: inner axes that are contiguous on both sides are merged into the run.
struct BoxRuns {
  int64_t extent[Shape::max_rank] = {}, from_stride[Shape::max_rank] = {}, to_stride[Shape::max_rank] = {};
  int axes = 0;  ///< outer axes that are left
  int64_t run = 1, runs = 1, from_start = 0, to_start = 0;  ///< bytes, count, bytes, bytes
};

inline BoxRuns box_runs(const kernels::CopyBoxProblem& p) {
  BoxRuns b;
  int64_t from_step = int64_t(size_of(p.dtype)), to_step = from_step;
  b.run = from_step;
  bool inner = true;  // both sides are contiguous up to this axis
  for (int axis = p.extent.rank() - 1; axis >= 0; --axis) {
    b.from_start += p.from_offset[axis] * from_step;
    b.to_start += p.to_offset[axis] * to_step;
    if (inner) {
      b.run *= p.extent[axis];
    } else if (p.extent[axis] != 1) {
      b.extent[b.axes] = p.extent[axis];
      b.from_stride[b.axes] = from_step;
      b.to_stride[b.axes++] = to_step;
      b.runs *= p.extent[axis];
    }
    inner = inner && p.extent[axis] == p.from[axis] && p.extent[axis] == p.to[axis];
    from_step *= p.from[axis];
    to_step *= p.to[axis];
  }
  return b;
}

inline void copy_box(const kernels::CopyBoxProblem& p, const void* from, void* to) {
  if (p.extent.size() == 0) return;
  const BoxRuns b = box_runs(p);
  const char* const source = static_cast<const char*>(from) + b.from_start;
  char* const target = static_cast<char*>(to) + b.to_start;
  parallel_for(b.runs, 1 + (int64_t(1) << 16) / b.run, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      int64_t rest = r, f = 0, t = 0;
      for (int axis = 0; axis < b.axes; ++axis) {
        const int64_t i = rest % b.extent[axis];
        rest /= b.extent[axis];
        f += i * b.from_stride[axis];
        t += i * b.to_stride[axis];
      }
      std::memcpy(target + t, source + f, size_t(b.run));
    }
  });
}

inline constexpr int64_t memory_grain = 1 << 14;  ///< elements worth a thread of their own

inline void memory_fill(DType dtype, int64_t n, double value, void* y) {
  visit(dtype, [&](auto zero) {
    using T = decltype(zero);
    T* out = static_cast<T*>(y);
    parallel_for(n, memory_grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) out[i] = T(value);
    });
  });
}

inline void memory_axpy(DType dtype, int64_t n, double a, const void* x, void* y) {
  visit(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* in = static_cast<const T*>(x);
    T* out = static_cast<T*>(y);
    parallel_for(n, memory_grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) out[i] += T(a) * in[i];
    });
  });
}

inline void memory_convert(DType from, DType to, int64_t n, const void* x, void* y) {
  visit(from, [&](auto source) {
    visit(to, [&](auto target) {
      const auto* in = static_cast<const decltype(source)*>(x);
      auto* out = static_cast<decltype(target)*>(y);
      parallel_for(n, memory_grain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) out[i] = static_cast<decltype(target)>(in[i]);
      });
    });
  });
}

inline constexpr kernels::CopyBoxTable copy_box_table{copy_box};
inline constexpr kernels::MemoryTable memory_table{memory_fill, memory_axpy, memory_convert};
inline const bool copy_box_filled = kernels::copy_box.fill(DeviceKind::cpu, &copy_box_table);
inline const bool memory_filled = kernels::memory.fill(DeviceKind::cpu, &memory_table);

}  // namespace voxgrad::cpu
