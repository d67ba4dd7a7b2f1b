// SPDX-License-Identifier: BSD-3-Clause
// Whole steps of the networks on the card against the device of tests; every plan of a convolution is compared with the direct
// kernel when it is chosen. Single kernels: test_cuda with VOXGRAD_TEST_CARD.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "../device_tensors.hpp"
#include "catch.hpp"
#include "voxgrad/core/random.hpp"
#include "voxgrad/cuda/cuda_device.hpp"
#include "voxgrad/cuda/host_device.hpp"
#include "voxgrad/cuda/stardist3d_engine.hpp"
#include "voxgrad/cuda/unet3d_engine.hpp"

using namespace voxgrad;
using namespace voxgrad::cuda;
using test::distance;

namespace {

CudaDevice& card() {
  static CudaDevice device(0, {.time_plans = false});
  return device;
}

std::vector<float> noise(size_t n, uint64_t stream, double low = -1, double high = 1) {
  Random random(23, stream);
  std::vector<float> v(n);
  for (float& e : v) e = float(random.uniform(low, high));
  return v;
}

/// The same weights for both.
template <class Layers>
void put_noise(DeviceNetwork& a, DeviceNetwork& b, const Layers& layers) {
  uint64_t stream = 100;
  for (const ParameterTable* table : {&layers.learnable, &layers.buffers})
    for (const ParameterShape& p : table->all()) {
      const bool scale = p.name.ends_with("running_var") || (p.order == WeightOrder::as_is && p.name.ends_with(".weight"));
      const double width = 1 / std::sqrt(double(p.taps * p.Ci) + 1);
      const std::vector<float> v = noise(size_t(p.size()), ++stream, scale ? 0.5 : -width, scale ? 1.5 : width);
      a.put(p.name, v);
      b.put(p.name, v);
    }
}

void put_noise(DeviceNetwork& a, DeviceNetwork& b, const UNet3dShape& shape) { put_noise(a, b, UNet3dLayers(shape)); }

template <class E>
constexpr Math math = std::is_same_v<E, float> ? Math::strict : Math::tensor_core;

}  // namespace

TEMPLATE_TEST_CASE("training steps on the card equal the emulated ones", "[steps]", float, bf16, f16) {
  using E = TestType;
  const double tolerance = std::is_same_v<E, float> ? 1e-4 : 2e-2;
  const UNet3dShape shape{.layers = 3, .width = 8};
  const UNet3dTrainingOptions o{.net = shape, .batch = 2, .crop = {16, 16, 16}, .loss = LossKind::mse};
  HostDevice host;
  UNet3dTrainer<HostDevice, E> emulated(host, o, math<E>);
  UNet3dTrainer<CudaDevice, E> ours(card(), o, math<E>);
  put_noise(ours, emulated, shape);
  const UNet3dLayers layers(shape);
  const size_t n = 2 * 16 * 16 * 16;
  for (int i = 0; i < 5; ++i) {  // the third is recorded, the others replay it
    const std::vector<float> x = noise(n, 1 + uint64_t(i)), target = noise(n, 50 + uint64_t(i), 0, 1);
    ours.step(x.data(), target.data());
    emulated.step(x.data(), target.data());
    CHECK(ours.losses(1).at(0) == Approx(emulated.losses(1).at(0)).epsilon(tolerance));
    for (const ParameterShape& p : layers.learnable.all()) {
      INFO("step " << i << ", gradient of " << p.name);
      std::vector<float> a(size_t(p.size())), b(a.size());
      ours.get(p.name, a, Part::gradient);
      emulated.get(p.name, b, Part::gradient);
      if (i == 0) CHECK(distance(a, b) < tolerance * 5);
    }
  }
}

