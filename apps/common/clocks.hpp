// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The two clocks of a measurement, in seconds.

#include <time.h>

namespace voxgrad::app {

inline double seconds_of(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}
inline double wall_seconds() { return seconds_of(CLOCK_MONOTONIC); }
/// Processor time of all threads of this process.
inline double cpu_seconds() { return seconds_of(CLOCK_PROCESS_CPUTIME_ID); }

}  // namespace voxgrad::app
