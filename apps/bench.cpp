// SPDX-License-Identifier: BSD-3-Clause
// voxgrad bench: time and memory of a network's training step or inference on this machine.

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <map>

#include <fmt/format.h>

#include "commands.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/core/parallel.hpp"
#include "voxgrad/models/unet3d.hpp"
#include "voxgrad/ops/loss.hpp"
#include "voxgrad/optim/adam.hpp"
#include "voxgrad/simd/isa.hpp"

namespace voxgrad::app {
namespace {

/// Multiply-adds times two of one forward pass per sample, padding counted, and of its first layer.
struct Work {
  double forward = 0, first = 0;
};
Work unet_work(const models::UNet3dOptions& o, std::array<int64_t, 3> extent) {
  const auto volume = [&](int64_t level) {
    return double((extent[0] >> level) * (extent[1] >> level) * (extent[2] >> level));
  };
  Work w;
  const auto conv = [&](int64_t in, int64_t out, double taps, double voxels) { w.forward += 2 * taps * double(in * out) * voxels; };
  for (int64_t i = 0; i < o.layers; ++i) {
    const double taps = i == 0 ? double(o.first_kernel * o.first_kernel * o.first_kernel) : 27;
    conv(i == 0 ? o.in_channels : o.width << (i - 1), o.width << i, taps, volume(i));
    if (i == 0) w.first = w.forward;
    conv(o.width << i, o.width << i, taps, volume(i));
  }
  const int64_t deep = o.width << o.layers;
  conv(deep / 2, deep * o.dilations, 27, volume(o.layers));
  conv(deep * o.dilations, deep, 27, volume(o.layers));
  for (int64_t i = o.layers; i-- > 0;) {
    conv(o.width << (i + 1), o.width << i, 27, volume(i + 1));  // the transposed convolution works per input voxel
    conv(o.width << (i + 1), o.width << i, 27, volume(i));
    conv(o.width << i, o.width << i, 27, volume(i));
  }
  conv(o.width, o.out_channels, 1, volume(0));
  return w;
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  const size_t n = v.size();
  return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

double peak_rss_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return double(usage.ru_maxrss) / 1024;
}

std::array<int64_t, 3> parse_crop(const std::string& value) {
  std::array<int64_t, 3> crop{};
  size_t axis = 0;
  std::string rest = value + ",";
  for (size_t comma; (comma = rest.find(',')) != std::string::npos; rest = rest.substr(comma + 1)) {
    const auto n = parse_integer(rest.substr(0, comma));
    check<UsageError>(n && *n > 0 && axis < 3, "--crop is '", value, "' (expected an edge length, or T,H,W)");
    crop[axis++] = *n;
  }
  check<UsageError>(axis == 1 || axis == 3, "--crop is '", value, "' (expected an edge length, or T,H,W)");
  if (axis == 1) crop[1] = crop[2] = crop[0];
  return crop;
}

/// Per op, phase and shape: calls, time and work, summed over the timed runs.
class LayerTable {
 public:
  void add(const TraceEvent& e) {
    Row& row = rows_[text(e.op, " ", e.phase, " ", e.in, " -> ", e.out)];
    if (row.calls++ == 0) row.order = rows_.size();
    row.ms += e.ms;
    row.flop += e.flop;
  }
  void print(Session& session, int runs) const {
    std::vector<std::pair<std::string, Row>> sorted(rows_.begin(), rows_.end());
    std::sort(sorted.begin(), sorted.end(), [](auto& a, auto& b) { return a.second.order < b.second.order; });
    session.print(fmt::format("{:<74}{:>7}{:>10}{:>9}", "op, phase, shapes", "calls", "ms/step", "GFLOP/s"));
    for (const auto& [name, row] : sorted) {
      session.print(fmt::format("{:<74}{:>7}{:>10.3f}{:>9}", name, row.calls / runs, row.ms / runs,
                                row.flop > 0 ? fmt::format("{:.1f}", row.flop / row.ms / 1e6) : std::string("-")));
      session.emit("layer", {{"name", name}, {"calls", row.calls / runs}, {"ms", row.ms / runs}, {"gflop", row.flop / runs / 1e9}});
    }
  }

