// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/cuda/conv_plan.hpp"

#include "voxgrad/core/error.hpp"

namespace voxgrad::cuda {
namespace {

// Numbers by which the graph's tensors are known to the variant pack.
constexpr int64_t id_x = 1, id_w = 2, id_y = 3, id_bias = 4, id_raw = 5, id_biased = 6;
constexpr int64_t alignment = 16;  // with 8, every tensor-core engine is gone
constexpr std::size_t first_described = 91100;

cudnn::DataType data_type(Element e) {
  return e == Element::f32 ? cudnn::DATA_FLOAT : e == Element::bf16 ? cudnn::DATA_BFLOAT16 : cudnn::DATA_HALF;
}

/// Distances between neighbours along N, C, D, H, W of a tensor that has its channels innermost.
void channels_last(const int64_t (&extents)[5], int64_t row, int64_t (&steps)[5]) {
  steps[1] = 1;
  steps[4] = row;
  steps[3] = extents[4] * steps[4];
  steps[2] = extents[3] * steps[3];
  steps[0] = extents[2] * steps[2];
}

}  // namespace

CudnnHandle::CudnnHandle(const CudnnLibrary& library) : library_(library) {
  preload_sisters(library);
  check_cudnn(library_, library_.cudnnCreate(&raw_), "cudnnCreate");
}

CudnnHandle::~CudnnHandle() {
  if (raw_ != nullptr) library_.cudnnDestroy(raw_);
}

PlanTarget::PlanTarget(const CudnnLibrary& library, const std::string& device_json) : library_(&library) {
  check<DeviceError>(library.version >= first_described, "cuDNN ", cudnn_version_text(library.version),
                     " makes no plans for a described card (9.11 or newer does)");
  preload_sisters(library);
  properties_ = Desc(library, cudnn::BACKEND_DEVICEPROP_DESCRIPTOR);
  properties_.set(cudnn::ATTR_DEVICEPROP_JSON_REPRESENTATION, std::span<const char>(device_json.data(), device_json.size()));
  properties_.finalize("device properties");
}

void PlanTarget::tell(Desc& desc, int handle_name, int properties_name) const {
  if (handle_ != nullptr && handle_name >= 0) desc.set(cudnn::Attribute(handle_name), handle_);
  if (handle_ == nullptr && properties_name >= 0) desc.set(cudnn::Attribute(properties_name), properties_);
}

std::string device_json(const CudnnLibrary& library, int device) {
  Desc properties(library, cudnn::BACKEND_DEVICEPROP_DESCRIPTOR);
  properties.set(cudnn::ATTR_DEVICEPROP_DEVICE_ID, int32_t(device));
  properties.finalize("device properties");
  const std::vector<char> json = properties.get<char>(cudnn::ATTR_DEVICEPROP_JSON_REPRESENTATION);
  return std::string(json.begin(), json.end()).c_str();  // a closing zero is no part of it
}

Desc ConvGraph::tensor(int64_t id, cudnn::DataType type, const int64_t (&extents)[5], const int64_t (&steps)[5], bool is_virtual) const {
  Desc t(target_.library(), cudnn::BACKEND_TENSOR_DESCRIPTOR);
  t.set(cudnn::ATTR_TENSOR_UNIQUE_ID, id);
  t.set(cudnn::ATTR_TENSOR_DATA_TYPE, type);
  t.set(cudnn::ATTR_TENSOR_BYTE_ALIGNMENT, alignment);
  t.set(cudnn::ATTR_TENSOR_DIMENSIONS, std::span<const int64_t>(extents));
  t.set(cudnn::ATTR_TENSOR_STRIDES, std::span<const int64_t>(steps));
  t.set(cudnn::ATTR_TENSOR_IS_VIRTUAL, is_virtual);
  t.finalize("tensor");
  return t;
}

Desc ConvGraph::window() const {
  Desc d(target_.library(), cudnn::BACKEND_CONVOLUTION_DESCRIPTOR);
  int64_t stride[3], before[3], after[3], dilation[3];
  for (int a = 0; a < 3; ++a) {
    stride[a] = spec_.stride[a];
    before[a] = spec_.padding[a];
    after[a] = end_padding(spec_, a);
    dilation[a] = spec_.dilation[a];
  }
  d.set(cudnn::ATTR_CONVOLUTION_COMP_TYPE, cudnn::DATA_FLOAT);
  d.set(cudnn::ATTR_CONVOLUTION_CONV_MODE, cudnn::CROSS_CORRELATION);
  d.set(cudnn::ATTR_CONVOLUTION_SPATIAL_DIMS, int64_t(3));
  d.set(cudnn::ATTR_CONVOLUTION_FILTER_STRIDES, std::span<const int64_t>(stride));
  d.set(cudnn::ATTR_CONVOLUTION_PRE_PADDINGS, std::span<const int64_t>(before));
  d.set(cudnn::ATTR_CONVOLUTION_POST_PADDINGS, std::span<const int64_t>(after));
  d.set(cudnn::ATTR_CONVOLUTION_DILATIONS, std::span<const int64_t>(dilation));
  d.finalize("convolution");
  return d;
}

cudnn::Descriptor ConvGraph::add(Desc desc) {
  parts_.push_back(std::move(desc));
  return parts_.back().raw();
}

cudnn::Descriptor ConvGraph::activation(int64_t id, bool of_x, bool is_virtual) {
  const int(&e)[3] = of_x ? spec_.in : spec_.out;
  const int64_t extents[5] = {spec_.N, of_x ? spec_.Ci : spec_.Co, e[0], e[1], e[2]};
  int64_t steps[5];
  channels_last(extents, is_virtual ? extents[1] : of_x ? x_step(spec_) : y_step(spec_), steps);
  return add(tensor(id, is_virtual ? cudnn::DATA_FLOAT : data_type(spec_.io), extents, steps, is_virtual));
}

cudnn::Descriptor ConvGraph::convolution(cudnn::Descriptor x, cudnn::Descriptor w, cudnn::Descriptor y) {
  struct Names {
    cudnn::DescriptorType type;
    cudnn::Attribute alpha, beta, window, w, x, y;
  };
  const Names names =
      spec_.op == ConvOp::forward
          ? Names{cudnn::BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, cudnn::ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                  cudnn::ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, cudnn::ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                  cudnn::ATTR_OPERATION_CONVOLUTION_FORWARD_W, cudnn::ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                  cudnn::ATTR_OPERATION_CONVOLUTION_FORWARD_Y}
      : spec_.op == ConvOp::backward_data
          ? Names{cudnn::BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR, cudnn::ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                  cudnn::ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, cudnn::ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                  cudnn::ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, cudnn::ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                  cudnn::ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY}
          : Names{cudnn::BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR, cudnn::ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                  cudnn::ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA, cudnn::ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                  cudnn::ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, cudnn::ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                  cudnn::ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY};
  const cudnn::Descriptor shape = add(window());
  Desc op(target_.library(), names.type);
  op.set(names.alpha, 1.0f);
  op.set(names.beta, 0.0f);
  op.set_all(names.window, std::span(&shape, 1));
  op.set_all(names.w, std::span(&w, 1));
  op.set_all(names.x, std::span(&x, 1));
  op.set_all(names.y, std::span(&y, 1));
  op.finalize("convolution operation");
  return add(std::move(op));
}

cudnn::Descriptor ConvGraph::pointwise(cudnn::PointwiseMode mode, cudnn::Descriptor x, cudnn::Descriptor b, cudnn::Descriptor y) {
  Desc how(target_.library(), cudnn::BACKEND_POINTWISE_DESCRIPTOR);
  how.set(cudnn::ATTR_POINTWISE_MODE, mode);
  how.set(cudnn::ATTR_POINTWISE_MATH_PREC, cudnn::DATA_FLOAT);
  if (mode == cudnn::POINTWISE_RELU_FWD) how.set(cudnn::ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE, double(spec_.slope));
  how.finalize("pointwise");
  const cudnn::Descriptor rule = add(std::move(how));
  Desc op(target_.library(), cudnn::BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  op.set_all(cudnn::ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, std::span(&rule, 1));
  op.set_all(cudnn::ATTR_OPERATION_POINTWISE_XDESC, std::span(&x, 1));
  if (b != nullptr) op.set_all(cudnn::ATTR_OPERATION_POINTWISE_BDESC, std::span(&b, 1));
  op.set_all(cudnn::ATTR_OPERATION_POINTWISE_YDESC, std::span(&y, 1));
  op.finalize("pointwise operation");
  return add(std::move(op));
}

ConvGraph::ConvGraph(const PlanTarget& target, const ConvSpec& spec) : target_(target), spec_(spec) {
  validate(spec);
  const int64_t k[3] = {spec.kernel[0], spec.kernel[1], spec.kernel[2]};
  const int64_t w_extents[5] = {spec.Co, spec.Ci, k[0], k[1], k[2]};
  int64_t w_steps[5];
  channels_last(w_extents, spec.Ci, w_steps);
  const cudnn::Descriptor x = activation(id_x, true, false), y = activation(id_y, false, false);
  const cudnn::Descriptor w = add(tensor(id_w, data_type(spec.io), w_extents, w_steps, false));

  std::vector<cudnn::Descriptor> ops;
  if (spec.epilogue == Epilogue::none) {
    ops.push_back(convolution(x, w, y));
  } else {
    const int64_t b_extents[5] = {1, spec.Co, 1, 1, 1};
    int64_t b_steps[5];
    channels_last(b_extents, spec.Co, b_steps);
    const cudnn::Descriptor bias = add(tensor(id_bias, cudnn::DATA_FLOAT, b_extents, b_steps, false));
    const cudnn::Descriptor raw = activation(id_raw, false, true);
    ops.push_back(convolution(x, w, raw));
    if (spec.epilogue == Epilogue::bias) {
      ops.push_back(pointwise(cudnn::POINTWISE_ADD, raw, bias, y));
    } else {
      const cudnn::Descriptor biased = activation(id_biased, false, true);
      ops.push_back(pointwise(cudnn::POINTWISE_ADD, raw, bias, biased));
      ops.push_back(pointwise(cudnn::POINTWISE_RELU_FWD, biased, nullptr, y));
    }
  }
  graph_ = Desc(target.library(), cudnn::BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  target.tell(graph_, cudnn::ATTR_OPERATIONGRAPH_HANDLE, -1);
  graph_.set_all(cudnn::ATTR_OPERATIONGRAPH_OPS, ops);
  graph_.finalize("operation graph");
}

std::vector<EngineConfig> engine_configs(const PlanTarget& target, const ConvGraph& graph, cudnn::HeurMode mode) {
  const CudnnLibrary& library = target.library();
  Desc heuristics(library, cudnn::BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(cudnn::ATTR_ENGINEHEUR_OPERATION_GRAPH, graph.desc());
  heuristics.set(cudnn::ATTR_ENGINEHEUR_MODE, mode);
  target.tell(heuristics, -1, cudnn::ATTR_ENGINEHEUR_DEVICEPROP);
  std::string why;
  const int status = heuristics.try_finalize(why);
  if (cudnn::is_not_supported(status)) return {};
  check<DeviceError>(status == cudnn::STATUS_SUCCESS, why);

  // The first count is an upper bound, the second the true one.
  std::vector<EngineConfig> configs(std::size_t(heuristics.count_descriptors(cudnn::ATTR_ENGINEHEUR_RESULTS)));
  std::vector<cudnn::Descriptor> raw;
  for (EngineConfig& c : configs) {
    c.desc = Desc(library, cudnn::BACKEND_ENGINECFG_DESCRIPTOR);
    raw.push_back(c.desc.raw());
  }
  if (!raw.empty()) configs.resize(std::size_t(heuristics.get_all(cudnn::ATTR_ENGINEHEUR_RESULTS, raw)));
  for (EngineConfig& c : configs) {
    Desc engine(library, cudnn::BACKEND_ENGINE_DESCRIPTOR);
    c.desc.get(cudnn::ATTR_ENGINECFG_ENGINE, engine);
    c.engine = engine.get_one<int64_t>(cudnn::ATTR_ENGINE_GLOBAL_INDEX);
    for (const cudnn::NumericalNote note : engine.get<cudnn::NumericalNote>(cudnn::ATTR_ENGINE_NUMERICAL_NOTE)) c.notes |= note_bit(note);
    for (const cudnn::BehaviorNote note : engine.get<cudnn::BehaviorNote>(cudnn::ATTR_ENGINE_BEHAVIOR_NOTE))
      c.compiled_at_run_time |= note == cudnn::BEHAVIOR_NOTE_RUNTIME_COMPILATION;
  }
  return configs;
}

std::string ConvPlan::json() const {
  const std::vector<char> chars = desc.get<char>(cudnn::ATTR_EXECUTION_PLAN_JSON_REPRESENTATION);
  return std::string(chars.begin(), chars.end()).c_str();  // a closing zero is no part of it
}

std::optional<ConvPlan> make_plan(const PlanTarget& target, const EngineConfig& config, std::string& why) {
  ConvPlan plan;
  plan.desc = Desc(target.library(), cudnn::BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  target.tell(plan.desc, cudnn::ATTR_EXECUTION_PLAN_HANDLE, cudnn::ATTR_EXECUTION_PLAN_DEVICEPROP);
  plan.desc.set(cudnn::ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config.desc);
  if (plan.desc.try_finalize(why) != cudnn::STATUS_SUCCESS) return {};
  plan.engine = config.engine;
  plan.notes = config.notes;
  plan.workspace = plan.desc.get_one<int64_t>(cudnn::ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
  return plan;
}

std::optional<ConvPlan> load_plan(const PlanTarget& target, const std::string& json, std::string& why) {
  ConvPlan plan;
  plan.desc = Desc(target.library(), cudnn::BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  target.tell(plan.desc, cudnn::ATTR_EXECUTION_PLAN_HANDLE, cudnn::ATTR_EXECUTION_PLAN_DEVICEPROP);
  const std::span<const char> chars(json.data(), json.size());
  if (plan.desc.try_set(cudnn::ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, chars, why) != cudnn::STATUS_SUCCESS ||
      plan.desc.try_finalize(why) != cudnn::STATUS_SUCCESS)
    return {};
  plan.workspace = plan.desc.get_one<int64_t>(cudnn::ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
  return plan;
}

BoundConv::BoundConv(std::shared_ptr<const ConvPlan> plan, const ConvSpec& spec, const CudnnHandle& handle, const ConvPointers& p)
    : plan_(std::move(plan)), handle_(&handle), pack_(handle.library(), cudnn::BACKEND_VARIANT_PACK_DESCRIPTOR) {
  std::vector<int64_t> ids = {id_x, id_w, id_y};
  std::vector<void*> data = {const_cast<void*>(p.x), const_cast<void*>(p.w), const_cast<void*>(p.y)};
  if (spec.epilogue != Epilogue::none) {
    ids.push_back(id_bias);
    data.push_back(const_cast<void*>(p.bias));
  }
  for (std::size_t i = 0; i < data.size(); ++i)
    check<DeviceError>(data[i] != nullptr && reinterpret_cast<uintptr_t>(data[i]) % alignment == 0, "conv plan: ",
                       i == 0 ? "x" : i == 1 ? "w" : i == 2 ? "y" : "bias", " is ", data[i], ", expected memory at a 16-byte boundary (",
                       describe(spec), ")");
  check<DeviceError>(plan_->workspace == 0 || p.workspace != nullptr, "conv plan: ", plan_->workspace, " bytes of workspace are needed, none was given (",
                     describe(spec), ")");
  pack_.set(cudnn::ATTR_VARIANT_PACK_UNIQUE_IDS, std::span<const int64_t>(ids));
  pack_.set(cudnn::ATTR_VARIANT_PACK_DATA_POINTERS, std::span<void* const>(data));
  pack_.set(cudnn::ATTR_VARIANT_PACK_WORKSPACE, p.workspace);
  pack_.finalize("variant pack");
}

void BoundConv::execute(StreamHandle stream) const {
  const CudnnLibrary& library = handle_->library();
  check_cudnn(library, library.cudnnSetStream(handle_->raw(), stream), "cudnnSetStream");
  check_cudnn(library, library.cudnnBackendExecute(handle_->raw(), plan_->desc.raw(), pack_.raw()), "cudnnBackendExecute");
}

}  // namespace voxgrad::cuda
