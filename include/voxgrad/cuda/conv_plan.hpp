// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Convolutions as cuDNN's graphs, the engines that it offers for them, and execution plans.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "voxgrad/cuda/conv_spec.hpp"
#include "voxgrad/cuda/cudnn_descriptor.hpp"
#include "voxgrad/cuda/stream_handle.hpp"

namespace voxgrad::cuda {

/// A cuDNN handle on the current device.
class CudnnHandle {
 public:
  explicit CudnnHandle(const CudnnLibrary& library = cudnn_library());
  CudnnHandle(const CudnnHandle&) = delete;
  CudnnHandle& operator=(const CudnnHandle&) = delete;
  ~CudnnHandle();
  cudnn::Handle raw() const { return raw_; }
  const CudnnLibrary& library() const { return library_; }

 private:
  const CudnnLibrary& library_;
  cudnn::Handle raw_ = nullptr;
};

/// What plans are made for: a card at hand, or one that is only described.
class PlanTarget {
 public:
  explicit PlanTarget(const CudnnHandle& handle) : library_(&handle.library()), handle_(handle.raw()) {}
  /// By the JSON of cuDNN's device properties (cuDNN 9.11 and newer): plans can be looked at and stored, not run.
  PlanTarget(const CudnnLibrary& library, const std::string& device_json);

  const CudnnLibrary& library() const { return *library_; }
  bool described() const { return handle_ == nullptr; }
  /// Tells a descriptor for which card it is: by `handle_name` or `properties_name`, whichever applies (-1: it need not know).
  void tell(Desc& desc, int handle_name, int properties_name) const;

 private:
  const CudnnLibrary* library_;
  cudnn::Handle handle_ = nullptr;
  Desc properties_;
};

/// Device properties of a card at hand as JSON, for PlanTarget elsewhere.
std::string device_json(const CudnnLibrary& library, int device);

/// The convolution, and its epilogue if it has one, as a finished operation graph.
class ConvGraph {
 public:
  ConvGraph(const PlanTarget& target, const ConvSpec& spec);  ///< validates the spec
  const Desc& desc() const { return graph_; }
  const ConvSpec& spec() const { return spec_; }

 private:
  Desc tensor(int64_t id, cudnn::DataType type, const int64_t (&extents)[5], const int64_t (&steps)[5], bool is_virtual) const;
  Desc window() const;
  cudnn::Descriptor add(Desc desc);
  cudnn::Descriptor activation(int64_t id, bool of_x, bool is_virtual);
  cudnn::Descriptor convolution(cudnn::Descriptor x, cudnn::Descriptor w, cudnn::Descriptor y);
  cudnn::Descriptor pointwise(cudnn::PointwiseMode mode, cudnn::Descriptor x, cudnn::Descriptor b, cudnn::Descriptor y);

  const PlanTarget& target_;
  ConvSpec spec_;
  std::vector<Desc> parts_;
  Desc graph_;
};

/// Notes that cuDNN attaches to an engine, one bit each.
using EngineNotes = uint32_t;
constexpr EngineNotes note_bit(cudnn::NumericalNote note) { return EngineNotes(1) << note; }

/// One way to compute a graph: an engine with its knobs set.
struct EngineConfig {
  Desc desc;
  int64_t engine = -1;
  EngineNotes notes = 0;
  bool compiled_at_run_time = false;  ///< needs NVRTC and the driver when the plan is made, and seconds
};

/// What cuDNN proposes, best first by its own judgement; empty when it has nothing in this mode.
std::vector<EngineConfig> engine_configs(const PlanTarget& target, const ConvGraph& graph, cudnn::HeurMode mode);

/// A finished plan. Tensors must be 16-byte aligned when it runs.
struct ConvPlan {
  Desc desc;
  int64_t engine = -1;
  EngineNotes notes = 0;
  int64_t workspace = 0;  ///< bytes
  double us = 0;          ///< measured time, 0 when not measured

  /// Everything needed to make it again with load_plan on the same card and cuDNN.
  std::string json() const;
};

/// Nothing, with the reason, when this card or this cuDNN does not take the configuration.
std::optional<ConvPlan> make_plan(const PlanTarget& target, const EngineConfig& config, std::string& why);
std::optional<ConvPlan> load_plan(const PlanTarget& target, const std::string& json, std::string& why);

/// Memory on the card that a plan works on. Bias may be null without an epilogue, workspace when none is needed.
struct ConvPointers {
  const void* x = nullptr;  ///< written by backward_data
  const void* w = nullptr;  ///< written by backward_weight
  const void* y = nullptr;  ///< written by forward
  const void* bias = nullptr;
  void* workspace = nullptr;
};

/// A plan with its memory: everything is told to cuDNN once, running is one call.
class BoundConv {
 public:
  /// DeviceError when a pointer is null or not at a 16-byte boundary.
  BoundConv(std::shared_ptr<const ConvPlan> plan, const ConvSpec& spec, const CudnnHandle& handle, const ConvPointers& pointers);
  void execute(StreamHandle stream) const;
  const ConvPlan& plan() const { return *plan_; }

 private:
  std::shared_ptr<const ConvPlan> plan_;
  const CudnnHandle* handle_;
  Desc pack_;
};

}  // namespace voxgrad::cuda
