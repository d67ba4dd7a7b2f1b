// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU tables of sums and losses.

#include "voxgrad/cpu/reduce_ref.hpp"

namespace voxgrad::cpu {

inline void sum(const kernels::ReduceProblem& p, const void* x, void* y) {
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    sum_ref(p, static_cast<const T*>(x), static_cast<T*>(y));
  });
}

template <class F>
double loss_forward(DType dtype, int64_t n, const void* p, const void* t) {
  return visit(dtype, [&](auto zero) {
    using T = decltype(zero);
    return loss_forward_ref<F>(n, static_cast<const T*>(p), static_cast<const T*>(t));
  });
}

template <class F>
void loss_backward(DType dtype, int64_t n, double scale, const void* p, const void* t, void* dp) {
  visit(dtype, [&](auto zero) {
    using T = decltype(zero);
    loss_backward_ref<F>(n, scale, static_cast<const T*>(p), static_cast<const T*>(t), static_cast<T*>(dp));
  });
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
