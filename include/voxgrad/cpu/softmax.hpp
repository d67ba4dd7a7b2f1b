// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU table of the softmax, as loops over rows: class heads have a handful of channels. Sums in double.

#include <algorithm>
#include <cmath>

#include "voxgrad/core/parallel.hpp"
#include "voxgrad/kernels/softmax.hpp"

namespace voxgrad::cpu {

template <class T>
void softmax_forward_ref(int64_t rows, int64_t C, const T* x, T* y) {
  for (; rows > 0; --rows, x += C, y += C) {
    const T top = *std::max_element(x, x + C);  // e^(x - top) cannot overflow
    double sum = 0;
    for (int64_t c = 0; c < C; ++c) sum += double(y[c] = std::exp(x[c] - top));
    for (int64_t c = 0; c < C; ++c) y[c] = T(double(y[c]) / sum);
  }
}

template <class T>
void softmax_backward_ref(int64_t rows, int64_t C, const T* y, const T* dy, T* dx) {
  for (; rows > 0; --rows, y += C, dy += C, dx += C) {
    double dot = 0;
    for (int64_t c = 0; c < C; ++c) dot += double(dy[c]) * double(y[c]);
    for (int64_t c = 0; c < C; ++c) dx[c] = T(double(y[c]) * (double(dy[c]) - dot));
  }
}

inline void softmax_forward(const kernels::SoftmaxProblem& p, const void* x, void* y) {
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    parallel_for(p.rows, 1 + 4096 / p.C, [&](int64_t begin, int64_t end) {
      softmax_forward_ref(end - begin, p.C, static_cast<const T*>(x) + begin * p.C, static_cast<T*>(y) + begin * p.C);
    });
  });
}

inline void softmax_backward(const kernels::SoftmaxProblem& p, const void* y, const void* dy, void* dx) {
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    parallel_for(p.rows, 1 + 4096 / p.C, [&](int64_t begin, int64_t end) {
      softmax_backward_ref(end - begin, p.C, static_cast<const T*>(y) + begin * p.C,
                           static_cast<const T*>(dy) + begin * p.C, static_cast<T*>(dx) + begin * p.C);
    });
  });
}

inline constexpr kernels::SoftmaxTable softmax_table{softmax_forward, softmax_backward};
inline const bool softmax_filled = kernels::softmax.fill(DeviceKind::cpu, &softmax_table);

}  // namespace voxgrad::cpu
