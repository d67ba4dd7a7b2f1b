// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU tables of sums and losses. Work is cut into blocks whose size depends on the shape alone and whose sums, in
// double, are added in order: the thread count changes no bit.

#include "voxgrad/cpu/loss_loops.hpp"
#include "voxgrad/cpu/vec.hpp"

#define VOXGRAD_INL "voxgrad/cpu/reduce.inl"
#include "voxgrad/simd/for_each_isa.hpp"

namespace voxgrad::cpu {

/// Axes walked as one index.
struct Axes {
  int64_t extent[Shape::max_rank] = {}, stride[Shape::max_rank] = {}, size = 1;
  int count = 0;

  void add(int64_t e, int64_t s) {  // outermost first
    extent[count] = e;
    stride[count++] = s;
    size *= e;
  }
  int64_t offset(int64_t i) const {
    int64_t at = 0;
    for (int axis = count - 1; axis >= 0; --axis) {
      at += i % extent[axis] * stride[axis];
      i /= extent[axis];
    }
    return at;
  }
};

/// A sum as tasks: every task adds the items of one block for one group of outputs.
struct SumPlan {
  Axes kept, reduced;          ///< all axes but the innermost
  int64_t width = 1, run = 1;  ///< innermost axis: `width` kept columns or `run` summed numbers
  int64_t columns, strips;     ///< columns per task, tasks across the width
  int64_t piece, pieces;       ///< numbers per item of a run, items per run
  int64_t items, per_block, blocks;

  explicit SumPlan(const kernels::ReduceProblem& p) {
    int64_t extent[Shape::max_rank];
    bool summed[Shape::max_rank];
    int axes = 0;
    for (int i = 0; i < p.in.rank(); ++i) {
      if (p.in[i] == 1) continue;
      if (axes > 0 && summed[axes - 1] == p.reduced[i]) {
        extent[axes - 1] *= p.in[i];
      } else {
        extent[axes] = p.in[i];
        summed[axes++] = p.reduced[i];
      }
    }
    int64_t stride[Shape::max_rank], step = 1;
    for (int i = axes - 1; i >= 0; --i) {
      stride[i] = step;
      step *= extent[i];
    }
    for (int i = 0; i + 1 < axes; ++i) (summed[i] ? reduced : kept).add(extent[i], stride[i]);
    if (axes > 0) (summed[axes - 1] ? run : width) = extent[axes - 1];
    columns = width < 1024 ? width : 1024;
    strips = (width + columns - 1) / columns;
    piece = run < block ? run : block;
    pieces = (run + piece - 1) / piece;
    items = reduced.size * pieces;
    const int64_t weight = columns * piece;
    per_block = width > 1 && weight > block / 64 ? 64 : 1 + (block - 1) / weight;
    blocks = (items + per_block - 1) / per_block;
  }
  int64_t tasks() const { return kept.size * strips * blocks; }

