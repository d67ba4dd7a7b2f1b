// SPDX-License-Identifier: BSD-3-Clause
// Whole steps of the U-Net as a card would run them, on the CPU, against the engine: losses, gradients, moments, weights,
// running statistics and predictions.
#include "voxgrad/cuda/unet3d_engine.hpp"

#include <cmath>

#include "../../apps/common/card_shapes.hpp"
#include "catch.hpp"
#include "device_tensors.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/autograd/record.hpp"
#include "voxgrad/cuda/host_device.hpp"
#include "voxgrad/data/loader.hpp"
#include "voxgrad/models/unet3d.hpp"
#include "voxgrad/ops/loss.hpp"
#include "voxgrad/optim/adam.hpp"
#include "voxgrad/optim/sgd.hpp"

using namespace voxgrad;
using namespace voxgrad::cuda;
using test::distance;
using test::got;
using app::shape_of;

namespace {

void put_all(nn::Module& net, DeviceNetwork& device) {
  for (const nn::Named& n : net.state()) device.put(n.name, n.tensor->span<float>());
}

struct Case {
  models::UNet3dOptions net;
  int64_t batch;
  Extent crop;
  LossKind loss;
};

/// A few steps of both; every tensor must agree after each.
template <class E>
void compare(const Case& c, double tolerance, int steps) {
  models::UNet3d net(c.net, Random(3));
  HostDevice host;
  UNet3dTrainingOptions o{.net = shape_of(c.net), .batch = c.batch, .crop = c.crop, .loss = c.loss};
  o.settings.lr = 2e-3;
  UNet3dTrainer<HostDevice, E> device(host, o, std::is_same_v<E, float> ? Math::strict : Math::tensor_core);
  put_all(net, device);
  optim::Adam adam(net.parameters(), {.lr = o.settings.lr});
  Random random(11);
  for (int i = 0; i < steps; ++i) {
    const Tensor x = random_normal({c.batch, c.crop[0], c.crop[1], c.crop[2], c.net.in_channels}, random);
    const Tensor target = random_uniform({c.batch, c.crop[0], c.crop[1], c.crop[2], c.net.out_channels}, random);
    const Tensor loss = c.loss == LossKind::bce ? net.loss<kernels::BceWithLogits>(x, target) : net.loss<kernels::MseWithLogits>(x, target);
    backward(loss);
    device.step(x.span<float>().data(), target.span<float>().data());
    CHECK(device.losses(1).at(0) == Approx(loss.item()).epsilon(tolerance));
    for (const nn::Named& n : net.parameters()) {
      if (!n.tensor->grad().defined()) continue;
      const auto g = n.tensor->grad().span<float>();
      double size = 0;
      for (float v : g) size += std::abs(double(v));
      INFO("step " << i << ", gradient of " << n.name << " " << n.tensor->shape());
      const std::vector<float> ours = got(device, n.name, g.size(), Part::gradient);
      if (size == 0) CHECK(std::all_of(ours.begin(), ours.end(), [](float v) { return v == 0; }));
      else CHECK(distance(ours, g) < tolerance * 10);
    }
    adam.step();
    for (const nn::Named& n : net.state()) {
      INFO("step " << i << ", " << n.name);
      CHECK(distance(got(device, n.name, size_t(n.tensor->size()), Part::value), n.tensor->span<float>()) < tolerance * 20);
    }
  }
}

}  // namespace

TEST_CASE("training steps of the U-Net as a card runs them equal the engine's") {
  const LossKind loss = GENERATE(LossKind::mse, LossKind::bce);
  compare<float>({{.layers = 2, .width = 8}, 2, {8, 8, 8}, loss}, 2e-5, 2);
}
TEST_CASE("the same with every option of the network") {
  compare<float>({{.in_channels = 2, .out_channels = 3, .layers = 2, .width = 3, .dilations = 2, .first_kernel = 5}, 2, {8, 4, 12}, LossKind::bce}, 2e-5, 2);
  compare<float>({{.layers = 1, .width = 4, .batch_norm = false, .leaky_relu = false}, 1, {4, 4, 4}, LossKind::mse}, 2e-5, 2);
}

