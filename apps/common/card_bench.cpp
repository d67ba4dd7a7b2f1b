// SPDX-License-Identifier: BSD-3-Clause
#include "card_bench.hpp"

#include <cmath>
#include <numeric>

#include "clocks.hpp"
#include "stardist_card_inference.hpp"

namespace voxgrad::app {
namespace {

std::vector<double> timed(const CardBench& b, const std::function<void()>& tick, const std::function<void()>& step) {
  std::vector<double> ms;
  for (int64_t i = 0; i < b.warmup + b.runs; ++i) {
    const double before = wall_seconds();
    step();
    if (i >= b.warmup) ms.push_back((wall_seconds() - before) * 1e3);
    tick();
  }
  return ms;
}

/// Gives the network's weights to an engine; bytes of the card's memory that this takes.
size_t put(nn::Module& net, cuda::DeviceNetwork& engine) {
  for (const nn::Named& n : net.state()) engine.put(n.name, n.tensor->span<float>());
  return engine.weight_bytes() + engine.arena_bytes();
}

/// Four batches of crops that are a little larger than the patches.
cuda::HeldCrops training_set(const CardBench& b, Random random) {
  cuda::HeldCrops crops;
  crops.count = 4 * b.batch;
  crops.seed = random();
  crops.flip = crops.random_crop = true;
  for (size_t a = 0; a < 3; ++a) crops.extent[a] = b.crop[a] + 4;
  const int64_t voxels = crops.extent[0] * crops.extent[1] * crops.extent[2];
  const Tensor noise = random_normal({voxels}, random);
  crops.read = [noise](int64_t, float* input, uint8_t* target) {
    const auto values = noise.span<float>();
    for (size_t i = 0; i < values.size(); ++i) input[i] = values[i], target[i] = values[i] > 2;
  };
  return crops;
}

CardTimes time_training(const CardBench& b, models::UNet3d& net, const float* x, const float* target, Random random, const std::function<void()>& tick) {
  const auto engine = b.card->training({.net = shape_of(net.options()), .batch = b.batch, .crop = b.crop, .settings = {.lr = 2e-4}});
  CardTimes times{{}, {}, put(net, *engine)};
  times.copied = timed(b, tick, [&] {
    engine->step(x, target);
    const double loss = double(engine->losses(1).at(0));
    check(std::isfinite(loss), "the loss on the card is ", loss);
  });
  const cuda::HeldCrops crops = training_set(b, random);
  std::vector<int64_t> order(static_cast<size_t>(crops.count));
  std::iota(order.begin(), order.end(), int64_t(0));
  engine->hold(crops);
  int64_t epoch = 0, left = 0;
  times.resident = timed(b, tick, [&] {
    if (left == 0) engine->begin_epoch(epoch++, 0, order), left = crops.count;
    engine->step_held();
    engine->wait();
    left -= b.batch;
  });
  const double loss = double(engine->losses(1).at(0));
  check(std::isfinite(loss), "the loss on the card is ", loss);
  return times;
}

CardTimes time_inference(const CardBench& b, models::UNet3d& net, const float* x, float* scores, const std::function<void()>& tick) {
  const auto engine = b.card->inference(shape_of(net.options()), b.batch, b.crop, cuda::NormMode::running_statistics);
  CardTimes times{{}, {}, put(net, *engine)};
  times.copied = timed(b, tick, [&] { engine->run(b.batch, x, scores); });
  check(std::isfinite(scores[0]), "the card's scores are not finite");
  times.resident = timed(b, tick, [&] { engine->repeat(), engine->wait(); });
  return times;
}

}  // namespace

CardTimes time_on_card(const CardBench& b, models::UNet3d& net, Random random, const std::function<void()>& tick) {
  const models::UNet3dOptions& o = net.options();
  const Tensor x = random_normal({b.batch, b.crop[0], b.crop[1], b.crop[2], o.in_channels}, random);
  Tensor y = random_uniform({b.batch, b.crop[0], b.crop[1], b.crop[2], o.out_channels}, random);
  const float* const from = x.span<float>().data();
  if (b.training) return time_training(b, net, from, y.span<float>().data(), random, tick);
  return time_inference(b, net, from, y.mutable_span<float>().data(), tick);
}

CardTimes time_on_card(const CardBench& b, models::StarDist3d& net, Random random, const std::function<void()>& tick) {
  const models::StarDist3dOptions& o = net.options();
  const auto map = [&](int64_t channels, double highest) {
    return random_uniform({b.batch, b.crop[0] / o.grid[0], b.crop[1] / o.grid[1], b.crop[2] / o.grid[2], channels}, random, 0, highest);
  };
  const Tensor x = random_uniform({b.batch, b.crop[0], b.crop[1], b.crop[2], o.n_channel_in}, random);
  Tensor prob = map(1, 1), dist = map(o.n_rays, 10);
  const float* const from = x.span<float>().data();
  float *const probs = prob.mutable_span<float>().data(), *const dists = dist.mutable_span<float>().data();
  if (!b.training) {
    const auto engine = b.card->stardist_inference(shape_of(o), b.batch, b.crop, cuda::NormMode::running_statistics);
    CardTimes times{{}, {}, put(net, *engine)};
    times.copied = timed(b, tick, [&] { engine->run(b.batch, from, {probs, dists}); });
    check(std::isfinite(probs[0]), "the card's probabilities are not finite");
    times.resident = timed(b, tick, [&] { engine->repeat(), engine->wait(); });
    return times;
  }
  const auto engine = b.card->stardist_training({.net = shape_of(o), .batch = b.batch, .crop = b.crop, .settings = {.lr = 3e-4}});
  CardTimes times{{}, {}, put(net, *engine)};
  const auto check_loss = [&] {
    const double loss = double(engine->losses(1).at(0).total);
    check(std::isfinite(loss), "the loss on the card is ", loss);
  };
  times.copied = timed(b, tick, [&] { engine->step({from, probs, dists}), check_loss(); });
  times.resident = timed(b, tick, [&] { engine->repeat(), engine->wait(); });
  check_loss();
  return times;
}

}  // namespace voxgrad::app
