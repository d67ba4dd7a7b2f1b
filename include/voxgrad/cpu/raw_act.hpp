// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What is still to be done to raw values when a kernel loads them.

namespace voxgrad::cpu {

/// a = act(scale (x - centre) + offset), arrays of one number per channel, act(v) = v > 0 ? v : slope v. No arrays:
/// the values are finished.
struct RawAct {
  const float *centre = nullptr, *scale = nullptr, *offset = nullptr;
  float slope = 1;
};

}  // namespace voxgrad::cpu
