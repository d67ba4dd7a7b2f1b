// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Sums over axes (kernels::ReduceTable), in double and in a fixed order. Each output has `lanes` threads and `splits` blocks,
// chosen by the problem alone.

#include "voxgrad/cuda/kernels/block_sum.hpp"
#include "voxgrad/kernels/reduce.hpp"

namespace voxgrad::cuda {

/// Some axes of x as one: where element i of them lies.
struct AxisGroup {
  static constexpr int max_rank = 6;
  int rank;
  int64_t size;  ///< product of the extents
  int64_t extent[max_rank], stride[max_rank];

  VOXGRAD_HD int64_t offset(int64_t i) const {
    int64_t at = 0;
    for (int k = rank - 1; k > 0; --k) {
      at += i % extent[k] * stride[k];
      i /= extent[k];
    }
    return rank > 0 ? at + i * stride[0] : 0;
  }
  /// One more axis within those before; neighbours in memory become one.
  void add(int64_t n, int64_t step) {
    size *= n;
    if (rank > 0 && stride[rank - 1] == n * step) extent[rank - 1] *= n, stride[rank - 1] = step;
    else extent[rank] = n, stride[rank++] = step;
  }
};

/// Axes of x, those that stay and those that are summed away.
struct ReduceAxes {
  AxisGroup kept, reduced;
  int lanes, splits;
};

inline constexpr int reduce_threads = 256;

inline ReduceAxes reduce_axes(const kernels::ReduceProblem& p) {
  static_assert(AxisGroup::max_rank == Shape::max_rank);
  check<DTypeError>(p.dtype == DType::f32, "sum: x is ", name(p.dtype), ", the GPU takes f32");
  ReduceAxes a{{0, 1, {}, {}}, {0, 1, {}, {}}, 1, 1};
  int64_t step = p.in.size();
  for (int i = 0; i < p.in.rank(); ++i) {
    step = p.in[i] == 0 ? 0 : step / p.in[i];
    (p.reduced[i] ? a.reduced : a.kept).add(p.in[i], step);
  }
  const int64_t terms = a.reduced.size;
  while (a.lanes < reduce_threads && a.lanes * 4 < terms) a.lanes *= 2;
  while (a.splits < 256 && int64_t(a.splits) * a.lanes * 32 < terms && a.kept.size * a.splits < 1024) a.splits *= 2;
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

  static int64_t workspace_bytes(const ReduceAxes& a) { return a.kept.size * a.splits * int64_t(sizeof(double)); }
  static int64_t blocks(const Args& a) { return (a.axes.kept.size * a.axes.splits * a.axes.lanes + threads - 1) / threads; }

  template <int phase>
  VOXGRAD_HD static void run(const Args& p, At at, Shared& s, Thread&) {
    const ReduceAxes& a = p.axes;
    const int lane = at.thread % a.lanes;
    const int64_t sum = at.block * (threads / a.lanes) + at.thread / a.lanes;
    if (sum >= a.kept.size * a.splits) return;
    if constexpr (phase == 0) {
      const float* const x = p.x + a.kept.offset(sum / a.splits);
      double total = 0;
      for (int64_t i = sum % a.splits * a.lanes + lane; i < a.reduced.size; i += int64_t(a.lanes) * a.splits)
        total += double(x[a.reduced.offset(i)]);
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

  static int64_t blocks(const Args& a) { return (a.axes.kept.size + threads - 1) / threads; }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    const int64_t i = at.block * threads + at.thread;
    if (i >= a.axes.kept.size) return;
    double total = 0;
    for (int k = 0; k < a.axes.splits; ++k) total += a.partial[i * a.axes.splits + k];
    a.y[i] = float(total);
  }
};

}  // namespace voxgrad::cuda
