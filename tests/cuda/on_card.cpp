// SPDX-License-Identifier: BSD-3-Clause
// The host's layer on a card at hand: memory, streams, graphs, and cuDNN's convolutions against their definition.

#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "catch.hpp"
#include "message.hpp"
#include "scratch_folder.hpp"
#include "voxgrad/cuda/conv_bench.hpp"
#include "voxgrad/cuda/cublas_library.hpp"

using namespace voxgrad;
using namespace voxgrad::cuda;

namespace {

bool card_here(const char* what) {
  if (available()) {
    use_device(0);
    return true;
  }
  std::printf("skipped: %s (%s)\n", what, availability().reason.c_str());
  return false;
}

/// Elements of a card's memory as floats.
std::vector<float> read(const void* from, Element element, int64_t count) {
  std::vector<unsigned char> raw(std::size_t(count) * size_of(element));
  Stream stream;
  copy_to_host(raw.data(), from, raw.size(), stream);
  stream.synchronize();
  return visit(element, [&](auto zero) {
    const auto* values = reinterpret_cast<const decltype(zero)*>(raw.data());
    return std::vector<float>(values, values + count);
  });
}

/// The definition, one multiplication at a time: visit(y index, w index, x index) for every product that counts.
template <class F>
void products(const ConvSpec& s, F&& f) {
  for (int n = 0; n < s.N; ++n)
    for (int z = 0; z < s.out[0]; ++z)
      for (int y = 0; y < s.out[1]; ++y)
        for (int x = 0; x < s.out[2]; ++x)
          for (int64_t tap = 0; tap < taps(s); ++tap) {
            const int k[3] = {int(tap / (s.kernel[1] * s.kernel[2])), int(tap / s.kernel[2] % s.kernel[1]), int(tap % s.kernel[2])}, o[3] = {z, y, x};
            int64_t in = n, out = n;
            bool inside = true;
            for (int a = 0; a < 3; ++a) {
              const int i = o[a] * s.stride[a] + k[a] * s.dilation[a] - s.padding[a];
              inside = inside && i >= 0 && i < s.in[a];
              in = in * s.in[a] + i;
              out = out * s.out[a] + o[a];
            }
            for (int co = 0; inside && co < s.Co; ++co)
              for (int ci = 0; ci < s.Ci; ++ci) f(out, co, (co * taps(s) + tap) * s.Ci + ci, in, ci);
          }
}

/// The reference of a ConvBench, computed on the host in double.
void define(const ConvSpec& s, const ConvPointers& p, float* result, StreamHandle stream) {
  std::vector<float> x, w, y;
  if (s.op != ConvOp::backward_data) x = read(p.x, s.io, x_span(s));
  if (s.op != ConvOp::backward_weight) w = read(p.w, s.io, w_span(s));
  if (s.op != ConvOp::forward) y = read(p.y, s.io, y_span(s));
  const int64_t count = s.op == ConvOp::forward ? voxels(s, s.out) * s.Co : s.op == ConvOp::backward_data ? voxels(s, s.in) * s.Ci : w_span(s);
  std::vector<double> sum(std::size_t(count), 0.0);
  const auto at = [](const std::vector<float>& v, int64_t i) { return double(v[std::size_t(i)]); };
  products(s, [&](int64_t out, int co, int64_t wi, int64_t in, int ci) {
    if (s.op == ConvOp::forward) sum[std::size_t(out * s.Co + co)] += at(w, wi) * at(x, in * x_step(s) + ci);
    else if (s.op == ConvOp::backward_data) sum[std::size_t(in * s.Ci + ci)] += at(w, wi) * at(y, out * y_step(s) + co);
    else sum[std::size_t(wi)] += at(y, out * y_step(s) + co) * at(x, in * x_step(s) + ci);
  });
  if (s.epilogue != Epilogue::none) {
    const std::vector<float> bias = read(p.bias, Element::f32, s.Co);
    for (int64_t i = 0; i < count; ++i) {
      double& v = sum[std::size_t(i)];
      v += at(bias, i % s.Co);
      if (s.epilogue == Epilogue::bias_leaky && v < 0) v *= double(s.slope);
    }
  }
  const std::vector<float> rounded(sum.begin(), sum.end());
  copy_to_device(result, rounded.data(), rounded.size() * sizeof(float), stream);
  Event done;
  done.record(stream);
  done.synchronize();  // `rounded` goes
}

std::vector<ConvSpec> cases(Element io, Math math) {
  ConvSpec base;
  base.io = io;
  base.math = math;
  base.N = 2;
  base.Ci = 16;
  base.Co = 8;
  const int extent[3] = {5, 6, 7};
  for (int a = 0; a < 3; ++a) {
    base.in[a] = base.out[a] = extent[a];
    base.kernel[a] = 3;
    base.padding[a] = 1;
  }
  ConvSpec point = base, strided = base, sliced = base, leaky = base;
  for (int a = 0; a < 3; ++a) {
    point.kernel[a] = 1;
    point.padding[a] = 0;
    strided.in[a] = 8;
    strided.out[a] = 4;
    strided.stride[a] = 2;
  }
  sliced.x_row_stride = 32;
  sliced.y_row_stride = 16;
  leaky.epilogue = Epilogue::bias_leaky;
  leaky.slope = 0.2f;
  std::vector<ConvSpec> out = {leaky};
  for (ConvSpec s : {base, point, strided, sliced})
    for (const ConvOp op : {ConvOp::forward, ConvOp::backward_data, ConvOp::backward_weight}) {
      s.op = op;
      out.push_back(s);
    }
  return out;
}

}  // namespace