  static constexpr int64_t block = 1 << 14;  ///< numbers added before the sum goes to memory
};

template <class T>
struct SumKernels {
  double (*run)(int64_t n, const T* x);
  void (*rows)(int64_t rows, int64_t stride, int64_t width, const T* x, double* sum);
};

inline SumKernels<float> sum_kernels(float) {
  return {by_isa(scalar::flat::sum_run, avx2::flat::sum_run, avx512::flat::sum_run),
          by_isa(scalar::flat::sum_rows, avx2::flat::sum_rows, avx512::flat::sum_rows)};
}
inline SumKernels<double> sum_kernels(double) {
  return {[](int64_t n, const double* x) {
            double total = 0;
            for (int64_t i = 0; i < n; ++i) total += x[i];
            return total;
          },
          [](int64_t rows, int64_t stride, int64_t width, const double* x, double* sum) {
            for (int64_t r = 0; r < rows; ++r)
              for (int64_t c = 0; c < width; ++c) sum[c] += x[r * stride + c];
          }};
}

/// Adds items [begin, end) of a group into sum[0..width): x points at the group's first number.
template <class T>
void sum_items(const SumPlan& s, const SumKernels<T>& k, int64_t begin, int64_t end, int64_t width, const T* x, double* sum) {
  const int last = s.reduced.count - 1;
  for (int64_t item = begin; item < end;) {
    if (s.width == 1) {
      const int64_t start = item % s.pieces * s.piece, n = s.run - start < s.piece ? s.run - start : s.piece;
      sum[0] += k.run(n, x + s.reduced.offset(item / s.pieces) + start);
      ++item;
    } else if (last < 0) {
      k.rows(1, 0, width, x, sum);
      ++item;
    } else {  // rows along the innermost summed axis in one call
      const int64_t here = s.reduced.extent[last] - item % s.reduced.extent[last];
      const int64_t rows = here < end - item ? here : end - item;
      k.rows(rows, s.reduced.stride[last], width, x + s.reduced.offset(item), sum);
      item += rows;
    }
  }
}

template <class T>
void sum_blocks(const SumPlan& s, const T* x, T* y) {
  const SumKernels<T> k = sum_kernels(T{});
  double* const partial =
      s.blocks == 1 ? nullptr : static_cast<double*>(scratch(0, size_t(s.tasks() * s.columns) * sizeof(double)));
  const int64_t work = s.per_block * s.columns * s.piece;
  parallel_for(s.tasks(), 1 + flat_grain / work, [&](int64_t first, int64_t end) {
    double sum[1024];
    for (int64_t t = first; t < end; ++t) {
      const int64_t block = t % s.blocks, strip = t / s.blocks % s.strips, group = t / s.blocks / s.strips;
      const int64_t column = strip * s.columns, width = s.width - column < s.columns ? s.width - column : s.columns;
      for (int64_t c = 0; c < width; ++c) sum[c] = 0;
      const int64_t from = block * s.per_block, to = from + s.per_block < s.items ? from + s.per_block : s.items;
      sum_items(s, k, from, to, width, x + s.kept.offset(group) + column, sum);
      for (int64_t c = 0; c < width; ++c) {
        if (partial) partial[t * s.columns + c] = sum[c];
        else y[group * s.width + column + c] = T(sum[c]);
      }
    }
  });
  if (!partial) return;
  for (int64_t o = 0; o < s.kept.size * s.width; ++o) {
    const int64_t group = o / s.width, column = o % s.width, strip = column / s.columns;
    const double* at = partial + (group * s.strips + strip) * s.blocks * s.columns + column % s.columns;
    double total = 0;
    for (int64_t b = 0; b < s.blocks; ++b) total += at[b * s.columns];
    y[o] = T(total);
  }
}

inline void sum(const kernels::ReduceProblem& p, const void* x, void* y) {
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (p.in.size() == 0) return sum_ref(p, static_cast<const T*>(x), static_cast<T*>(y));
    sum_blocks(SumPlan(p), static_cast<const T*>(x), static_cast<T*>(y));
  });
}

template <class F>
double loss_forward(DType dtype, int64_t n, const void* p, const void* t) {
  if (dtype == DType::f64) return loss_loops<F>.forward(dtype, n, p, t);
  return loss_on_threads<float>(
      by_isa(scalar::flat::loss_block<F>, avx2::flat::loss_block<F>, avx512::flat::loss_block<F>), n, p, t);
}

template <class F>
void loss_backward(DType dtype, int64_t n, double scale, const void* p, const void* t, void* dp) {
  if (dtype == DType::f64) return loss_loops<F>.backward(dtype, n, scale, p, t, dp);
  loss_backward_on_threads<float>(
      by_isa(scalar::flat::loss_backward<F>, avx2::flat::loss_backward<F>, avx512::flat::loss_backward<F>), n, scale, p,
      t, dp);
}

inline constexpr kernels::ReduceTable reduce_table{sum};
inline const bool reduce_filled = kernels::reduce.fill(DeviceKind::cpu, &reduce_table);

template <class F>
inline constexpr kernels::LossTable loss_table{loss_forward<F>, loss_backward<F>};
template <class... Fs>
bool fill_losses(kernels::List<Fs...>) {
  return (kernels::loss<Fs>.fill(DeviceKind::cpu, &loss_table<Fs>) && ...);
}
inline const bool losses_filled = fill_losses(kernels::LossList{});

}  // namespace voxgrad::cpu
