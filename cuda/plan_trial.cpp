// SPDX-License-Identifier: BSD-3-Clause
#include "plan_trial.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "check.hpp"
#include "voxgrad/core/random.hpp"
#include "voxgrad/cuda/kernels/bias_act.hpp"
#include "voxgrad/cuda/kernels/direct_conv.hpp"

namespace voxgrad::cuda {
namespace {

class Event {
 public:
  Event() { check_cuda(cudaEventCreate(&event_), "cudaEventCreate"); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(StreamHandle stream) { check_cuda(cudaEventRecord(event_, stream), "cudaEventRecord"); }
  /// Microseconds since an earlier event; waits for both.
  double since(const Event& start) const {
    check_cuda(cudaEventSynchronize(event_), "cudaEventSynchronize");
    float ms = 0;
    check_cuda(cudaEventElapsedTime(&ms, start.event_, event_), "cudaEventElapsedTime");
    return double(ms) * 1000;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

/// Memory of a device for as long as a trial lasts.
class Scratch {
 public:
  Scratch(CudaDevice& device, size_t bytes) : device_(device), data_(device.allocate(std::max(bytes, size_t(256)))) {}
  ~Scratch() { device_.release(data_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  void* data() const { return data_; }

 private:
  CudaDevice& device_;
  void* data_;
};

int64_t padded(int64_t elements) { return (elements + 7) / 8 * 8; }

/// Uniform values in [-1, 1): a block of them, repeated.
template <class E>
void fill(CudaDevice& device, void* to, int64_t n, uint64_t stream) {
  Random random(7, stream);
  std::vector<E> block(size_t(std::min<int64_t>(n, 1000003)));
  for (E& v : block) v = E(float(random.uniform(-1, 1)));
  for (int64_t at = 0; at < n; at += int64_t(block.size()))
    device.upload(static_cast<E*>(to) + at, block.data(), size_t(std::min(n - at, int64_t(block.size()))) * sizeof(E));
}

/// The three operands of a spec, inputs filled, and what a plan needs besides.
struct Operands {
  Operands(CudaDevice& device, const ConvSpec& s, int64_t workspace_bytes)
      : x(device, bytes(s, x_span(s))), w(device, bytes(s, w_span(s))), y(device, bytes(s, y_span(s))),
        bias(device, size_t(s.Co) * sizeof(float)), workspace(device, size_t(workspace_bytes)) {
    visit(s.io, [&](auto zero) {
      using E = decltype(zero);
      if (s.op != ConvOp::backward_data) fill<E>(device, x.data(), x_span(s), 1);
      if (s.op != ConvOp::backward_weight) fill<E>(device, w.data(), w_span(s), 2);
      if (s.op != ConvOp::forward) fill<E>(device, y.data(), y_span(s), 3);
    });
    fill<float>(device, bias.data(), s.Co, 4);
  }
  static size_t bytes(const ConvSpec& s, int64_t elements) { return size_t(padded(elements)) * size_of(s.io); }
  ConvPointers pointers(const ConvPlan& plan) const {
    return {x.data(), w.data(), y.data(), bias.data(), plan.workspace > 0 ? workspace.data() : nullptr};
  }
  Scratch x, w, y, bias, workspace;
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

struct Distance {
  double difference = 0, size = 0;
  double relative() const { return std::sqrt(difference / std::max(size, 1e-300)); }
};

/// Of the values that the plan wrote (rows of `width` values, `step` apart, as E) from the reference (the same as R).
template <class E, class R>
Distance distance(CudaDevice& device, const void* ours, const void* reference, int64_t rows, int64_t width, int64_t step) {
  const int64_t n = (rows - 1) * step + width;
  std::vector<E> a(static_cast<size_t>(n));
  std::vector<R> b(static_cast<size_t>(n));
  device.download(a.data(), ours, a.size() * sizeof(E));
  device.download(b.data(), reference, b.size() * sizeof(R));
  Distance d;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = r * step; i < r * step + width; ++i) {
      const double want = double(float(b[size_t(i)])), got = double(float(a[size_t(i)]));
      d.difference += (got - want) * (got - want);
      d.size += want * want;
    }
  return d;
}

}  // namespace

double time_plan(CudaDevice& device, const CudnnHandle& handle, const ConvSpec& spec, const ConvPlan& plan) {
  const Operands o(device, spec, plan.workspace);
  // The plan is the caller's: this pointer owns nothing.
  const BoundConv conv(std::shared_ptr<const ConvPlan>(std::shared_ptr<void>(), &plan), spec, handle, o.pointers(plan));
  for (int i = 0; i < 3; ++i) conv.execute(device.stream());
  std::vector<double> us;
  Event start, end;
  for (int i = 0; i < 10; ++i) {
    start.record(device.stream());
    conv.execute(device.stream());
    end.record(device.stream());
    us.push_back(end.since(start));
  }
  std::nth_element(us.begin(), us.begin() + 5, us.end());
  return us[5];
}

double plan_error(CudaDevice& device, const CudnnHandle& handle, const ConvSpec& spec, const ConvPlan& plan) {
  const Operands o(device, spec, plan.workspace);
  const BoundConv conv(std::shared_ptr<const ConvPlan>(std::shared_ptr<void>(), &plan), spec, handle, o.pointers(plan));
  conv.execute(device.stream());
  return visit(spec.io, [&](auto zero) {
    using E = decltype(zero);
    const Slice<const E> x{static_cast<const E*>(o.x.data()), x_step(spec)}, y{static_cast<const E*>(o.y.data()), y_step(spec)};
    const auto* const w = static_cast<const E*>(o.w.data());
    if (spec.op == ConvOp::backward_weight) {
      const Scratch dw(device, size_t(w_span(spec)) * sizeof(float));
      device.launch<DirectConvBackwardWeight<E>>({shape_of(spec), x, y, static_cast<float*>(dw.data())});
      return distance<E, float>(device, o.w.data(), dw.data(), spec.Co, taps(spec) * spec.Ci, taps(spec) * spec.Ci).relative();
    }
    if (spec.op == ConvOp::backward_data) {
      const Scratch dx(device, Operands::bytes(spec, x_span(spec)));
      device.launch<DirectConvBackwardData<E>>({shape_of(spec), y, w, {static_cast<E*>(dx.data()), x_step(spec)}});
      return distance<E, E>(device, o.x.data(), dx.data(), voxels(spec, spec.in), spec.Ci, x_step(spec)).relative();
    }
    const Scratch out(device, Operands::bytes(spec, y_span(spec)));
    const Slice<E> to{static_cast<E*>(out.data()), y_step(spec)};
    const bool biased = spec.epilogue != Epilogue::none;
    device.launch<DirectConv<E>>({shape_of(spec), x, w, biased ? static_cast<const float*>(o.bias.data()) : nullptr, to});
    if (spec.epilogue == Epilogue::bias_leaky)
      device.launch<BiasAct<E>>({voxels(spec, spec.out), spec.Co, to, nullptr, nullptr, {}, leaky_relu(double(spec.slope)), to});
    return distance<E, E>(device, o.y.data(), out.data(), voxels(spec, spec.out), spec.Co, y_step(spec)).relative();
  });
}

}  // namespace voxgrad::cuda
