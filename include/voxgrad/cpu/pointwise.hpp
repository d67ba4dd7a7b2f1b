// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU tables of the pointwise ops, unfolded from the type lists.

#include "voxgrad/cpu/pointwise_ref.hpp"

namespace voxgrad::cpu {

template <class F>
void unary_forward(DType dtype, int64_t n, kernels::Params p, const void* x, void* y) {
  visit(dtype, [&](auto zero) {
    using T = decltype(zero);
    unary_forward_ref<F>(n, p, static_cast<const T*>(x), static_cast<T*>(y));
  });
}

template <class F>
void unary_backward(DType dtype, int64_t n, kernels::Params p, const void* x, const void* y, const void* dy, void* dx) {
  visit(dtype, [&](auto zero) {
    using T = decltype(zero);
    unary_backward_ref<F>(n, p, static_cast<const T*>(x), static_cast<const T*>(y), static_cast<const T*>(dy),
                          static_cast<T*>(dx));
  });
}

template <class F>
void binary_forward(const kernels::BinaryProblem& p, const void* a, const void* b, void* y) {
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    binary_forward_ref<F>(p, static_cast<const T*>(a), static_cast<const T*>(b), static_cast<T*>(y));
  });
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