TEST_CASE("a step from the caller's gradient of the logits is the same step") {
  const models::UNet3dOptions net_options{.layers = 2, .width = 8};
  const UNet3dShape shape = shape_of(net_options);
  models::UNet3d net(net_options, Random(3));
  HostDevice host;
  UNet3dTrainer<HostDevice, float> own(host, {.net = shape, .batch = 1, .crop = {8, 8, 8}, .loss = LossKind::mse}, Math::strict);
  UNet3dTrainer<HostDevice, float> callers(host, {.net = shape, .batch = 1, .crop = {8, 8, 8}, .loss = LossKind::host}, Math::strict);
  put_all(net, own);
  put_all(net, callers);
  Random random(5);
  const Tensor x = random_normal({1, 8, 8, 8, 1}, random), target = random_uniform({1, 8, 8, 8, 1}, random);
  own.step(x.span<float>().data(), target.span<float>().data());
  Tensor logits({1, 8, 8, 8, 1});
  callers.forward(x.span<float>().data(), logits.mutable_span<float>().data());
  CHECK(distance(logits.span<float>(), net.logits(x).span<float>()) < 1e-5);
  logits.set_requires_grad();
  backward(mse_with_logits_loss(logits, target));
  callers.finish(logits.grad().span<float>().data());
  for (const nn::Named& n : net.state()) {
    INFO(n.name);
    const size_t size = size_t(n.tensor->size());
    CHECK(distance(got(callers, n.name, size, Part::value), got(own, n.name, size, Part::value)) < 1e-5);
  }
}

TEMPLATE_TEST_CASE("16-bit steps follow the f32 ones", "", bf16, f16) {
  const models::UNet3dOptions net_options{.layers = 2, .width = 8};
  models::UNet3d net(net_options, Random(3));
  HostDevice host;
  const UNet3dTrainingOptions o{.net = shape_of(net_options), .batch = 2, .crop = {8, 8, 8}, .loss = LossKind::mse};
  UNet3dTrainer<HostDevice, float> exact(host, o, Math::strict);
  UNet3dTrainer<HostDevice, TestType> rounded(host, o, Math::tensor_core);
  put_all(net, exact);
  put_all(net, rounded);
  CHECK(rounded.state().loss_scale == (std::is_same_v<TestType, f16> ? first_loss_scale : 1));
  Random random(5);
  const Tensor x = random_normal({2, 8, 8, 8, 1}, random), target = random_uniform({2, 8, 8, 8, 1}, random);
  for (int i = 0; i < 4; ++i) {
    exact.step(x.span<float>().data(), target.span<float>().data());
    rounded.step(x.span<float>().data(), target.span<float>().data());
  }
  const std::vector<float> a = exact.losses(4), b = rounded.losses(4);
  REQUIRE(b.size() == 4);
  for (size_t i = 0; i < 4; ++i) CHECK(b[i] == Approx(a[i]).epsilon(1e-2));
  CHECK(a[3] < a[0]);
  // The working copy is the rounded master, whatever the steps did.
  const ParameterTable& table = rounded.weights().learnable();
  for (int64_t i = 0; i < table.total(); ++i)
    REQUIRE(float(rounded.weights().workings()[i]) == float(TestType(rounded.weights().values()[i])));
}

TEST_CASE("an f16 step whose gradients overflow is skipped and the loss scale halved") {
  const UNet3dShape shape{.layers = 1, .width = 8};
  models::UNet3d net({.layers = 1, .width = 8}, Random(3));
  HostDevice host;
  UNet3dTrainer<HostDevice, f16> device(host, {.net = shape, .batch = 1, .crop = {4, 4, 4}, .loss = LossKind::host}, Math::tensor_core);
  put_all(net, device);
  std::vector<float> x(64, 1.0f), logits(64), dlogits(64, 1e30f);
  const std::string name = "final_conv.weight";
  const std::vector<float> before = got(device, name, 8, Part::value);
  device.forward(x.data(), logits.data());
  device.finish(dlogits.data());
  CHECK(device.state().skipped == 1);
  CHECK(device.state().loss_scale == first_loss_scale / 2);
  CHECK(got(device, name, 8, Part::value) == before);
  std::fill(dlogits.begin(), dlogits.end(), 1e-4f);
  device.forward(x.data(), logits.data());
  device.finish(dlogits.data());
  CHECK(device.state().step == 1);
  CHECK(got(device, name, 8, Part::value) != before);
}

