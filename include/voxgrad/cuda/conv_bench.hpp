// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Plans measured and compared on the card itself.

#include <functional>
#include <vector>

#include "voxgrad/cuda/plan_cache.hpp"
#include "voxgrad/cuda/runtime.hpp"

namespace voxgrad::cuda {

/// Computes what a plan should: fills `result` with f32 [elements of the operand that the spec's op writes, dense], from the
/// other operands in memory of the card. Work goes into the stream.
using ConvReference = std::function<void(const ConvSpec&, const ConvPointers&, float* result, StreamHandle)>;

/// Buffers with random numbers for one spec after another; times plans by events and compares results with a reference.
class ConvBench {
 public:
  ConvBench(const CudnnHandle& handle, const DeviceInfo& card, ConvReference reference);

  /// Median of ten runs after three, in microseconds. Data that would stay in the cache of the card is taken from several
  /// sets of buffers in turn.
  double time(const ConvSpec& spec, const ConvPlan& plan);
  /// ||y - reference|| / ||reference|| over the written operand; NaN when a value is NaN.
  double error(const ConvSpec& spec, const ConvPlan& plan);

  /// Both as options of a planner, which must not outlive this.
  void attach(PlannerOptions& options);

 private:
  struct Buffers {
    DeviceMemory x, w, y, bias;
    ConvPointers pointers(void* workspace) const { return {x.data(), w.data(), y.data(), bias.data(), workspace}; }
  };
  void prepare(const ConvSpec& spec, int64_t workspace);
  void fill(DeviceMemory& memory, Element element, int64_t count, uint64_t seed, float scale);
  BoundConv bind(const ConvSpec& spec, const ConvPlan& plan, const Buffers& buffers);

  const CudnnHandle& handle_;
  DeviceInfo card_;
  ConvReference reference_;
  Stream stream_;
  ConvSpec prepared_{};
  std::vector<Buffers> sets_;
  DeviceMemory workspace_;
};

}  // namespace voxgrad::cuda
