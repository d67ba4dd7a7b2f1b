// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/cuda/cuda_device.hpp"

#include <map>
#include <tuple>
#include <unordered_map>

#include "voxgrad/cuda/conv_bench.hpp"
#include "voxgrad/cuda/kernels/bias_act.hpp"
#include "voxgrad/cuda/kernels/convert.hpp"
#include "voxgrad/cuda/kernels/direct_conv.hpp"

namespace voxgrad::cuda {
namespace {

/// What a convolution is bound to: its spec and its memory.
struct Binding {
  ConvSpec spec;
  const void *a, *b, *out, *workspace;
  friend bool operator==(const Binding&, const Binding&) = default;

  ConvPointers pointers() const {
    ConvPointers p;
    p.workspace = const_cast<void*>(workspace);
    switch (spec.op) {
      case ConvOp::forward: p.x = a, p.w = b, p.y = out; break;
      case ConvOp::backward_data: p.y = a, p.w = b, p.x = out; break;
      case ConvOp::backward_weight: p.x = a, p.y = b, p.w = out; break;
    }
    return p;
  }
};
struct BindingHash {
  size_t operator()(const Binding& k) const {
    size_t h = std::hash<ConvSpec>{}(k.spec);
    for (const void* p : {k.a, k.b, k.out, k.workspace}) h = (h ^ std::hash<const void*>{}(p)) * 1099511628211u;
    return h;
  }
};

ConvShape shape_of(const ConvSpec& s) {
  ConvShape c{};
  c.N = s.N, c.Ci = s.Ci, c.Co = s.Co;
  for (int a = 0; a < 3; ++a) {
    c.in[a] = s.in[a], c.out[a] = s.out[a], c.kernel[a] = s.kernel[a];
    c.stride[a] = s.stride[a], c.padding[a] = s.padding[a], c.dilation[a] = s.dilation[a];
  }
  return c;
}

/// The direct kernels as what plans are compared with.
template <class E>
void direct(const ConvSpec& s, const ConvPointers& p, float* result, StreamHandle stream) {
  const Slice<const E> x{static_cast<const E*>(p.x), x_step(s)}, y{static_cast<const E*>(p.y), y_step(s)};
  if (s.op == ConvOp::backward_weight) return launch<DirectConvBackwardWeight<E>>({shape_of(s), x, y, result}, stream);
  const bool forward = s.op == ConvOp::forward;
  const int64_t rows = voxels(s, forward ? s.out : s.in), C = forward ? s.Co : s.Ci;
  const DeviceMemory rounded(std::is_same_v<E, float> ? 0 : size_t(rows * C) * sizeof(E));
  E* const to = std::is_same_v<E, float> ? reinterpret_cast<E*>(result) : static_cast<E*>(rounded.data());
  const auto* const w = static_cast<const E*>(p.w);
  if (forward) {
    const bool biased = s.epilogue != Epilogue::none;
    launch<DirectConv<E>>({shape_of(s), x, w, biased ? static_cast<const float*>(p.bias) : nullptr, {to, C}}, stream);
    if (s.epilogue == Epilogue::bias_leaky)
      launch<BiasAct<E>>({rows, C, {to, C}, nullptr, nullptr, {}, leaky_relu(double(s.slope)), {to, C}}, stream);
  } else {
    launch<DirectConvBackwardData<E>>({shape_of(s), y, w, {to, C}}, stream);
  }
  if constexpr (!std::is_same_v<E, float>) {
    launch<Convert<E, float>>({rows * C, to, result, 1}, stream);
    Event done;
    done.record(stream);
    done.synchronize();  // before the rounded values go
  }
}

/// A range of a program's steps: counted until it is recorded.
struct Sequence {
  int runs = 0;
  Graph graph;
};

/// Runs before a sequence is recorded: the first loads kernels and cuDNN's, the second shows that nothing is left to load.
constexpr int eager_runs = 2;

}  // namespace

struct CudaDevice::Impl {
  int card = 0;
  CudaDeviceOptions options;
  DeviceInfo info;
  Stream stream;
  CudnnHandle cudnn;
  ConvBench bench;
  ConvPlanner planner;
  std::map<void*, DeviceMemory> memory;
  std::unordered_map<Binding, BoundConv, BindingHash> bound;
  std::map<std::tuple<uint64_t, int, int>, Sequence> sequences;

  Impl(int index, CudaDeviceOptions o)
      : card(index), options(std::move(o)), info(device_info(index)), bench(cudnn, info, &Impl::reference),
        planner(PlanTarget(cudnn), text(info.name, " sm_", info.sm, " ", info.multiprocessors, " SMs"), planning(bench, options)) {}

  static PlannerOptions planning(ConvBench& bench, const CudaDeviceOptions& options) {
    PlannerOptions p;
    bench.attach(p);
    if (!options.time_plans) p.time = nullptr;
    if (!options.verify_plans) p.verify = nullptr;
    p.log = options.log;
    return p;
  }
  static void reference(const ConvSpec& s, const ConvPointers& p, float* result, StreamHandle stream) {
    visit(s.io, [&](auto zero) { direct<decltype(zero)>(s, p, result, stream); });
  }
};

CudaDevice::CudaDevice(int card, CudaDeviceOptions options) {
  use_device(card);
  impl_ = std::make_unique<Impl>(card, std::move(options));
}
CudaDevice::~CudaDevice() = default;

StreamHandle CudaDevice::stream() const { return impl_->stream; }
int CudaDevice::capability() const { return impl_->info.sm; }

void* CudaDevice::allocate(size_t bytes) {
  use_device(impl_->card);
  DeviceMemory memory(bytes);
  void* const p = memory.data();
  impl_->memory.emplace(p, std::move(memory));
  return p;
}
void CudaDevice::release(void* p) { impl_->memory.erase(p); }
void CudaDevice::clear(void* p, size_t bytes) { fill_bytes(p, 0, bytes, impl_->stream); }
void CudaDevice::upload(void* to, const void* from, size_t bytes) { copy_to_device(to, from, bytes, impl_->stream); }
void CudaDevice::download(void* to, const void* from, size_t bytes) {
  copy_to_host(to, from, bytes, impl_->stream);
  synchronize();
}
void CudaDevice::synchronize() { impl_->stream.synchronize(); }

size_t CudaDevice::conv_workspace(const ConvSpec& spec) { return size_t(impl_->planner.plan(spec)->workspace); }

void CudaDevice::convolve(const ConvSpec& spec, const void* a, const void* b, void* out, void* workspace) {
  const Binding key{spec, a, b, out, workspace};
  auto found = impl_->bound.find(key);
  if (found == impl_->bound.end())
    found = impl_->bound.emplace(key, BoundConv(impl_->planner.plan(spec), spec, impl_->cudnn, key.pointers())).first;
  found->second.execute(impl_->stream);
}

void CudaDevice::run_range(uint64_t program, int first, int last, const std::function<void()>& steps) {
  if (first == last) return;
  if (!impl_->options.graphs) return steps();
  Sequence& s = impl_->sequences[{program, first, last}];
  if (s.runs < eager_runs) {
    steps();
    ++s.runs;
    return;
  }
  if (!s.graph) s.graph = Graph::capture(impl_->stream, steps);
  s.graph.launch(impl_->stream);
}

void CudaDevice::forget(uint64_t program) {
  auto& all = impl_->sequences;
  auto s = all.lower_bound({program, 0, 0});
  while (s != all.end() && std::get<0>(s->first) == program) s = all.erase(s);
  impl_->bound.clear();  // they name memory that may be given to others
}

}  // namespace voxgrad::cuda
