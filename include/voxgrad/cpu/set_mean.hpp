// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU table of sums over sets of voxels. A block of voxels stays in the first cache while all terms pass over it, so memory
// is read once; block sums are added in order, so the thread count changes no bit.

#include "voxgrad/core/parallel.hpp"
#include "voxgrad/cpu/set_mean_ref.hpp"
#include "voxgrad/cpu/vec.hpp"

#define VOXGRAD_INL "voxgrad/cpu/set_mean.inl"
#include "voxgrad/simd/for_each_isa.hpp"

namespace voxgrad::cpu {

inline constexpr int64_t set_block = 2048;  ///< voxels per block
inline constexpr int64_t own_block = 256;   ///< voxels per call of a caller's function

/// Sum and slopes of one function.
template <class T>
struct SetKernels {
  double (*sum)(const SetRun<T>&);
  void (*slopes)(const SetRun<T>&, T coefficient, T* dz);
};

template <class F>
SetKernels<double> set_kernels_of(double) {
  return {set_sum_ref<F, double>, set_slope_ref<F, double>};
}
template <class F>
SetKernels<float> set_kernels_of(float) {
  return {by_isa(scalar::flat::set_sum<F>, avx2::flat::set_sum<F>, avx512::flat::set_sum<F>),
          by_isa(scalar::flat::set_slopes<F>, avx2::flat::set_slopes<F>, avx512::flat::set_slopes<F>)};
}
template <class T, class... Fs>
SetKernels<T> set_kernels(kernels::SetFunction f, kernels::List<Fs...>) {
  static_assert(sizeof...(Fs) == size_t(kernels::SetFunction::count), "every function has its enumerator");
  using Make = SetKernels<T> (*)(T);
  static constexpr Make make[] = {&set_kernels_of<Fs>...};
  return make[size_t(f)](T{});
}

inline bool set_finite(int64_t n, const float* x) {
  return by_isa(scalar::flat::all_finite, avx2::flat::all_finite, avx512::flat::all_finite)(n, x);
}
inline bool set_finite(int64_t n, const double* x) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i] * 0;
  return sum == 0;
}

/// body(n, f, df, at) on runs of a caller's function, in double.
template <class T, class Body>
void own_runs(const kernels::OwnFunction& own, const SetRun<T>& r, Body&& body) {
  double z[own_block], f[own_block], df[own_block];
  for (int64_t i = 0; i < r.n; i += own_block) {
    const int64_t n = r.n - i < own_block ? r.n - i : own_block;
    for (int64_t k = 0; k < n; ++k) z[k] = double(r.negated ? -r.z[i + k] : r.z[i + k]);
    own.evaluate(own.self, n, z, f, df);
    body(n, f, df, i);
  }
}
template <class T>
double own_sum(const kernels::OwnFunction& own, const SetRun<T>& r) {
  double total = 0;
  own_runs(own, r, [&](int64_t n, const double* f, const double*, int64_t at) {
    for (int64_t k = 0; k < n; ++k)
      if (r.has(at + k)) total += double(r.scale(at + k)) * f[k];
  });
  return total;
}
template <class T>
void own_slopes(const kernels::OwnFunction& own, const SetRun<T>& r, double coefficient, T* dz) {
  const double c = r.negated ? -coefficient : coefficient;
  own_runs(own, r, [&](int64_t n, const double*, const double* df, int64_t at) {
    for (int64_t k = 0; k < n; ++k)
      if (r.has(at + k)) dz[at + k] += T(c * double(r.scale(at + k)) * df[k]);
  });
}

/// Blocks of a problem: none crosses a group.
struct SetBlocks {
  int64_t per_group, count;
  explicit SetBlocks(const kernels::SetMeanProblem& p)
      : per_group((p.size + set_block - 1) / set_block), count(p.groups * per_group) {}
};