TEST_CASE("predictions of the U-Net as a card makes them equal the engine's in both modes of batch norm") {
  const models::UNet3dOptions net_options{.layers = 2, .width = 8};
  models::UNet3d net(net_options, Random(3));
  Random random(5);
  {
    NoGrad no_grad;
    for (int i = 0; i < 3; ++i) net(random_normal({2, 8, 8, 8, 1}, random));  // running statistics of their own
  }
  const Tensor x = random_normal({2, 8, 8, 8, 1}, random);
  for (const NormMode mode : {NormMode::running_statistics, NormMode::batch_statistics}) {
    NoGrad no_grad;
    HostDevice host;
    UNet3dPredictor<HostDevice, float> device(host, shape_of(net_options), 2, {8, 8, 8}, mode, Math::strict);
    put_all(net, device);
    net.train(mode == NormMode::batch_statistics);
    std::vector<float> p(1024);
    device.run(2, x.span<float>().data(), p.data());
    CHECK(distance(p, net(x).span<float>()) < 1e-5);
    if (mode == NormMode::batch_statistics) {
      CHECK_THROWS_AS(device.run(1, x.span<float>().data(), p.data()), Error);
    } else {
      std::vector<float> first(512);
      device.run(1, x.span<float>().data(), first.data());
      CHECK(std::equal(first.begin(), first.end(), p.begin()));
    }
  }
}

TEST_CASE("the plan of a step reuses memory") {
  const UNet3dShape shape{.layers = 3, .width = 8};
  HostDevice host;
  UNet3dTrainer<HostDevice, bf16> train(host, {.net = shape, .batch = 2, .crop = {16, 16, 16}}, Math::tensor_core);
  UNet3dPredictor<HostDevice, bf16> predict(host, shape, 2, {16, 16, 16}, NormMode::running_statistics, Math::tensor_core);
  INFO("training " << train.arena_bytes() << " bytes, inference " << predict.arena_bytes());
  CHECK(predict.arena_bytes() < train.arena_bytes() / 2);
}

namespace {

/// Crops of noise with a mask.
class NoiseCrops : public data::CropSource {
 public:
  int64_t size() const override { return 5; }
  data::Extent3 crop_extent() const override { return {9, 12, 10}; }
  std::shared_ptr<const data::Crop> crop(int64_t i) const override {
    Random random(99, uint64_t(i));
    auto c = std::make_shared<data::Crop>();
    for (int k = 0; k < 9 * 12 * 10; ++k) {
      c->input.push_back(float(random.normal()));
      c->target.push_back(random.uniform(0, 1) < 0.1 ? 1.0f : 0.0f);
    }
    return c;
  }
};

}  // namespace

TEST_CASE("steps on a training set that lies on the device equal steps on the loader's batches") {
  const UNet3dShape shape{.layers = 2, .width = 8};
  models::UNet3d net({.layers = 2, .width = 8}, Random(3));
  HostDevice host;
  const UNet3dTrainingOptions o{.net = shape, .batch = 2, .crop = {8, 8, 8}, .loss = LossKind::bce};
  UNet3dTrainer<HostDevice, bf16> held(host, o, Math::tensor_core), fed(host, o, Math::tensor_core);
  put_all(net, held);
  put_all(net, fed);
  const auto source = std::make_shared<NoiseCrops>();
  data::LoaderOptions loading;
  loading.batch = 2;
  loading.patch = {8, 8, 8};
  loading.augmentation.flip = loading.augmentation.random_crop = true;
  loading.drop_last = true;
  loading.seed = 21;
  held.hold({5, {9, 12, 10}, 21, true, true, true, [&](int64_t i, float* input, uint8_t* target) {
               const auto c = source->crop(i);
               std::copy(c->input.begin(), c->input.end(), input);
               std::transform(c->target.begin(), c->target.end(), target, [](float v) { return uint8_t(v); });
             }});
  data::Loader loader(source, loading);
  data::Batch batch;
  int64_t epoch = -1;
  for (int i = 0; i < 5; ++i) {
    loader.next(batch);
    fed.step(batch.input.data(), batch.target.data());
    if (batch.epoch != epoch) held.begin_epoch(epoch = batch.epoch, 0, data::epoch_order(5, 21, batch.epoch, true));
    held.step_held();
  }
  CHECK(held.losses(5) == fed.losses(5));
  CHECK_THROWS_AS((held.step_held(), held.step_held()), Error);  // the epoch ends
  CHECK_THROWS_AS(held.hold({1, {4, 8, 8}, 0, true, false, false, {}}), ShapeError);
}