TEMPLATE_TEST_CASE("training steps of StarDist on the card equal the emulated ones", "[steps]", float, bf16, f16) {
  using E = TestType;
  const double tolerance = std::is_same_v<E, float> ? 1e-4 : 2e-2;
  for (const bool resnet : {false, true}) {
    const StarDist3dShape shape{.rays = 16, .classes = 2, .grid = {1, 2, 2}, .resnet = resnet, .filters = 8, .batch_norm = resnet, .features = 16, .blocks = 2};
    const StarDist3dTrainingOptions o{.net = shape, .batch = 2, .crop = {8, 16, 16}};
    HostDevice host;
    StarDist3dTrainer<HostDevice, E> emulated(host, o, math<E>);
    StarDist3dTrainer<CudaDevice, E> ours(card(), o, math<E>);
    const StarDist3dLayers layers(shape);
    put_noise(ours, emulated, layers);
    const size_t voxels = 2 * 8 * 8 * 8;
    std::vector<float> classes(voxels * 3);
    for (size_t i = 0; i < voxels; ++i) classes[3 * i + i % 3] = 1;
    for (int i = 0; i < 5; ++i) {  // the third is recorded, the others replay it
      const std::vector<float> x = noise(4 * voxels, 1 + uint64_t(i)), prob = noise(voxels, 50 + uint64_t(i), 0, 1), dist = noise(16 * voxels, 80 + uint64_t(i), 0, 5);
      const StarDistBatch batch{x.data(), prob.data(), dist.data(), nullptr, classes.data()};
      ours.step(batch);
      emulated.step(batch);
      INFO((resnet ? "resnet, step " : "unet, step ") << i);
      const StarDistStepLoss a = ours.losses(1).at(0), b = emulated.losses(1).at(0);
      CHECK(a.prob == Approx(b.prob).epsilon(tolerance));
      CHECK(a.dist == Approx(b.dist).epsilon(tolerance));
      CHECK(a.prob_class == Approx(b.prob_class).epsilon(tolerance));
      for (const ParameterShape& p : layers.learnable.all()) {
        INFO("gradient of " << p.name);
        std::vector<float> mine(size_t(p.size())), theirs(mine.size());
        ours.get(p.name, mine, Part::gradient);
        emulated.get(p.name, theirs, Part::gradient);
        if (i == 0) CHECK(distance(mine, theirs) < tolerance * 5);
      }
    }
  }
}

TEST_CASE("a training set that lies on the card gives the steps of its batches, bit for bit", "[steps]") {
  const UNet3dShape shape{.layers = 2, .width = 8};
  const UNet3dTrainingOptions o{.net = shape, .batch = 2, .crop = {16, 16, 16}, .loss = LossKind::bce};
  UNet3dTrainer<CudaDevice, bf16> held(card(), o, Math::tensor_core), fed(card(), o, Math::tensor_core);
  put_noise(held, fed, shape);
  constexpr int64_t count = 8, voxels = 16 * 16 * 16;
  const std::vector<float> x = noise(count * voxels, 1), drawn = noise(count * voxels, 2);
  std::vector<float> target(drawn.size());
  std::transform(drawn.begin(), drawn.end(), target.begin(), [](float v) { return float(v > 0.5f); });
  held.hold({count, {16, 16, 16}, 3, false, false, false, [&](int64_t i, float* input, uint8_t* label) {
               std::copy_n(x.data() + i * voxels, voxels, input);
               std::transform(target.data() + i * voxels, target.data() + (i + 1) * voxels, label, [](float v) { return uint8_t(v); });
             }});
  std::vector<int64_t> order(count);
  for (int64_t i = 0; i < count; ++i) order[size_t(i)] = i;
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    held.begin_epoch(epoch, 0, order);
    for (int64_t i = 0; i < count; i += 2) {
      held.step_held();
      fed.step(x.data() + i * voxels, target.data() + i * voxels);
    }
  }
  CHECK(held.losses(8) == fed.losses(8));
}

TEMPLATE_TEST_CASE("a recorded step is the started one, bit for bit, and two runs are alike", "[steps]", float, bf16) {
  using E = TestType;
  const UNet3dShape shape{.layers = 2, .width = 8};
  const UNet3dTrainingOptions o{.net = shape, .batch = 2, .crop = {16, 16, 16}, .loss = LossKind::bce};
  CudaDevice eager(0, {.time_plans = false, .verify_plans = false, .graphs = false});
  UNet3dTrainer<CudaDevice, E> a(eager, o, math<E>), b(card(), o, math<E>), c(card(), o, math<E>);
  put_noise(a, b, shape);
  put_noise(b, c, shape);
  const std::vector<float> x = noise(2 * 4096, 1), target = noise(2 * 4096, 2, 0, 1);
  for (int i = 0; i < 50; ++i)
    for (auto* t : {&a, &b, &c}) t->step(x.data(), target.data());
  CHECK(a.losses(50) == b.losses(50));
  CHECK(b.losses(50) == c.losses(50));
  CHECK(a.losses(50).back() < a.losses(50).front());
}

