// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A pointwise loss as a table of plain loops on all threads, for any functor with f and df: the double-precision path,
// and all that a loss of one's own needs. `kernels::loss<Mine>.fill(DeviceKind::cpu, &cpu::loss_loops<Mine>)` before main.

#include "voxgrad/core/parallel.hpp"
#include "voxgrad/cpu/reduce_ref.hpp"

namespace voxgrad::cpu {

/// Sum of a loss over blocks of fixed size, the block sums added in order.
template <class T>
double loss_on_threads(double (*kernel)(int64_t, const T*, const T*), int64_t n, const void* p, const void* t) {
  constexpr int64_t block = 8192;
  const int64_t blocks = (n + block - 1) / block;
  double* const partial = static_cast<double*>(scratch(0, size_t(blocks + 1) * sizeof(double)));
  parallel_for(blocks, 2, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      partial[b] = kernel(n - b * block < block ? n - b * block : block, static_cast<const T*>(p) + b * block,
                          static_cast<const T*>(t) + b * block);
  });
  double total = 0;
  for (int64_t b = 0; b < blocks; ++b) total += partial[b];
  return total;
}

template <class T>
void loss_backward_on_threads(void (*kernel)(int64_t, T, const T*, const T*, T*), int64_t n, double scale, const void* p,
                              const void* t, void* dp) {
  parallel_for(n, int64_t(1) << 14, [&](int64_t begin, int64_t end) {
    kernel(end - begin, T(scale), static_cast<const T*>(p) + begin, static_cast<const T*>(t) + begin,
           static_cast<T*>(dp) + begin);
  });
}

template <class F>
inline constexpr kernels::LossTable loss_loops{
    [](DType dtype, int64_t n, const void* p, const void* t) {
      return visit(dtype, [&](auto zero) { return loss_on_threads(loss_forward_ref<F, decltype(zero)>, n, p, t); });
    },
    [](DType dtype, int64_t n, double scale, const void* p, const void* t, void* dp) {
      visit(dtype, [&](auto zero) { loss_backward_on_threads(loss_backward_ref<F, decltype(zero)>, n, scale, p, t, dp); });
    }};

}  // namespace voxgrad::cpu
