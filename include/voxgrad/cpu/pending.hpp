// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Unfinished values as kernels read them: the numbers of every channel as floats, and how eight channels are finished.

#include "voxgrad/core/storage.hpp"
#include "voxgrad/cpu/norm.hpp"
#include "voxgrad/cpu/raw_act.hpp"
#include "voxgrad/kernels/fused.hpp"
#include "voxgrad/simd/vec.hpp"

#define VOXGRAD_INL "voxgrad/cpu/pending.inl"
#include "voxgrad/simd/for_each_isa.hpp"

namespace voxgrad::cpu {

using kernels::FusedConvProblem;
using kernels::Pending;
using kernels::PendingGradient;

inline int64_t source_rows(const kernels::Conv3dProblem& p) { return p.N * p.in[0] * p.in[1] * p.in[2]; }

/// A pending source as the kernels take it.
class PendingFloats {
 public:
  explicit PendingFloats(const Pending& p) : memory_(size_t(3 * p.C) * sizeof(float)) {
    if (p.plain()) return;
    float* const to = memory_.as<float>();
    for (int64_t c = 0; c < p.C; ++c) {
      const NormLine line = p.scale ? norm_line(p.scale[c], p.shift[c]) : NormLine{0, 1, 0};
      to[c] = float(line.centre), to[p.C + c] = float(line.scale), to[2 * p.C + c] = float(line.offset);
    }
    act = {to, to + p.C, to + 2 * p.C, float(p.slope)};
  }
  RawAct act;

 private:
  Workspace memory_;
};

}  // namespace voxgrad::cpu
