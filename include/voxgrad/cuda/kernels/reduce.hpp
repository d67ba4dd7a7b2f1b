// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Sums over axes (kernels::ReduceTable), in double and in a fixed order. Each output has `lanes` threads and `splits` blocks,
// chosen by the problem alone.

#include "voxgrad/cuda/kernels/block_sum.hpp"
#include "voxgrad/kernels/reduce.hpp"

namespace voxgrad::cuda {

/// Axes of x, those that stay and those that are summed away; strides in elements of x.
struct ReduceAxes {
  static constexpr int max_rank = 6;
  int64_t outputs, terms;  ///< elements of y; elements of x in each sum
  int kept, reduced;
  int64_t kept_extent[max_rank], kept_stride[max_rank], extent[max_rank], stride[max_rank];
  int lanes, splits;

  VOXGRAD_HD static int64_t offset(int64_t i, int rank, const int64_t* extents, const int64_t* strides) {
    int64_t at = 0;
    for (int k = rank - 1; k >= 0; --k) {
      at += i % extents[k] * strides[k];
      i /= extents[k];
    }
    return at;
  }
};

inline constexpr int reduce_threads = 256;

inline ReduceAxes reduce_axes(const kernels::ReduceProblem& p) {
  static_assert(ReduceAxes::max_rank == Shape::max_rank);
  check<DTypeError>(p.dtype == DType::f32, "sum: x is ", name(p.dtype), ", the GPU takes f32");
  ReduceAxes a{1, 1, 0, 0, {}, {}, {}, {}, 1, 1};
  int64_t stride = p.in.size();
  for (int i = 0; i < p.in.rank(); ++i) {
    stride = p.in[i] == 0 ? 0 : stride / p.in[i];
    if (p.reduced[i]) a.extent[a.reduced] = p.in[i], a.stride[a.reduced++] = stride, a.terms *= p.in[i];
    else a.kept_extent[a.kept] = p.in[i], a.kept_stride[a.kept++] = stride, a.outputs *= p.in[i];
  }
  while (a.lanes < reduce_threads && a.lanes * 4 < a.terms) a.lanes *= 2;
  while (a.splits < 256 && int64_t(a.splits) * a.lanes * 32 < a.terms && a.outputs * a.splits < 1024) a.splits *= 2;
  return a;
}

/// partial[output, split]: sums of a part of the terms.
struct ReduceSum {
  static constexpr const char* name = "sum";
  static constexpr int threads = reduce_threads, phases = 2;
  struct Args {
    ReduceAxes axes;
    const float* x;
    double* partial;  ///< workspace_bytes()
  };
  struct Shared {
    double value[threads];
  };
  using Thread = Nothing;

  static int64_t workspace_bytes(const ReduceAxes& a) { return a.outputs * a.splits * int64_t(sizeof(double)); }
  static int64_t blocks(const Args& a) { return (a.axes.outputs * a.axes.splits * a.axes.lanes + threads - 1) / threads; }

  template <int phase>
  VOXGRAD_HD static void run(const Args& p, At at, Shared& s, Thread&) {
    const ReduceAxes& a = p.axes;
    const int lane = at.thread % a.lanes;
    const int64_t sum = at.block * (threads / a.lanes) + at.thread / a.lanes;
    if (sum >= a.outputs * a.splits) return;
    if constexpr (phase == 0) {
      const float* const x = p.x + ReduceAxes::offset(sum / a.splits, a.kept, a.kept_extent, a.kept_stride);
      double total = 0;
      for (int64_t i = sum % a.splits * a.lanes + lane; i < a.terms; i += int64_t(a.lanes) * a.splits)
        total += double(x[ReduceAxes::offset(i, a.reduced, a.extent, a.stride)]);
      s.value[at.thread] = total;
    }
    if constexpr (phase == 1) {
      if (lane != 0) return;
      double total = 0;
      for (int k = 0; k < a.lanes; ++k) total += s.value[at.thread + k];
      p.partial[sum] = total;
    }
  }
};

/// y = sum of the splits.
struct ReduceFinish {
  static constexpr const char* name = "sum_finish";
  static constexpr int threads = 256, phases = 1;
  struct Args {
    ReduceAxes axes;
    const double* partial;
    float* y;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  static int64_t blocks(const Args& a) { return (a.axes.outputs + threads - 1) / threads; }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    const int64_t i = at.block * threads + at.thread;
    if (i >= a.axes.outputs) return;
    double total = 0;
    for (int k = 0; k < a.axes.splits; ++k) total += a.partial[i * a.axes.splits + k];
    a.y[i] = float(total);
  }
};

}  // namespace voxgrad::cuda
