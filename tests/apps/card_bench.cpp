// SPDX-License-Identifier: BSD-3-Clause
// What `voxgrad bench` times on a card, which here is the CPU running the card's kernels.

#include "common/card_bench.hpp"

#include <limits>

#include "apps/host_card.hpp"
#include "catch.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

template <class Net>
void check_times(Net& net, const cuda::Extent& crop, bool training) {
  HostCardLog log;
  const CardBench bench{.card = host_card(cuda::Precision::bf16, uint64_t(1) << 40, &log), .batch = 2, .warmup = 1, .runs = 2, .crop = crop, .training = training};
  int64_t ticks = 0;
  const CardTimes times = time_on_card(bench, net, Random(1), [&] { ++ticks; });
  CHECK(ticks == 6);
  REQUIRE((times.resident.size() == 2 && times.copied.size() == 2));
  for (const auto& ms : {times.resident, times.copied})
    for (const double t : ms) CHECK(t > 0);
  CHECK(times.bytes > size_t(net.parameter_count()) * sizeof(float));
  CHECK(log.training == training);
  CHECK(log.inference == !training);
}

}  // namespace

TEST_CASE("card bench: steps and passes of both networks are timed on data that lies there and with copies") {
  models::UNet3dOptions u;
  u.layers = 1, u.width = 2;
  models::UNet3d unet(u, Random(3));
  models::StarDist3dOptions s;
  s.n_rays = 8, s.grid = {1, 2, 2}, s.unet_n_depth = 1, s.unet_n_filter_base = 2, s.net_conv_after_unet = 4;
  models::StarDist3d stardist(s, Random(3));
  for (const bool training : {false, true}) {
    check_times(unet, {8, 8, 8}, training);
    check_times(stardist, {4, 8, 8}, training);
  }
}

TEST_CASE("card bench: a loss that is not finite is an error") {
  models::UNet3dOptions u;
  u.layers = 1, u.width = 2;
  models::UNet3d unet(u, Random(3));
  for (const nn::Named& n : unet.parameters()) n.tensor->mutable_span<float>()[0] = std::numeric_limits<float>::quiet_NaN();
  const CardBench bench{.card = host_card(), .crop = {8, 8, 8}};
  CHECK_THROWS_AS(time_on_card(bench, unet, Random(1), [] {}), Error);
}
