// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Contract of the fused convolution: it reads raw outputs z of earlier convolutions, on which batch norm and activation
// are still to be done, does them while loading, and takes the statistics of its own raw output while that is in the
// cache. The activated tensors never exist in memory, nor do joined ones (up to two sources lie side by side).

#include <cstdint>

#include "voxgrad/kernels/conv3d.hpp"
#include "voxgrad/kernels/pool3d.hpp"

namespace voxgrad::kernels {

/// Values x [rows, C] and what is to be done to them: a = act(scale x + shift), act(v) = v > 0 ? v : slope v.
struct Pending {
  const void* x;
  int64_t C;
  const double *scale, *shift;  ///< [C]; null: 1 and 0
  double slope;                 ///< 1: no activation
  bool plain() const { return scale == nullptr && slope == 1; }
};

/// How the gradient of activated values a = act(gamma (z - mean) inv_std + beta) becomes that of z [rows, C].
struct PendingGradient {
  const void* z;
  int64_t rows, C;
  double slope;
  const double *mean, *inv_std;  ///< [C]
  const void *gamma, *beta;      ///< [C] in the problem's dtype; null: no normalisation, a = act(z)
  bool batch_statistics;         ///< mean and inv_std are functions of z
  double *sum, *dot;             ///< [C]: sums over rows of da act' and of that times the normalised z
};

struct FusedConvProblem {
  Conv3dProblem conv;  ///< Ci is the channels of all sources together
  int sources;         ///< 1 or 2
  Pending source[2];
};

struct FusedConvTable {
  /// z = bias + conv(a). mean and variance (biased) of z per channel, [Co] each, unless null.
  void (*forward)(const FusedConvProblem&, const void* w, const void* bias, void* z, double* mean, double* variance);
  /// Fills g.sum and g.dot from da.
  void (*sums)(DType, const PendingGradient& g, const void* da);
  /// dw and, unless null, db from dz. With `g`, da is turned into dz in place first, from the sums; dw may be null then.
  void (*backward_weight)(const FusedConvProblem&, const PendingGradient* g, void* da, void* dw, void* db);
  /// Gradients of the activated sources from dz; da[i] null: not wanted. Where `g[i]` is given, its sums are filled on
  /// the way.
  void (*backward_data)(const FusedConvProblem&, const void* dz, const void* w, void* const da[2],
                        const PendingGradient* const g[2]);
  /// y = a, as an ordinary tensor.
  void (*value)(DType, int64_t rows, const Pending&, void* y);
  /// Max-pooling of a; its backward adds to da when `add`, else writes it. First maxima win.
  void (*max_pool)(const Pool3dProblem&, const Pending&, void* y);
  void (*max_pool_backward)(const Pool3dProblem&, const Pending&, const void* dy, void* da, bool add);
};

inline constinit Kernels<FusedConvTable> fused_conv{"fused_conv"};

}  // namespace voxgrad::kernels
