// SPDX-License-Identifier: BSD-3-Clause
// voxgrad bench: time and memory of a network's training step or inference on this machine.

#include <sys/resource.h>

#include <algorithm>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "commands.hpp"
#include "common/bench_networks.hpp"
#include "common/card.hpp"
#include "common/card_bench.hpp"
#include "common/clocks.hpp"
#include "common/fma_peak.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/core/parallel.hpp"
#include "voxgrad/cuda/runtime.hpp"
#include "voxgrad/optim/adam.hpp"
#include "voxgrad/simd/isa.hpp"

namespace voxgrad::app {
namespace {

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

/// "32" or "32,64,64".
Extents parse_extents(const std::string& option, const std::string& value) {
  Extents extents{};
  size_t axis = 0;
  std::string rest = value + ",";
  for (size_t comma; (comma = rest.find(',')) != std::string::npos; rest = rest.substr(comma + 1)) {
    const auto n = parse_integer(rest.substr(0, comma));
    check<UsageError>(n && *n > 0 && axis < 3, option, " is '", value, "' (expected one number, or three: T,H,W)");
    extents[axis++] = *n;
  }
  check<UsageError>(axis == 1 || axis == 3, option, " is '", value, "' (expected one number, or three: T,H,W)");
  if (axis == 1) extents[1] = extents[2] = extents[0];
  return extents;
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

/// The network of the command line; --width and --depth default to each network's own.
BenchNetwork network(const Arguments& a, int64_t batch, const Extents& crop, bool training, uint64_t seed) {
  const auto or_own = [&](const char* option, int64_t own, int64_t lowest, int64_t highest) {
    return a.given(option) ? a.integer(option, lowest, highest) : own;
  };
  if (a.choice("--net") == "unet3d") {
    for (const char* option : {"--grid", "--rays", "--features"})
      check<UsageError>(!a.given(option), option, " goes with --net stardist3d");
    models::UNet3dOptions o;
    o.width = or_own("--width", o.width, 1, 1024);
    o.layers = or_own("--depth", o.layers, 1, 8);
    return bench_unet3d(o, batch, crop, training, Random(seed));
  }
  models::StarDist3dOptions o;
  o.unet_n_filter_base = or_own("--width", o.unet_n_filter_base, 1, 1024);
  o.unet_n_depth = or_own("--depth", o.unet_n_depth, 0, 8);
  o.grid = parse_extents("--grid", a.get("--grid"));
  o.n_rays = a.integer("--rays", 4, 4096);
  o.net_conv_after_unet = a.integer("--features", 0, 4096);
  return bench_stardist3d(o, batch, crop, training, Random(seed));
}

/// The card to time; none on the CPU.
std::shared_ptr<const Card> card_of(const Arguments& a, const Session& session) {
  const std::shared_ptr<const Card> card = chosen_card(a, session);
  check<UsageError>(!card || !a.flag("--layers"), "--layers times layers on the CPU: use --device cpu.");
  return card;
}

/// Times of data that lies on the card, which is how a training set is used there, and beside them those with copies.
int bench_card(const Arguments& a, const CardBench& bench, BenchNetwork& net, Session& session) {
  auto progress = session.stage("bench", 2 * (bench.warmup + bench.runs), "steps");
  int64_t done = 0;
  const auto tick = [&] {
    session.check_stop();
    progress->update(++done);
  };
  const Random random(session.seed().value_or(42), 1);
  auto* const unet = dynamic_cast<models::UNet3d*>(net.module.get());
  const CardTimes times = unet ? time_on_card(bench, *unet, random, tick) : time_on_card(bench, dynamic_cast<models::StarDist3d&>(*net.module), random, tick);
  const auto least = [](const std::vector<double>& ms) { return *std::min_element(ms.begin(), ms.end()); };
  const double mid = median(times.resident), copied = median(times.copied), rate = double(bench.batch) / mid * 1e3;
  const double gflop = (bench.training ? net.work.training() : net.work.forward) * double(bench.batch) / 1e9;
  const double mib = double(times.bytes) / double(1 << 20);
  session.print(fmt::format("{} {} batch {} crop {}x{}x{} on {} in {}: median {:.3f} ms (min {:.3f}), {:.1f} samples/s, {:.0f} GFLOP/s; with copies "
                            "{:.3f} ms; {:.0f} MiB on the card",
                            a.get("--net"), a.get("--mode"), bench.batch, bench.crop[0], bench.crop[1], bench.crop[2], session.device(), cuda::name(bench.card->precision), mid,
                            least(times.resident), rate, gflop / mid * 1e3, copied, mib));
  session.result("net", a.get("--net"));
  session.result("mode", a.get("--mode"));
  session.result("batch", bench.batch);
  session.result("device", session.device());
  session.result("precision", std::string(cuda::name(bench.card->precision)));
  session.result("ms_median", mid);
  session.result("ms_min", least(times.resident));
  session.result("copied_ms_median", copied);
  session.result("samples_per_s", rate);
  session.result("gflop", gflop);
  session.result("gflops", gflop / mid * 1e3);
  session.result("card_mib", mib);
  return 0;
}

int run_bench(const Arguments& a, Session& session) {
  const bool training = a.choice("--mode") == "train";
  const int64_t batch = a.integer("--batch", 1, 4096), runs = a.integer("--runs", 1, 100000), warmup = a.integer("--warmup", 0, 1000);
  const Extents crop = parse_extents("--crop", a.get("--crop"));
  set_threads(session.threads());
  const std::shared_ptr<const Card> card = card_of(a, session);
  BenchNetwork net = network(a, batch, crop, training, session.seed().value_or(42));
  if (card) {
    const CardBench bench{.card = card, .batch = batch, .warmup = warmup, .runs = runs, .crop = crop, .training = training};
    return bench_card(a, bench, net, session);
  }
  std::optional<optim::Adam> adam;
  if (training) adam.emplace(net.module->parameters(), optim::AdamOptions{.lr = 2e-4});

  const auto step = [&] {
    if (!training) {
      NoGrad no_grad;
      return double(net.output().span<float>()[0]);
    }
    const Tensor loss = net.loss();
    backward(loss);
    adam->step();
    return loss.item();
  };
  double peak = fma_peak_gflops();
  LayerTable layers;
  std::vector<double> ms, cpu_ms;
  {
    auto progress = session.stage("bench", warmup + runs, "steps");
    for (int64_t i = 0; i < warmup + runs; ++i) {
      session.check_stop();
      if (i == warmup && a.flag("--layers")) trace_sink() = [&](const TraceEvent& e) { layers.add(e); };
      const double wall = wall_seconds(), cpu = cpu_seconds();
      const double value = step();
      const double wall_took = wall_seconds() - wall, cpu_took = cpu_seconds() - cpu;
      check(value == value, "step ", i, " gave NaN");
      if (i >= warmup) {
        ms.push_back(wall_took * 1e3);
        cpu_ms.push_back(cpu_took * 1e3);
      }
      progress->update(i + 1);
    }
    trace_sink() = nullptr;
  }
  const double memory = peak_rss_mib();
  peak = std::max(peak, fma_peak_gflops());

  const double gflop = (training ? net.work.training() : net.work.forward) * double(batch) / 1e9;
  const double mid = median(ms), cpu_mid = median(cpu_ms), best = *std::min_element(ms.begin(), ms.end());
  const double rate = gflop / (threads() == 1 ? cpu_mid : mid) * 1e3;
  if (a.flag("--layers")) layers.print(session, int(runs));
  session.print(fmt::format("{} {} batch {} crop {}x{}x{} threads {} isa {}: median {:.2f} ms (min {:.2f}; processor time {:.2f}), "
                            "{:.2f} samples/s, {:.1f} GFLOP/s = {:.2f} of the measured FP32 peak of {:.0f}, peak memory {:.0f} MiB",
                            a.get("--net"), a.get("--mode"), batch, crop[0], crop[1], crop[2], threads(), name(current_isa()), mid,
                            best, cpu_mid, double(batch) / mid * 1e3, rate, rate / peak, peak, memory));
  session.result("net", a.get("--net"));
  session.result("mode", a.get("--mode"));
  session.result("batch", batch);
  session.result("ms_median", mid);
  session.result("ms_min", best);
  session.result("cpu_ms_median", cpu_mid);
  session.result("cpu_ms_min", *std::min_element(cpu_ms.begin(), cpu_ms.end()));
  session.result("samples_per_s", double(batch) / mid * 1e3);
  session.result("gflop", gflop);
  session.result("gflops", rate);
  session.result("peak_gflops", peak);
  session.result("peak_fraction", rate / peak);
  session.result("peak_rss_mib", memory);
  session.result("threads", int64_t(threads()));
  session.result("isa", std::string(name(current_isa())));
  return 0;
}

}  // namespace

Command make_bench() {
  return {.name = "bench",
          .summary = "Measures time and memory of a training step or of inference on this machine.",
          .options = join({{"--net", "unet3d|stardist3d", "unet3d", "network", "Model"},
                           {"--mode", "train|infer", "train", "train: forward, loss, backward, Adam; infer: evaluation mode", "Model"},
                           {"--batch", "N", "8", "samples per step", "Data"},
                           {"--crop", "N|T,H,W", "32", "extent of a sample in voxels", "Data"},
                           {"--width", "N", "", "channels of the first stage (unet3d: 8, stardist3d: 32)", "Model"},
                           {"--depth", "N", "", "encoder stages (unet3d: 5, stardist3d: 2)", "Model", {"--layers-deep"}},
                           {"--grid", "N|T,H,W", "1,2,2", "output sub-sampling of stardist3d", "Model"},
                           {"--rays", "N", "96", "rays of stardist3d", "Model"},
                           {"--features", "N", "128", "channels of stardist3d's last convolution before the heads, 0 for none", "Model"},
                           {"--runs", "N", "10", "timed steps", "Output"},
                           {"--warmup", "N", "3", "steps before timing", "Output"},
                           {"--layers", "", "", "also print time and rate per layer", "Output"}},
                          {common::threads(), common::cpu_unless_asked(), common::precision(), common::seed()}),
          .examples = {{"voxgrad bench --mode train --batch 8 --crop 32 --threads 2", "a whole training step"},
                       {"voxgrad bench --mode infer --batch 1 --crop 64 --layers", "inference on one 64^3 tile, per layer"},
                       {"voxgrad bench --device cuda --batch 128 --precision bf16", "a training step on a card (docs/cuda.md)"},
                       {"voxgrad bench --net stardist3d --batch 1 --crop 32,64,64", "a training step of StarDist-3D"}},
          .more = "docs/benchmarks.md",
          .run = run_bench};
}

}  // namespace voxgrad::app
