// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU tables of the pointwise ops, unfolded from the type lists. f32 runs on vectors where pointwise.inl has the
// functor (tanh and elu go through the standard library), f64 through the plain loops; both on all threads.

#include "voxgrad/core/parallel.hpp"
#include "voxgrad/cpu/pointwise_ref.hpp"
#include "voxgrad/cpu/vec.hpp"

#define VOXGRAD_INL "voxgrad/cpu/pointwise.inl"
#include "voxgrad/simd/for_each_isa.hpp"

namespace voxgrad::cpu {

template <class F>
inline constexpr bool on_vectors = true;
template <>
inline constexpr bool on_vectors<kernels::Tanh> = false;
template <>
inline constexpr bool on_vectors<kernels::Elu> = false;

/// A kernel on all threads. It is a pointer, so that this is compiled once and not per functor.
template <class T>
void unary_on_threads(void (*kernel)(int64_t, kernels::Params, const T*, T*), int64_t n, kernels::Params p, const void* x,
                      void* y) {
  parallel_for(n, flat_grain, [&](int64_t begin, int64_t end) {
    kernel(end - begin, p, static_cast<const T*>(x) + begin, static_cast<T*>(y) + begin);
  });
}

template <class T>
void unary_backward_on_threads(void (*kernel)(int64_t, kernels::Params, const T*, const T*, const T*, T*), int64_t n,
                               kernels::Params p, const void* x, const void* y, const void* dy, void* dx) {
  parallel_for(n, flat_grain, [&](int64_t begin, int64_t end) {
    kernel(end - begin, p, static_cast<const T*>(x) + begin, static_cast<const T*>(y) + begin,
           static_cast<const T*>(dy) + begin, static_cast<T*>(dx) + begin);
  });
}

template <class F>
void unary_forward(DType dtype, int64_t n, kernels::Params p, const void* x, void* y) {
  if (dtype == DType::f64) return unary_on_threads<double>(unary_forward_ref<F, double>, n, p, x, y);
  auto* kernel = unary_forward_ref<F, float>;
  if constexpr (on_vectors<F>)
    kernel = by_isa(scalar::flat::unary_forward<F>, avx2::flat::unary_forward<F>, avx512::flat::unary_forward<F>);
  unary_on_threads<float>(kernel, n, p, x, y);
}

template <class F>
void unary_backward(DType dtype, int64_t n, kernels::Params p, const void* x, const void* y, const void* dy, void* dx) {
  if (dtype == DType::f64)
    return unary_backward_on_threads<double>(unary_backward_ref<F, double>, n, p, x, y, dy, dx);
  auto* kernel = unary_backward_ref<F, float>;
  if constexpr (on_vectors<F>)
    kernel = by_isa(scalar::flat::unary_backward<F>, avx2::flat::unary_backward<F>, avx512::flat::unary_backward<F>);
  unary_backward_on_threads<float>(kernel, n, p, x, y, dy, dx);
}

/// Merges axes that are walked as one by both operands and drops extents of 1, so that the last axis is long.
inline kernels::BinaryProblem merged(const kernels::BinaryProblem& p) {
  int64_t extent[Shape::max_rank] = {};
  kernels::BinaryProblem q{p.dtype, {}, {}, {}, p.same_shape};
  int axes = 0;
  for (int i = 0; i < p.out.rank(); ++i) {
    if (p.out[i] == 1) continue;
    const int k = axes - 1;
    if (axes > 0 && q.a_stride[k] == p.a_stride[i] * p.out[i] && q.b_stride[k] == p.b_stride[i] * p.out[i]) {
      extent[k] *= p.out[i];
    } else {
      extent[axes++] = p.out[i];
    }
    q.a_stride[axes - 1] = p.a_stride[i];
    q.b_stride[axes - 1] = p.b_stride[i];
  }
  q.out = Shape(extent, extent + axes);
  return q;
}

/// One row of n elements: each operand is contiguous (step 1) or one repeated number (step 0).
template <class T>
using BinaryRun = void (*)(int64_t n, const T* a, int64_t a_step, const T* b, int64_t b_step, T* y);

/// Rows [begin, end) of a merged problem.
template <class T>
void binary_rows(const kernels::BinaryProblem& p, BinaryRun<T> run, int64_t begin, int64_t end, const T* a, const T* b, T* y) {
  const int last = p.out.rank() - 1;
  const int64_t n = p.out[last];
  for (int64_t row = begin; row < end; ++row) {
    int64_t rest = row, ia = 0, ib = 0;
    for (int axis = last - 1; axis >= 0; --axis) {
      const int64_t i = rest % p.out[axis];
      rest /= p.out[axis];
      ia += i * p.a_stride[axis];
      ib += i * p.b_stride[axis];
    }
    run(n, a + ia, p.a_stride[last], b + ib, p.b_stride[last], y + row * n);
  }
}

template <class T>
void binary_on_threads(const kernels::BinaryProblem& problem, BinaryRun<T> run, const void* a, const void* b, void* y) {
  if (problem.out.size() == 0) return;
  const kernels::BinaryProblem p = merged(problem);
  const T *ta = static_cast<const T*>(a), *tb = static_cast<const T*>(b);
  T* ty = static_cast<T*>(y);
  if (p.out.rank() == 0) return run(1, ta, 1, tb, 1, ty);
  if (p.out.rank() == 1) {  // flat: pieces of the only row
    const int64_t sa = p.a_stride[0], sb = p.b_stride[0];
    return parallel_for(p.out[0], flat_grain, [&](int64_t begin, int64_t end) {
      run(end - begin, ta + begin * sa, sa, tb + begin * sb, sb, ty + begin);
    });
  }
  const int64_t n = p.out[-1];
  parallel_for(p.out.size() / n, 1 + flat_grain / n,
               [&](int64_t begin, int64_t end) { binary_rows(p, run, begin, end, ta, tb, ty); });
}

template <class F, class T>
void binary_run_ref(int64_t n, const T* a, int64_t a_step, const T* b, int64_t b_step, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = F::f(a[i * a_step], b[i * b_step]);
}

template <class F>
void binary_forward(const kernels::BinaryProblem& p, const void* a, const void* b, void* y) {
  if (p.dtype == DType::f64) return binary_on_threads<double>(p, binary_run_ref<F, double>, a, b, y);
  binary_on_threads<float>(
      p, by_isa(scalar::flat::binary_run<F>, avx2::flat::binary_run<F>, avx512::flat::binary_run<F>), a, b, y);
}

template <class F>
inline constexpr kernels::UnaryTable unary_table{unary_forward<F>, unary_backward<F>};
template <class F>
inline constexpr kernels::BinaryTable binary_table{binary_forward<F>};

template <class... Fs>
bool fill_unary(kernels::List<Fs...>) {
  return (kernels::unary<Fs>.fill(DeviceKind::cpu, &unary_table<Fs>) && ...);
}
template <class... Fs>
bool fill_binary(kernels::List<Fs...>) {
  return (kernels::binary<Fs>.fill(DeviceKind::cpu, &binary_table<Fs>) && ...);
}
inline const bool unary_filled = fill_unary(kernels::UnaryList{});
inline const bool binary_filled = fill_binary(kernels::BinaryList{});

}  // namespace voxgrad::cpu
