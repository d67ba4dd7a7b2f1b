// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// CPU table of batch normalisation.

#include "voxgrad/cpu/norm_ref.hpp"

namespace voxgrad::cpu {

inline void batch_norm_statistics(const kernels::BatchNormProblem& p, const void* x, double* mean, double* variance) {
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    batch_norm_statistics_ref(p, static_cast<const T*>(x), mean, variance);
  });
}

inline void batch_norm_forward(const kernels::BatchNormProblem& p, const void* x, const double* scale, const double* shift,
                               void* y) {
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    batch_norm_forward_ref(p, static_cast<const T*>(x), scale, shift, static_cast<T*>(y));
  });
}

inline void batch_norm_backward(const kernels::BatchNormProblem& p, bool batch_statistics, const void* x, const void* dy,
                                const double* mean, const double* inv_std, const void* gamma, const void* beta, void* dx,
                                void* dgamma, void* dbeta) {
  visit(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    batch_norm_backward_ref(p, batch_statistics, static_cast<const T*>(x), static_cast<const T*>(dy), mean, inv_std,
                            static_cast<const T*>(gamma), static_cast<const T*>(beta), static_cast<T*>(dx),
                            static_cast<T*>(dgamma), static_cast<T*>(dbeta));
  });
}

inline constexpr kernels::BatchNormTable batch_norm_table{batch_norm_statistics, batch_norm_forward, batch_norm_backward};
inline const bool batch_norm_filled = kernels::batch_norm.fill(DeviceKind::cpu, &batch_norm_table);

}  // namespace voxgrad::cpu