TEST_CASE("bf16 training follows f32 training", "[steps]") {
  const UNet3dShape shape{.layers = 2, .width = 8};
  UNet3dTrainingOptions o{.net = shape, .batch = 4, .crop = {16, 16, 16}, .loss = LossKind::mse};
  o.settings.lr = 1e-3;
  UNet3dTrainer<CudaDevice, float> exact(card(), o, Math::strict);
  UNet3dTrainer<CudaDevice, bf16> rounded(card(), o, Math::tensor_core);
  put_noise(exact, rounded, shape);
  const std::vector<float> x = noise(4 * 4096, 1), target = noise(4 * 4096, 2, 0, 1);
  for (int i = 0; i < 200; ++i) exact.step(x.data(), target.data()), rounded.step(x.data(), target.data());
  const std::vector<float> a = exact.losses(200), b = rounded.losses(200);
  for (size_t i = 0; i < a.size(); ++i) {
    INFO("step " << i);
    CHECK(b[i] == Approx(a[i]).epsilon(0.03));
  }
}

TEST_CASE("predictions on the card equal the emulated ones", "[steps]") {
  const UNet3dShape shape{.layers = 3, .width = 8};
  for (const NormMode mode : {NormMode::running_statistics, NormMode::batch_statistics}) {
    HostDevice host;
    UNet3dPredictor<HostDevice, float> emulated(host, shape, 2, {16, 16, 16}, mode, Math::strict);
    UNet3dPredictor<CudaDevice, float> ours(card(), shape, 2, {16, 16, 16}, mode, Math::strict);
    put_noise(ours, emulated, shape);
    const std::vector<float> x = noise(2 * 4096, 1);
    std::vector<float> a(x.size()), b(x.size());
    emulated.run(2, x.data(), b.data());
    for (int i = 0; i < 4; ++i) {
      ours.run(2, x.data(), a.data());
      CHECK(distance(a, b) < 1e-5);
    }
  }
}

TEST_CASE("predictions of StarDist on the card equal the emulated ones", "[steps]") {
  const StarDist3dShape shape{.rays = 16, .classes = 2, .grid = {1, 2, 2}, .filters = 8, .batch_norm = true, .features = 16};
  HostDevice host;
  StarDist3dPredictor<HostDevice, float> emulated(host, shape, 1, {8, 32, 32}, NormMode::running_statistics, Math::strict);
  StarDist3dPredictor<CudaDevice, float> ours(card(), shape, 1, {8, 32, 32}, NormMode::running_statistics, Math::strict);
  put_noise(ours, emulated, StarDist3dLayers(shape));
  const std::vector<float> x = noise(8 * 32 * 32, 1);
  const size_t voxels = 8 * 16 * 16;
  std::vector<float> prob(voxels), dist(16 * voxels), classes(3 * voxels), prob2(voxels), dist2(16 * voxels), classes2(3 * voxels);
  emulated.run(1, x.data(), {prob.data(), dist.data(), classes.data()});
  for (int i = 0; i < 4; ++i) {
    ours.run(1, x.data(), {prob2.data(), dist2.data(), classes2.data()});
    CHECK(distance(prob2, prob) < 1e-5);
    CHECK(distance(dist2, dist) < 1e-5);
    CHECK(distance(classes2, classes) < 1e-5);
  }
}

TEST_CASE("too large a batch says what was needed and what is free, and leaves the card as it was", "[steps]") {
  const auto free_now = [] {
    UNet3dPredictor<CudaDevice, bf16> small(card(), {.layers = 1, .width = 8}, 1, {8, 8, 8}, NormMode::running_statistics, Math::tensor_core);
    return small.arena_bytes();
  };
  const size_t before = free_now();
  try {
    UNet3dTrainer<CudaDevice, float> huge(card(), {.net = {}, .batch = 4096, .crop = {256, 256, 256}}, Math::strict);
    FAIL("no card has this much memory");
  } catch (const DeviceError& e) {
    CHECK(std::string(e.what()).find("out of memory") != std::string::npos);
    CHECK(std::string(e.what()).find("free") != std::string::npos);
  }
  CHECK(free_now() == before);
}
