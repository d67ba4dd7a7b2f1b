// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Which instruction set the kernels use: the best that CPU and operating system support, or VOXGRAD_ISA.

#include <cstdlib>
#include <string>
#include <string_view>

#include "voxgrad/core/error.hpp"

namespace voxgrad {

enum class Isa : unsigned char { scalar, avx2, avx512 };

inline const char* name(Isa isa) { return isa == Isa::scalar ? "scalar" : isa == Isa::avx2 ? "avx2" : "avx512"; }

/// True when this machine can run kernels compiled for `isa` (the compiler's test includes OS support).
inline bool supported(Isa isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (isa == Isa::avx2) return has_avx2;
  if (isa == Isa::avx512)
    return has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
#endif
  return isa == Isa::scalar;
}

/// The instruction set in force at start. VOXGRAD_ISA=scalar|avx2|avx512 forces one; one that this CPU lacks is an error.
inline Isa initial_isa() {
  if (const char* wish = std::getenv("VOXGRAD_ISA"); wish != nullptr && *wish != '\0') {
    for (Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512})
      if (std::string_view(wish) == name(isa)) {
        check<DeviceError>(supported(isa), "VOXGRAD_ISA=", wish, ": this CPU does not support it");
        return isa;
      }
    throw UsageError(text("VOXGRAD_ISA is '", wish, "' (expected scalar, avx2 or avx512)"));
  }
  return supported(Isa::avx512) ? Isa::avx512 : supported(Isa::avx2) ? Isa::avx2 : Isa::scalar;
}

inline Isa& current_isa() {
  static Isa isa = initial_isa();
  return isa;
}

/// Chooses the instruction set for all later kernel calls (tests run every one).
inline void set_isa(Isa isa) {
  check<DeviceError>(supported(isa), "set_isa: this CPU does not support ", name(isa));
  current_isa() = isa;
}

/// Picks the variant of a kernel for the instruction set in force.
template <class F>
F* by_isa(F* scalar, F* avx2, F* avx512) {
  return current_isa() == Isa::avx512 ? avx512 : current_isa() == Isa::avx2 ? avx2 : scalar;
}

}  // namespace voxgrad
