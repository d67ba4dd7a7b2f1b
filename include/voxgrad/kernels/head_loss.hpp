// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Contract of a network's last convolution together with the loss of its outputs: logits = bias + conv(a) of unfinished
// values, then a sum of terms loss(logit, target). Logits need not exist in memory; what backward needs of the loss is
// its slope at every logit, which the forward pass leaves behind.

#include "voxgrad/kernels/fused.hpp"
#include "voxgrad/kernels/reduce.hpp"

namespace voxgrad::kernels {

struct HeadLossTable {
  /// The loss's sum over all logits, in double; unless null, slope [N,oD,oH,oW,Co] = its derivative to each. Calls
  /// loss.forward and loss.backward on runs of logits, from any thread.
  double (*forward)(const FusedConvProblem&, const LossTable& loss, const void* w, const void* bias, const void* target,
                    void* slope);
  /// With dlogit = scale slope: dw and db, and the gradient da of the finished source, each unless null. db goes with dw.
  /// With `below`, of the source's norm, its sums are filled on the way; that goes with da.
  void (*backward)(const FusedConvProblem&, double scale, const void* slope, const void* w, void* dw, void* db, void* da,
                   const PendingGradient* below);
};

inline constinit Kernels<HeadLossTable> head_loss{"head_loss"};

}  // namespace voxgrad::kernels