TEST_CASE("on a card: cuDNN's convolutions agree with their definition in every precision") {
  if (!card_here("convolutions on a card")) return;
  const DeviceInfo card = device_info(0);
  const CudnnHandle handle;
  ConvBench bench(handle, card, define);
  PlannerOptions options;
  options.cache_folder = "";
  bench.attach(options);
  std::string last;
  options.log = [&](const std::string& line) { last = line; };
  ConvPlanner planner(PlanTarget(handle), card.name, options);
  struct Mode {
    Element io;
    Math math;
    int from;
  };
  for (const Mode mode : {Mode{Element::f32, Math::strict, 0}, Mode{Element::f16, Math::tensor_core, 70}, Mode{Element::bf16, Math::tensor_core, 80}}) {
    if (card.sm < mode.from || !cudnn_distrust(handle.library().version, mode.io, mode.math).empty()) continue;
    for (const ConvSpec& spec : cases(mode.io, mode.math)) {
      if (spec.epilogue != Epilogue::none && mode.io == Element::f32) continue;  // fused kernels use tensor cores
      INFO(describe(spec));
      const std::shared_ptr<const ConvPlan> plan = planner.plan(spec);  // throws unless the values are right
      CHECK(plan->us > 0);
      CHECK(last.find("error ") != std::string::npos);
    }
  }
}

TEST_CASE("on a card: a captured convolution gives the same bits as one that is started") {
  if (!card_here("a captured convolution")) return;
  const CudnnHandle handle;
  PlannerOptions options;
  options.cache_folder = "";
  ConvPlanner planner(PlanTarget(handle), device_info(0).name, options);
  const ConvSpec spec = cases(Element::f32, Math::strict)[1];
  const std::shared_ptr<const ConvPlan> plan = planner.plan(spec);
  const auto bytes = [](int64_t n) { return std::size_t(n) * sizeof(float); };
  const DeviceMemory x(bytes(x_span(spec))), w(bytes(w_span(spec))), y(bytes(y_span(spec))), workspace(std::size_t(plan->workspace));
  std::vector<float> host(std::size_t(x_span(spec)));
  for (std::size_t i = 0; i < host.size(); ++i) host[i] = std::sin(float(i));
  Stream stream;
  copy_to_device(x.data(), host.data(), bytes(x_span(spec)), stream);
  copy_to_device(w.data(), host.data(), bytes(w_span(spec)), stream);
  const BoundConv bound(plan, spec, handle, {x.data(), w.data(), y.data(), nullptr, workspace.data()});
  bound.execute(stream);
  stream.synchronize();
  const std::vector<float> first = read(y.data(), Element::f32, y_span(spec));
  const Graph graph = Graph::capture(stream, [&] { bound.execute(stream); });
  fill_bytes(y.data(), 0xff, y.size(), stream);
  graph.launch(stream);
  stream.synchronize();
  const std::vector<float> second = read(y.data(), Element::f32, y_span(spec));
  CHECK(std::memcmp(first.data(), second.data(), bytes(y_span(spec))) == 0);
}

TEST_CASE("on a card: too much memory is refused with numbers, and the card goes on") {
  if (!card_here("out of memory on a card")) return;
  const DeviceInfo card = device_info(0);
  try {
    DeviceMemory all(card.memory + (std::size_t(1) << 30));
    CHECK(false);
  } catch (const OutOfDeviceMemory& error) {
    CHECK(error.needed == card.memory + (std::size_t(1) << 30));
    CHECK(error.total == card.memory);
    CHECK(error.free > 0);
  }
  DeviceMemory some(1 << 20);
  check_launches("after out of memory");
  CHECK(voxgrad::test::message<DeviceError>([&] { use_device(availability().devices); }).find("CUDA device") != std::string::npos);
}

TEST_CASE("on a card: cuBLAS multiplies row-major matrices") {
  if (!card_here("matrix products on a card")) return;
  Cublas cublas;
  Gemm g;
  g.m = 17, g.n = 9, g.k = 33;
  g.lda = g.k, g.ldb = g.n, g.ldc = g.n;
  std::vector<float> a(std::size_t(g.m * g.k)), b(std::size_t(g.k * g.n)), c(std::size_t(g.m * g.n));
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = float(i % 7) - 3;
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = float(i % 5) - 2;
  const DeviceMemory da(a.size() * 4), db(b.size() * 4), dc(c.size() * 4);
  Stream stream;
  copy_to_device(da.data(), a.data(), da.size(), stream);
  copy_to_device(db.data(), b.data(), db.size(), stream);
  g.a = da.data(), g.b = db.data(), g.c = dc.data();
  cublas.run(g, stream);
  copy_to_host(c.data(), dc.data(), dc.size(), stream);
  stream.synchronize();
  for (int i = 0; i < g.m; ++i)
    for (int j = 0; j < g.n; ++j) {
      float sum = 0;  // small integers: exact
      for (int l = 0; l < g.k; ++l) sum += a[std::size_t(i * g.k + l)] * b[std::size_t(l * g.n + j)];
      REQUIRE(c[std::size_t(i * g.n + j)] == sum);
    }
}
