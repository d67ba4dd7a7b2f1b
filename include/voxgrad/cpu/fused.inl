// SPDX-License-Identifier: BSD-3-Clause
// Kernels of fused.hpp: reading raw values outside of a convolution.

namespace fused {

/// y[r * pitch + c] = the finished x[r, c], C a multiple of 8, rows [begin, end).
inline void copy_finished(int64_t begin, int64_t end, int64_t C, const RawAct& act, const float* x, float* y,
                          int64_t pitch) {
  for (int64_t r = begin; r < end; ++r)
    for (int64_t c = 0; c < C; c += 8) {
      Oct v;
      finished(x + r * C, act, c, v);
      *reinterpret_cast<OctMemory*>(y + r * pitch + c) = v;
    }
}

}  // namespace fused
