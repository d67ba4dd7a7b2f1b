// SPDX-License-Identifier: BSD-3-Clause
// Finishing eight channels while loading.

namespace fused {

/// Eight finished channels c.. of the row x.
[[gnu::always_inline]] inline void finished(const float* x, const RawAct& act, int64_t c, Oct& v) {
  v = (*reinterpret_cast<const OctMemory*>(x + c) - *reinterpret_cast<const OctMemory*>(act.centre + c)) *
          *reinterpret_cast<const OctMemory*>(act.scale + c) +
      *reinterpret_cast<const OctMemory*>(act.offset + c);
  leaky(v, act.slope);
}

}  // namespace fused
