// SPDX-License-Identifier: BSD-3-Clause
// What `voxgrad bench` counts as work: the figures of the networks' descriptions, and what the kernels report.

#include "common/bench_networks.hpp"

#include "catch.hpp"
#include "common/fma_peak.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/core/parallel.hpp"
#include "voxgrad/core/trace.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

/// Sum of the traced work of a training step.
double traced(const BenchNetwork& net) {
  double flop = 0;
  trace_sink() = [&](const TraceEvent& e) { flop += e.flop; };
  backward(net.loss());
  trace_sink() = nullptr;
  return flop;
}

}  // namespace

TEST_CASE("bench counts the work that the networks' tables give") {
  const Work unet = work_of(models::UNet3dOptions{}, {32, 32, 32});
  CHECK(unet.forward / 1e9 == Approx(1.006).epsilon(1e-3));
  CHECK(unet.training() / 1e9 == Approx(3.003).epsilon(1e-3));
  const Work stardist = work_of(models::StarDist3dOptions{.grid = {1, 2, 2}}, {32, 64, 64});
  CHECK(stardist.forward / 1e9 == Approx(28.67).epsilon(1e-3));
  CHECK(stardist.training() / 1e9 == Approx(85.79).epsilon(1e-3));
}

TEST_CASE("bench counts the work that the kernels report") {
  const Random seed(1);
  const auto unet = bench_unet3d({.layers = 2, .width = 2, .dilations = 2}, 2, {8, 4, 4}, true, seed);
  CHECK(2 * unet.work.training() == Approx(traced(unet)).epsilon(1e-12));
  const auto stardist = bench_stardist3d({.n_rays = 5, .grid = {1, 2, 4}, .unet_n_depth = 1, .unet_n_filter_base = 3, .net_conv_after_unet = 4},
                                         2, {4, 8, 16}, true, seed);
  CHECK(2 * stardist.work.training() == Approx(traced(stardist)).epsilon(1e-12));
}

TEST_CASE("the measured FP32 peak is a rate of this century") {
  const int before = threads();
  set_threads(1);
  const double peak = fma_peak_gflops();
  set_threads(before);
  CHECK(peak > 1);     // the slowest x86-64 has 4 lanes
  CHECK(peak < 2000);  // 6 GHz, 2 units of 64 lanes
}