/// The voxels of a block as a run, without a term yet, and all classes that occur there.
template <class T>
SetRun<T> block_run(const kernels::SetMeanProblem& p, const SetBlocks& blocks, int64_t b, int64_t& at, uint8_t& seen) {
  const int64_t in_group = b % blocks.per_group * set_block;
  at = b / blocks.per_group * p.size + in_group;
  const int64_t n = p.size - in_group < set_block ? p.size - in_group : set_block;
  seen = 0;
  for (int64_t i = 0; i < n; ++i) seen = uint8_t(seen | p.classes[at + i]);
  const T* const weight = static_cast<const T*>(p.weight);
  return {n, static_cast<const T*>(p.z) + at, p.classes + at, weight ? weight + at : nullptr, nullptr, 0, false, T(0)};
}
template <class T>
void set_term(SetRun<T>& r, const kernels::SetTerm& t, int64_t at) {
  r.factor = t.factor ? static_cast<const T*>(t.factor) + at : nullptr;
  r.set = t.set;
  r.negated = t.negated;
  r.a = T(t.a);
}

template <class T>
int64_t set_forward(const kernels::SetMeanProblem& p, double* sums) {
  const SetBlocks blocks(p);
  const int64_t row = p.terms + 1;  // of each block: the terms' sums, then the first bad logit or -1
  double* const partial = static_cast<double*>(scratch(0, size_t(blocks.count * row + 1) * sizeof(double)));
  parallel_for(blocks.count, 4, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      int64_t at;
      uint8_t seen;
      SetRun<T> r = block_run<T>(p, blocks, b, at, seen);
      double* const out = partial + b * row;
      out[p.terms] = -1;
      if (!set_finite(r.n, r.z)) {
        int64_t i = 0;
        while (r.z[i] * T(0) == T(0)) ++i;
        out[p.terms] = double(at + i);
      }
      for (int k = 0; k < p.terms; ++k) {
        const kernels::SetTerm& t = p.term[k];
        out[k] = 0;
        if ((t.set & seen) == 0) continue;
        set_term(r, t, at);
        out[k] = t.own ? own_sum(*t.own, r) : set_kernels<T>(t.function, kernels::SetFunctionList{}).sum(r);
      }
    }
  });
  for (int64_t i = 0; i < p.groups * p.terms; ++i) sums[i] = 0;
  int64_t bad = -1;
  for (int64_t b = 0; b < blocks.count; ++b) {
    for (int k = 0; k < p.terms; ++k) sums[b / blocks.per_group * p.terms + k] += partial[b * row + k];
    if (bad < 0 && partial[b * row + p.terms] >= 0) bad = int64_t(partial[b * row + p.terms]);
  }
  return bad;
}

template <class T>
void set_backward(const kernels::SetMeanProblem& p, const double* coefficient, T* dz) {
  const SetBlocks blocks(p);
  parallel_for(blocks.count, 4, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      int64_t at;
      uint8_t seen;
      SetRun<T> r = block_run<T>(p, blocks, b, at, seen);
      for (int64_t i = 0; i < r.n; ++i) dz[at + i] = T(0);
      for (int k = 0; k < p.terms; ++k) {
        const kernels::SetTerm& t = p.term[k];
        const double c = coefficient[b / blocks.per_group * p.terms + k];
        if (c == 0 || (t.set & seen) == 0) continue;
        set_term(r, t, at);
        if (t.own) own_slopes(*t.own, r, c, dz + at);
        else set_kernels<T>(t.function, kernels::SetFunctionList{}).slopes(r, T(c), dz + at);
      }
    }
  });
}

inline int64_t set_mean_forward(const kernels::SetMeanProblem& p, double* sums) {
  return visit(p.dtype, [&](auto zero) { return set_forward<decltype(zero)>(p, sums); });
}
inline void set_mean_backward(const kernels::SetMeanProblem& p, const double* coefficient, void* dz) {
  visit(p.dtype, [&](auto zero) { set_backward(p, coefficient, static_cast<decltype(zero)*>(dz)); });
}

inline constexpr kernels::SetMeanTable set_mean_table{set_mean_forward, set_mean_backward};
inline const bool set_mean_filled = kernels::set_mean.fill(DeviceKind::cpu, &set_mean_table);

}  // namespace voxgrad::cpu
