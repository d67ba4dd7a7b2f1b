// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Optional tracing: a sink that is told each kernel call's op, shapes, work and time. Free when no sink is set.

#include <chrono>
#include <functional>

#include "voxgrad/core/shape.hpp"

namespace voxgrad {

struct TraceEvent {
  const char* op;     ///< "conv3d"
  const char* phase;  ///< "forward", "backward_data", "backward_weight", "backward", "step"
  Shape in, out;      ///< activations, or the weight's shape for weight gradients
  double flop;        ///< multiply-adds times two, padding counted; 0 where it is not meaningful
  double ms;
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
    if (on_) start_ = Clock::now();
  }
  ~TraceScope() {
    if (!on_) return;
    event_.ms = std::chrono::duration<double, std::milli>(Clock::now() - start_).count();
    trace_sink()(event_);
  }
  TraceScope(const TraceScope&) = delete;
  TraceScope& operator=(const TraceScope&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  bool on_;
  TraceEvent event_;
  Clock::time_point start_;
};

}  // namespace voxgrad