 private:
  struct Row {
    int64_t calls = 0;
    double ms = 0, flop = 0;
    size_t order = 0;
  };
  std::map<std::string, Row> rows_;
};

int run_bench(const Arguments& a, Session& session) {
  check<UsageError>(a.choice("--net") == "unet3d", "--net: only unet3d can be measured");
  const bool training = a.choice("--mode") == "train";
  const int64_t batch = a.integer("--batch", 1, 4096), runs = a.integer("--runs", 1, 100000), warmup = a.integer("--warmup", 0, 1000);
  const auto crop = parse_crop(a.get("--crop"));
  models::UNet3dOptions options;
  options.width = a.integer("--width", 1, 1024);
  options.layers = a.integer("--layers-deep", 1, 8);
  set_threads(session.threads());

  models::UNet3d net(options, Random(session.seed().value_or(42)));
  net.train(training);
  optim::Adam adam(net.parameters(), {.lr = 2e-4});
  Random random(1);
  const Tensor x = random_normal({batch, crop[0], crop[1], crop[2], options.in_channels}, random);
  const Tensor target = random_uniform({batch, crop[0], crop[1], crop[2], options.out_channels}, random);

  const auto step = [&] {
    if (!training) {
      NoGrad no_grad;
      return double(net(x).span<float>()[0]);
    }
    const Tensor loss = mse_loss(net(x), target);
    backward(loss);
    adam.step();
    return loss.item();
  };
  LayerTable layers;
  std::vector<double> ms;
  {
    auto progress = session.stage("bench", warmup + runs, "steps");
    for (int64_t i = 0; i < warmup + runs; ++i) {
      session.check_stop();
      if (i == warmup && a.flag("--layers")) trace_sink() = [&](const TraceEvent& e) { layers.add(e); };
      const auto start = std::chrono::steady_clock::now();
      const double value = step();
      const double took = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
      check(value == value, "step ", i, " gave NaN");
      if (i >= warmup) ms.push_back(took);
      progress->update(i + 1);
    }
    trace_sink() = nullptr;
  }

  const Work work = unet_work(options, crop);
  const double gflop = (training ? 3 * work.forward - work.first : work.forward) * double(batch) / 1e9;
  const double mid = median(ms), best = *std::min_element(ms.begin(), ms.end());
  if (a.flag("--layers")) layers.print(session, int(runs));
  session.print(fmt::format("unet3d {} batch {} crop {}x{}x{} threads {} isa {}: median {:.2f} ms (min {:.2f}), {:.2f} samples/s, "
                            "{:.1f} GFLOP/s, peak memory {:.0f} MiB",
                            a.get("--mode"), batch, crop[0], crop[1], crop[2], threads(), name(current_isa()), mid, best,
                            double(batch) / mid * 1e3, gflop / mid * 1e3, peak_rss_mib()));
  session.result("ms_median", mid);
  session.result("ms_min", best);
  session.result("samples_per_s", double(batch) / mid * 1e3);
  session.result("gflops", gflop / mid * 1e3);
  session.result("peak_rss_mib", peak_rss_mib());
  session.result("threads", int64_t(threads()));
  session.result("isa", std::string(name(current_isa())));
  return 0;
}

}  // namespace

Command make_bench() {
  return {.name = "bench",
          .summary = "Measures time and memory of a training step or of inference on this machine.",
          .options = join({{"--net", "unet3d", "unet3d", "network", "Model"},
                           {"--mode", "train|infer", "train", "train: forward, loss, backward, Adam; infer: evaluation mode", "Model"},
                           {"--batch", "N", "8", "samples per step", "Data"},
                           {"--crop", "N|T,H,W", "32", "edge length of a sample in voxels", "Data"},
                           {"--width", "N", "8", "channels of the first stage", "Model"},
                           {"--layers-deep", "N", "5", "encoder stages", "Model"},
                           {"--runs", "N", "10", "timed steps", "Output"},
                           {"--warmup", "N", "3", "steps before timing", "Output"},
                           {"--layers", "", "", "also print time and rate per layer", "Output"}},
                          {common::threads(), common::seed()}),
          .examples = {{"voxgrad bench --mode train --batch 8 --crop 32 --threads 2", "a whole training step"},
                       {"voxgrad bench --mode infer --batch 1 --crop 64 --layers", "inference on one 64^3 tile, per layer"}},
          .more = "docs/benchmarks.md",
          .run = run_bench};
}

}  // namespace voxgrad::app
