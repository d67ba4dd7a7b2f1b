// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Optional tracing: a sink that is told each kernel call's op, shapes, work and time. Free when no sink is set.

#include <time.h>

#include <functional>

#include "voxgrad/core/parallel.hpp"
#include "voxgrad/core/shape.hpp"

namespace voxgrad {

struct TraceEvent {
  const char* op;     ///< "conv3d"
  const char* phase;  ///< "forward", "backward_data", "backward_weight", "backward", "step"
  Shape in, out;      ///< activations, or the weight's shape for weight gradients
  double flop;        ///< multiply-adds times two, padding counted; 0 where it is not meaningful
  double ms;          ///< processor time on one thread, which other programs hardly disturb; else by the clock
};

using TraceSink = std::function<void(const TraceEvent&)>;

/// The sink of this process; empty by default. Set it before work starts.
inline TraceSink& trace_sink() {
  static TraceSink sink;
  return sink;
}

/// Times the scope it lives in and reports it.
class TraceScope {
 public:
  TraceScope(const char* op, const char* phase, const Shape& in, const Shape& out, double flop = 0)
      : on_(bool(trace_sink())), event_{op, phase, in, out, flop, 0} {
    if (on_) start_ = now_ms();
  }
  ~TraceScope() {
    if (!on_) return;
    event_.ms = now_ms() - start_;
    trace_sink()(event_);
  }
  TraceScope(const TraceScope&) = delete;
  TraceScope& operator=(const TraceScope&) = delete;

 private:
  static double now_ms() {
    timespec t{};
    clock_gettime(threads() == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return 1e3 * double(t.tv_sec) + 1e-6 * double(t.tv_nsec);
  }

  bool on_;
  TraceEvent event_;
  double start_ = 0;
};

}  // namespace voxgrad
