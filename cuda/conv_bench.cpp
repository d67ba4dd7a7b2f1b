// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/cuda/conv_bench.hpp"

#include <algorithm>
#include <cmath>

namespace voxgrad::cuda {
namespace {

constexpr int warm_ups = 3, runs = 10, most_sets = 8;
constexpr int64_t block = 1 << 18;  // random elements made on the host; memory is filled with them again and again

int64_t padded(int64_t bytes) { return (bytes + 255) / 256 * 256; }

/// Uniform in (-scale, scale): splitmix64, good enough to compare two kernels.
float random_value(uint64_t seed, uint64_t i, float scale) {
  uint64_t z = seed + (i + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  z ^= z >> 31;
  return (float(int64_t(z >> 40)) * 1.1920929e-7f - 1) * scale;
}

struct Written {
  int64_t rows, channels, step;
};
/// The operand that the op writes, as rows of channels.
Written written_of(const ConvSpec& s) {
  if (s.op == ConvOp::forward) return {voxels(s, s.out), s.Co, y_step(s)};
  if (s.op == ConvOp::backward_data) return {voxels(s, s.in), s.Ci, x_step(s)};
  return {s.Co * taps(s), s.Ci, s.Ci};
}

std::vector<float> widened(const std::vector<unsigned char>& raw, Element element) {
  return visit(element, [&](auto zero) {
    using T = decltype(zero);
    const T* from = reinterpret_cast<const T*>(raw.data());
    return std::vector<float>(from, from + raw.size() / sizeof(T));
  });
}

}  // namespace

ConvBench::ConvBench(const CudnnHandle& handle, const DeviceInfo& card, ConvReference reference)
    : handle_(handle), card_(card), reference_(std::move(reference)) {}

void ConvBench::fill(DeviceMemory& memory, Element element, int64_t count, uint64_t seed, float scale) {
  const int64_t size = int64_t(size_of(element)), some = std::min(count, block);
  memory = DeviceMemory(std::size_t(padded(count * size)));
  std::vector<unsigned char> host(std::size_t(some * size));
  visit(element, [&](auto zero) {
    using T = decltype(zero);
    T* to = reinterpret_cast<T*>(host.data());
    for (int64_t i = 0; i < some; ++i) to[i] = T(random_value(seed, uint64_t(i), scale));
  });
  auto* to = static_cast<unsigned char*>(memory.data());
  copy_to_device(to, host.data(), host.size(), stream_);
  stream_.synchronize();  // `host` goes
  for (int64_t done = some; done < count; done += std::min(done, count - done))
    copy_on_device(to + done * size, to, std::size_t(std::min(done, count - done) * size), stream_);
}

void ConvBench::prepare(const ConvSpec& spec, int64_t workspace) {
  if (int64_t(workspace_.size()) < workspace) {
    workspace_ = {};
    workspace_ = DeviceMemory(std::size_t(workspace));
  }
  if (!sets_.empty() && prepared_ == spec) return;
  sets_.clear();
  const int64_t bytes = int64_t(size_of(spec.io)) * (x_span(spec) + y_span(spec) + w_span(spec));
  // Enough sets to push the first out of the cache before it is used again.
  const int64_t sets = std::clamp<int64_t>(int64_t(2 * card_.l2) / std::max<int64_t>(bytes, 1) + 1, 1, most_sets);
  const float scale = 1 / std::sqrt(float(taps(spec) * spec.Ci));
  for (int64_t i = 0; i < sets; ++i) {
    Buffers b;
    fill(b.x, spec.io, x_span(spec), 1, 1);
    fill(b.w, spec.io, w_span(spec), 2, spec.op == ConvOp::backward_weight ? 1 : scale);
    fill(b.y, spec.io, y_span(spec), 3, 1);
    fill(b.bias, Element::f32, spec.Co, 4, 1);
    sets_.push_back(std::move(b));
  }
  stream_.synchronize();
  prepared_ = spec;
}

BoundConv ConvBench::bind(const ConvSpec& spec, const ConvPlan& plan, const Buffers& buffers) {
  return BoundConv(std::shared_ptr<const ConvPlan>(std::shared_ptr<void>(), &plan), spec, handle_, buffers.pointers(workspace_.data()));
}

double ConvBench::time(const ConvSpec& spec, const ConvPlan& plan) {
  prepare(spec, plan.workspace);
  std::vector<BoundConv> bound;
  for (const Buffers& buffers : sets_) bound.push_back(bind(spec, plan, buffers));
  const auto run = [&](int i) { bound[std::size_t(i) % bound.size()].execute(stream_); };
  for (int i = 0; i < warm_ups; ++i) run(i);
  std::vector<Event> marks;
  for (int i = 0; i <= runs; ++i) marks.emplace_back(Event::Timing::on);
  marks[0].record(stream_);
  for (int i = 0; i < runs; ++i) {
    run(warm_ups + i);
    marks[std::size_t(i) + 1].record(stream_);
  }
  stream_.synchronize();
  std::vector<double> us;
  for (int i = 0; i < runs; ++i) us.push_back(elapsed_us(marks[std::size_t(i)], marks[std::size_t(i) + 1]));
  std::sort(us.begin(), us.end());
  return (us[runs / 2 - 1] + us[runs / 2]) / 2;
}

double ConvBench::error(const ConvSpec& spec, const ConvPlan& plan) {
  prepare(spec, plan.workspace);
  sets_.resize(std::min<std::size_t>(sets_.size(), 1));  // the reference's result needs room
  const Buffers& b = sets_[0];
  const Written out = written_of(spec);
  const DeviceMemory& memory = spec.op == ConvOp::forward ? b.y : spec.op == ConvOp::backward_data ? b.x : b.w;
  const std::size_t span = std::size_t((out.rows - 1) * out.step + out.channels), dense = std::size_t(out.rows * out.channels);

  const DeviceMemory expected(dense * sizeof(float));
  fill_bytes(expected.data(), 0xff, expected.size(), stream_);  // NaN wherever the reference writes nothing
  reference_(spec, b.pointers(workspace_.data()), static_cast<float*>(expected.data()), stream_);
  fill_bytes(memory.data(), 0xff, span * size_of(spec.io), stream_);  // and wherever the plan writes nothing
  bind(spec, plan, b).execute(stream_);
  std::vector<unsigned char> raw(span * size_of(spec.io));
  std::vector<float> reference(dense);
  copy_to_host(raw.data(), memory.data(), raw.size(), stream_);
  copy_to_host(reference.data(), expected.data(), expected.size(), stream_);
  stream_.synchronize();
  sets_.clear();  // the written operand is no longer random

  const std::vector<float> got = widened(raw, spec.io);
  double difference = 0, norm = 0;
  for (int64_t row = 0; row < out.rows; ++row)
    for (int64_t c = 0; c < out.channels; ++c) {
      const double r = double(reference[std::size_t(row * out.channels + c)]), d = double(got[std::size_t(row * out.step + c)]) - r;
      difference += d * d;
      norm += r * r;
    }
  return std::sqrt(difference / norm);
}

void ConvBench::attach(PlannerOptions& options) {
  options.time = [this](const ConvSpec& spec, const ConvPlan& plan) { return time(spec, plan); };
  if (reference_) options.verify = [this](const ConvSpec& spec, const ConvPlan& plan) { return error(spec, plan); };
}

}  // namespace voxgrad::cuda
