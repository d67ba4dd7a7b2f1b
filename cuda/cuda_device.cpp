// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/cuda/cuda_device.hpp"

#include <algorithm>
#include <map>
#include <tuple>
#include <unordered_map>

#include "check.hpp"
#include "plan_trial.hpp"
#include "voxgrad/cuda/plan_cache.hpp"

namespace voxgrad::cuda {
namespace {

/// What a convolution is bound to: its spec and its memory.
struct Binding {
  ConvSpec spec;
  const void *a, *b, *out, *workspace;
  friend bool operator==(const Binding&, const Binding&) = default;
};
struct BindingHash {
  size_t operator()(const Binding& k) const {
    size_t h = std::hash<ConvSpec>{}(k.spec);
    for (const void* p : {k.a, k.b, k.out, k.workspace}) h = (h ^ std::hash<const void*>{}(p)) * 1099511628211u;
    return h;
  }
};

ConvPointers pointers(const Binding& k) {
  ConvPointers p;
  p.workspace = const_cast<void*>(k.workspace);
  switch (k.spec.op) {
    case ConvOp::forward: p.x = k.a, p.w = k.b, p.y = k.out; break;
    case ConvOp::backward_data: p.y = k.a, p.w = k.b, p.x = k.out; break;
    case ConvOp::backward_weight: p.x = k.a, p.y = k.b, p.w = k.out; break;
  }
  return p;
}

/// A range of a program's steps: counted until it is recorded.
struct Sequence {
  int runs = 0;
  cudaGraphExec_t graph = nullptr;
};

/// Runs before a sequence is recorded: the first loads kernels and finishes cuDNN's, the second shows that it works.
constexpr int eager_runs = 2;

}  // namespace

struct CudaDevice::Impl {
  int card = 0;
  CudaDeviceOptions options;
  cudaDeviceProp properties{};
  cudaStream_t stream = nullptr;
  std::unique_ptr<CudnnHandle> cudnn;
  std::unique_ptr<ConvPlanner> planner;
  std::unordered_map<Binding, BoundConv, BindingHash> bound;
  std::map<std::tuple<uint64_t, int, int>, Sequence> sequences;

  ~Impl() {
    for (auto& [key, s] : sequences)
      if (s.graph) cudaGraphExecDestroy(s.graph);
    bound.clear();
    planner.reset();
    cudnn.reset();
    if (stream) cudaStreamDestroy(stream);
  }
  int capability() const { return 10 * properties.major + properties.minor; }
};

CudaDevice::CudaDevice(int card, CudaDeviceOptions options) : impl_(std::make_unique<Impl>()) {
  Impl& m = *impl_;
  m.card = card;
  m.options = std::move(options);
  check_cuda(cudaSetDevice(card), "cudaSetDevice");
  check_cuda(cudaGetDeviceProperties(&m.properties, card), "cudaGetDeviceProperties");
  check_cuda(cudaStreamCreateWithFlags(&m.stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  m.cudnn = std::make_unique<CudnnHandle>();
  PlannerOptions planning;
  planning.log = m.options.log;
  if (m.options.time_plans)
    planning.time = [this](const ConvSpec& spec, const ConvPlan& plan) { return time_plan(*this, *impl_->cudnn, spec, plan); };
  if (m.options.verify_plans)
    planning.verify = [this](const ConvSpec& spec, const ConvPlan& plan) { return plan_error(*this, *impl_->cudnn, spec, plan); };
  const std::string name = text(m.properties.name, " sm_", m.capability(), " ", m.properties.multiProcessorCount, " SMs");
  m.planner = std::make_unique<ConvPlanner>(PlanTarget(*m.cudnn), name, std::move(planning));
}

CudaDevice::~CudaDevice() = default;

StreamHandle CudaDevice::stream() const { return impl_->stream; }
int CudaDevice::capability() const { return impl_->capability(); }

void* CudaDevice::allocate(size_t bytes) {
  check_cuda(cudaSetDevice(impl_->card), "cudaSetDevice");
  void* p = nullptr;
  const cudaError_t status = cudaMalloc(&p, bytes);
  if (status == cudaErrorMemoryAllocation) {
    size_t free = 0, total = 0;
    cudaGetLastError();
    cudaMemGetInfo(&free, &total);
    throw DeviceError(text("out of memory on ", impl_->properties.name, " (cuda:", impl_->card, "): ", bytes >> 20, " MiB more are needed, ",
                           free >> 20, " of ", total >> 20, " MiB are free. Use a smaller batch or tile."));
  }
  check_cuda(status, "cudaMalloc");
  return p;
}
void CudaDevice::release(void* p) { cudaFree(p); }
void CudaDevice::clear(void* p, size_t bytes) { check_cuda(cudaMemsetAsync(p, 0, bytes, impl_->stream), "cudaMemsetAsync"); }
void CudaDevice::upload(void* to, const void* from, size_t bytes) {
  // Of pageable memory the runtime takes a copy before it returns.
  check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, impl_->stream), "cudaMemcpyAsync to the card");
}
void CudaDevice::download(void* to, const void* from, size_t bytes) {
  check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, impl_->stream), "cudaMemcpyAsync from the card");
  synchronize();
}
void CudaDevice::synchronize() { check_cuda(cudaStreamSynchronize(impl_->stream), "cudaStreamSynchronize"); }

size_t CudaDevice::conv_workspace(const ConvSpec& spec) {
  require_trusted(impl_->cudnn->library(), spec.io, spec.math);
  return size_t(impl_->planner->plan(spec)->workspace);
}

void CudaDevice::convolve(const ConvSpec& spec, const void* a, const void* b, void* out, void* workspace) {
  const Binding key{spec, a, b, out, workspace};
  auto found = impl_->bound.find(key);
  if (found == impl_->bound.end())
    found = impl_->bound.emplace(key, BoundConv(impl_->planner->plan(spec), spec, *impl_->cudnn, pointers(key))).first;
  found->second.execute(impl_->stream);
}

void CudaDevice::run_range(uint64_t program, int first, int last, const std::function<void()>& steps) {
  if (!impl_->options.graphs) return steps();
  Sequence& s = impl_->sequences[{program, first, last}];
  if (s.runs < eager_runs) {
    steps();
    ++s.runs;
    return;
  }
  if (!s.graph) {
    check_cuda(cudaStreamBeginCapture(impl_->stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    cudaGraph_t recorded = nullptr;
    try {
      steps();
    } catch (...) {
      cudaStreamEndCapture(impl_->stream, &recorded);
      if (recorded) cudaGraphDestroy(recorded);
      throw;
    }
    check_cuda(cudaStreamEndCapture(impl_->stream, &recorded), "cudaStreamEndCapture");
    const cudaError_t status = cudaGraphInstantiate(&s.graph, recorded, 0);
    cudaGraphDestroy(recorded);
    check_cuda(status, "cudaGraphInstantiate");
  }
  check_cuda(cudaGraphLaunch(s.graph, impl_->stream), "cudaGraphLaunch");
}

void CudaDevice::forget(uint64_t program) {
  auto& all = impl_->sequences;
  for (auto s = all.lower_bound({program, 0, 0}); s != all.end() && std::get<0>(s->first) == program; s = all.erase(s))
    if (s->second.graph) cudaGraphExecDestroy(s->second.graph);
  impl_->bound.clear();  // they name memory that may be given to others
}

}  // namespace voxgrad::cuda
