// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The FP32 rate that this machine's multiply-add units give right now, to hold measured rates against.

namespace voxgrad::app {

/// Best GFLOP/s (a multiply-add counts two) of a few short loops in registers on all threads of the pool, with the
/// instruction set in force. One thread is timed by the CPU time of the process, more by the clock. Takes 0.1 s.
double fma_peak_gflops();

}  // namespace voxgrad::app
