// SPDX-License-Identifier: BSD-3-Clause
// Whole steps of StarDist-3D as a card would run them, on the CPU, against the engine: losses, gradients, weights, running
// statistics and predictions, with both backbones.
#include "voxgrad/cuda/stardist3d_engine.hpp"

#include <cmath>

#include "../../apps/common/card_shapes.hpp"
#include "catch.hpp"
#include "message.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/autograd/record.hpp"
#include "voxgrad/cuda/host_device.hpp"
#include "voxgrad/models/stardist3d_loss.hpp"
#include "voxgrad/ops/loss.hpp"
#include "voxgrad/optim/adam.hpp"

using namespace voxgrad;
using namespace voxgrad::cuda;
using models::StarDist3dOptions;
using app::shape_of;

namespace {

/// ||a - b|| / ||b||.
double distance(std::span<const float> a, std::span<const float> b) {
  double d = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    d += (double(a[i]) - double(b[i])) * (double(a[i]) - double(b[i]));
    size += double(b[i]) * double(b[i]);
  }
  return std::sqrt(d / std::max(size, 1e-30));
}

void put_all(nn::Module& net, DeviceNetwork& device) {
  for (const nn::Named& n : net.state()) device.put(n.name, n.tensor->span<float>());
}
std::vector<float> got(DeviceNetwork& device, const std::string& name, size_t size, Part part) {
  std::vector<float> v(size);
  device.get(name, v, part);
  return v;
}

/// Weights of biases and norms that differ from channel to channel, as those of a trained network.
void shake(nn::Module& net, Random& random) {
  for (const nn::Named& n : net.state())
    if (n.tensor->shape().rank() == 1 && !n.name.ends_with("running_var"))
      for (float& v : n.tensor->mutable_span<float>()) v += float(random.normal() * 0.1);
}

struct Case {
  StarDist3dOptions net;
  int64_t batch;
  Extent crop;
  RayError dist_loss = RayError::mae;
  std::vector<double> class_weights{};
  bool mask = false;
};

struct Batch {
  Tensor x, prob, dist, mask, prob_class;
  Batch(const Case& c, Random& random) {
    const Shape grid{c.batch, c.crop[0] / c.net.grid[0], c.crop[1] / c.net.grid[1], c.crop[2] / c.net.grid[2], 1};
    const auto on_grid = [&](int64_t channels) {
      Shape s = grid;
      s.set(-1, channels);
      return s;
    };
    x = random_normal({c.batch, c.crop[0], c.crop[1], c.crop[2], c.net.n_channel_in}, random);
    prob = random_uniform(grid, random);
    for (float& v : prob.mutable_span<float>()) v = v < 0.2f ? -1.0f : v < 0.5f ? 0.0f : v;
    dist = random_uniform(on_grid(c.net.n_rays), random);
    for (float& v : dist.mutable_span<float>()) v *= 3;
    if (c.mask) mask = random_uniform(grid, random);
    if (c.net.n_classes == 0) return;
    prob_class = Tensor::zeros(on_grid(c.net.n_classes + 1));
    const auto to = prob_class.mutable_span<float>();
    const auto classes = size_t(c.net.n_classes + 1);
    for (size_t v = 0; v < to.size() / classes; ++v) {
      if (random.uniform() < 0.1) std::fill_n(to.begin() + std::ptrdiff_t(v * classes), classes, -1.0f);
      else to[v * classes + random.below(classes)] = 1;
    }
  }
  models::StarDistTargets targets() const { return {prob, dist, prob_class, mask}; }
  StarDistBatch pointers() const {
    const auto data = [](const Tensor& t) { return t.defined() ? t.span<float>().data() : nullptr; };
    return {data(x), data(prob), data(dist), data(mask), data(prob_class)};
  }
};

StarDist3dTrainingOptions options_of(const Case& c, const models::StarDist3d& net) {
  StarDist3dTrainingOptions o{.net = shape_of(c.net), .batch = c.batch, .crop = c.crop, .dist_loss = c.dist_loss, .class_weights = c.class_weights};
  o.prob_weight = 0.9, o.dist_weight = 0.3, o.background_reg = 1e-2, o.prob_class_weight = 0.7;
  o.dropout_seed = net.dropout_seed();
  o.settings.lr = 1e-3;
  return o;
}
models::StarDistLossOptions loss_of(const StarDist3dTrainingOptions& o) {
  return {.prob_weight = o.prob_weight, .dist_weight = o.dist_weight, .background_reg = o.background_reg, .dist_loss = o.dist_loss,
          .prob_class_weight = o.prob_class_weight, .class_weights = o.class_weights};
}

void check_gradients(models::StarDist3d& net, DeviceNetwork& device, double tolerance) {
  for (const nn::Named& n : net.parameters()) {
    const std::vector<float> ours = got(device, n.name, size_t(n.tensor->size()), Part::gradient);
    const bool zero = !n.tensor->grad().defined() || std::ranges::all_of(n.tensor->grad().span<float>(), [](float v) { return v == 0; });
    INFO("gradient of " << n.name << " " << n.tensor->shape());
    if (zero) CHECK(std::ranges::all_of(ours, [](float v) { return v == 0; }));
    else CHECK(distance(ours, n.tensor->grad().span<float>()) < tolerance);
  }
}
void check_state(models::StarDist3d& net, DeviceNetwork& device, double tolerance) {
  for (const nn::Named& n : net.state()) {
    INFO(n.name);
    CHECK(distance(got(device, n.name, size_t(n.tensor->size()), Part::value), n.tensor->span<float>()) < tolerance);
  }
}

/// Two steps of both; every tensor must agree after each.
void compare(const Case& c, double tolerance = 2e-5) {
  Random random(11);
  models::StarDist3d net(c.net, Random(3));
  shake(net, random);
  HostDevice host;
  const StarDist3dTrainingOptions o = options_of(c, net);
  StarDist3dTrainer<HostDevice, float> device(host, o, Math::strict);
  put_all(net, device);
  optim::Adam adam(net.parameters(), {.lr = o.settings.lr});
  for (int i = 0; i < 2; ++i) {
    INFO("step " << i);
    const Batch b(c, random);
    const models::StarDistLoss loss = models::stardist_losses(net(b.x), b.targets(), loss_of(o));
    backward(loss.total);
    device.step(b.pointers());
    const StarDistStepLoss ours = device.losses(1).at(0);
    CHECK(ours.total == Approx(loss.total.item()).epsilon(tolerance));
    CHECK(ours.prob == Approx(loss.prob.item()).epsilon(tolerance));
    CHECK(ours.dist == Approx(loss.dist.item()).epsilon(tolerance));
    CHECK(ours.prob_class == Approx(loss.prob_class.defined() ? loss.prob_class.item() : 0).epsilon(tolerance));
    check_gradients(net, device, tolerance * 5);
    adam.step();
    check_state(net, device, tolerance * 5);
    put_all(net, device);  // Adam divides by the gradient's size: where that is rounding, steps would drift apart
  }
}

StarDist3dOptions small_unet() {
  StarDist3dOptions o;
  o.n_rays = 12;
  o.grid = {1, 2, 2};
  o.unet_n_filter_base = 8;
  o.net_conv_after_unet = 16;
  return o;
}
StarDist3dOptions small_resnet() {
  StarDist3dOptions o;
  o.backbone = models::StarDistBackbone::resnet;
  o.n_rays = 12;
  o.grid = {1, 2, 2};
  o.resnet_n_blocks = 2;
  o.resnet_n_filter_base = 8;
  o.net_conv_after_resnet = 16;
  return o;
}

}  // namespace

TEST_CASE("training steps of StarDist's U-Net as a card runs them equal the engine's") {
  StarDist3dOptions net = small_unet();
  net.unet_batch_norm = GENERATE(false, true);
  CAPTURE(net.unet_batch_norm);
  compare({net, 2, {4, 8, 8}});
}
TEST_CASE("training steps of StarDist's ResNet as a card runs them equal the engine's") {
  StarDist3dOptions net = small_resnet();
  net.resnet_batch_norm = GENERATE(false, true);
  CAPTURE(net.resnet_batch_norm);
  compare({net, 2, {4, 8, 8}});
}
TEST_CASE("the same of a U-Net with even kernels, odd pooling, classes and another activation") {
  StarDist3dOptions net = small_unet();
  net.n_channel_in = 2;
  net.n_classes = 2;
  net.unet_n_depth = 1;
  net.unet_kernel_size = {2, 3, 4};
  net.unet_pool = {1, 3, 2};
  net.unet_n_filter_base = 3;
  net.unet_last_activation = "linear";
  net.unet_prefix = "a_";
  net.net_conv_after_unet = 5;
  net.unet_activation = GENERATE("elu", "swish", "leaky_relu", "gelu");
  net.unet_batch_norm = GENERATE(false, true);
  CAPTURE(net.unet_activation, net.unet_batch_norm);
  compare({net, 2, {3, 6, 8}, RayError::mse, {0.5, 1, 2}, true});
}
TEST_CASE("the same with heads on the backbone itself, many classes, without levels") {
  StarDist3dOptions net = small_unet();
  net.n_classes = 6;
  net.net_conv_after_unet = 0;
  net.unet_n_depth = GENERATE(0, 1);
  net.unet_n_conv_per_depth = GENERATE(1, 2);
  net.unet_batch_norm = GENERATE(false, true);
  CAPTURE(net.unet_n_depth, net.unet_n_conv_per_depth, net.unet_batch_norm);
  compare({net, 1, {4, 8, 8}, RayError::iou});
}
TEST_CASE("the same of a ResNet whose heads read the last sum, with classes and other activations") {
  StarDist3dOptions net = small_resnet();
  net.n_classes = GENERATE(1, 4);
  net.net_conv_after_resnet = GENERATE(0, 6);
  net.resnet_activation = GENERATE("relu", "swish", "tanh", "hard_sigmoid");
  net.resnet_batch_norm = GENERATE(false, true);
  net.resnet_n_conv_per_block = 2;
  net.resnet_kernel_size = {3, 2, 3};
  CAPTURE(net.n_classes, net.net_conv_after_resnet, net.resnet_activation, net.resnet_batch_norm);
  compare({net, 1, {3, 6, 8}, RayError::mse});
}
TEST_CASE("the same with dropout, whose draws are the engine's") {
  StarDist3dOptions net = small_unet();
  net.unet_dropout = 0.3;
  net.net_conv_after_unet = GENERATE(0, 16);
  net.unet_batch_norm = GENERATE(false, true);
  compare({net, 2, {4, 8, 8}});
}

TEST_CASE("a step of StarDist from the caller's gradients is the same step") {
  const Case c{[] { StarDist3dOptions o = small_unet(); o.n_classes = 2; return o; }(), 1, {4, 8, 8}};
  const StarDistLosses whose = GENERATE(StarDistLosses::host, StarDistLosses::host_object);
  models::StarDist3d net(c.net, Random(3));
  HostDevice host;
  StarDist3dTrainingOptions o = options_of(c, net);
  StarDist3dTrainer<HostDevice, float> own(host, o, Math::strict);
  o.losses = whose;
  StarDist3dTrainer<HostDevice, float> callers(host, o, Math::strict);
  put_all(net, own);
  put_all(net, callers);
  Random random(5);
  const Batch b(c, random);
  own.step(b.pointers());

  const models::StarDistMaps maps = net(b.x);
  Tensor logit(maps.logit.shape()), dist(maps.dist.shape()), class_logit(maps.prob_class.shape());
  const auto to = [](Tensor& t) { return t.mutable_span<float>().data(); };
  const bool all = whose == StarDistLosses::host;
  const StarDistStepLoss loss = all ? callers.forward({b.x.span<float>().data()}, {to(logit), to(dist), to(class_logit)})
                                    : callers.forward(b.pointers(), {to(logit)});
  CHECK(distance(logit.span<float>(), maps.logit.span<float>()) < 1e-5);
  if (all) CHECK(distance(dist.span<float>(), maps.dist.span<float>()) < 1e-5);
  if (!all) CHECK(callers.losses(0).empty());
  for (Tensor* t : {&logit, &dist, &class_logit}) t->set_requires_grad();
  const models::StarDistMaps again{sigmoid(logit), dist, softmax(class_logit), logit};
  backward(models::stardist_loss(again, b.targets(), loss_of(o)));
  const auto gradient = [](const Tensor& t) { return t.grad().span<float>().data(); };
  if (all) callers.finish({gradient(logit), gradient(dist), gradient(class_logit)});
  else callers.finish({gradient(logit)});
  for (const nn::Named& n : net.state()) {
    INFO(n.name);
    const auto size = size_t(n.tensor->size());
    CHECK(distance(got(callers, n.name, size, Part::value), got(own, n.name, size, Part::value)) < 1e-5);
  }
  if (!all) {
    const StarDistStepLoss whole = own.losses(1).at(0);
    CHECK(loss.prob == 0);
    CHECK(loss.total == callers.losses(1).at(0).total);
    CHECK(loss.dist == Approx(whole.dist));
    CHECK(loss.prob_class == Approx(whole.prob_class));
  }
}

TEST_CASE("numbers of a StarDist training go from one engine to another") {
  const Case c{small_unet(), 1, {4, 8, 8}};
  models::StarDist3d net(c.net, Random(3));
  HostDevice host;
  const StarDist3dTrainingOptions o = options_of(c, net);
  StarDist3dTrainer<HostDevice, float> one(host, o, Math::strict), two(host, o, Math::strict);
  put_all(net, one);
  Random random(5);
  const Batch b(c, random);
  one.step(b.pointers());
  OptimizerState numbers = one.state();
  CHECK(numbers.step == 1);
  numbers.loss_scale = 32;
  two.restore(numbers);
  CHECK(two.state().step == 1);
  CHECK(two.state().loss_scale == 32);
}

TEST_CASE("bf16 steps of StarDist follow the f32 ones") {
  Case c{small_unet(), 2, {4, 8, 8}};
  if (GENERATE(false, true)) c.net = small_resnet();
  c.net.n_classes = GENERATE(2, 6);
  models::StarDist3d net(c.net, Random(3));
  HostDevice host;
  const StarDist3dTrainingOptions o = options_of(c, net);
  StarDist3dTrainer<HostDevice, float> exact(host, o, Math::strict);
  StarDist3dTrainer<HostDevice, bf16> rounded(host, o, Math::tensor_core);
  put_all(net, exact);
  put_all(net, rounded);
  Random random(5);
  const Batch b(c, random);
  for (int i = 0; i < 4; ++i) {
    exact.step(b.pointers());
    rounded.step(b.pointers());
  }
  const std::vector<StarDistStepLoss> one = exact.losses(4), two = rounded.losses(4);
  REQUIRE(two.size() == 4);
  for (size_t i = 0; i < 4; ++i) CHECK(two[i].total == Approx(one[i].total).epsilon(2e-2));
  CHECK(one[3].total < one[0].total);
}

TEST_CASE("predictions of StarDist as a card makes them equal the engine's") {
  const bool resnet = GENERATE(false, true);
  StarDist3dOptions net_options = resnet ? small_resnet() : small_unet();
  net_options.n_classes = GENERATE(0, 2, 6);
  net_options.unet_dropout = 0.5;  // does nothing here
  net_options.unet_batch_norm = net_options.resnet_batch_norm = true;
  models::StarDist3d net(net_options, Random(3));
  Random random(5);
  shake(net, random);
  const Tensor x = random_normal({2, 4, 8, 8, 1}, random);
  NoGrad no_grad;
  net(x);  // running statistics of its own
  net.train(false);
  HostDevice host;
  StarDist3dPredictor<HostDevice, float> device(host, shape_of(net_options), 2, {4, 8, 8}, NormMode::running_statistics, Math::strict);
  put_all(net, device);
  const models::StarDistMaps maps = net(x);
  std::vector<float> prob(size_t(maps.prob.size())), dist(size_t(maps.dist.size()));
  std::vector<float> classes(maps.prob_class.defined() ? size_t(maps.prob_class.size()) : 0);
  std::vector<float> logit(prob.size());
  device.run(2, x.span<float>().data(), {prob.data(), dist.data(), classes.empty() ? nullptr : classes.data(), logit.data()});
  CHECK(distance(logit, maps.logit.span<float>()) < 2e-5);
  CHECK(distance(prob, maps.prob.span<float>()) < 2e-5);
  CHECK(distance(dist, maps.dist.span<float>()) < 2e-5);
  if (!classes.empty()) CHECK(distance(classes, maps.prob_class.span<float>()) < 2e-5);
  std::vector<float> first(prob.size() / 2);
  device.run(1, x.span<float>().data(), {first.data()});
  CHECK(std::equal(first.begin(), first.end(), prob.begin()));
  CHECK_THROWS_AS(device.run(3, x.span<float>().data(), {prob.data()}), Error);
  StarDist3dPredictor<HostDevice, bf16> rounded(host, shape_of(net_options), 2, {4, 8, 8}, NormMode::running_statistics, Math::tensor_core);
  put_all(net, rounded);
  std::vector<float> close(prob.size());
  rounded.run(2, x.span<float>().data(), {close.data()});
  CHECK(distance(close, prob) < 2e-2);
}

TEST_CASE("what StarDist on a device cannot do is said by name") {
  HostDevice host;
  StarDist3dTrainingOptions o{.net = shape_of(small_unet()), .batch = 1, .crop = {4, 8, 8}};
  const auto made = [&] { StarDist3dTrainer<HostDevice, float>(host, o, Math::strict); };
  o.crop = {4, 8, 12};
  CHECK(test::message<ShapeError>(made) == "stardist3d on a device: extents must be multiples of 4,8,8, got 1x4x8x12");
  o.crop = {4, 8, 8};
  o.dist_loss = RayError::overlap;
  CHECK(test::message<UsageError>(made) == "stardist3d on a device: the overlap is a measure, no loss");
  o.dist_loss = RayError::mae;
  o.class_weights = {1, 2};
  CHECK(test::message<UsageError>(made) == "stardist3d on a device: 2 class weights for 0 classes, background counted");
  o.class_weights = {};
  o.net.activation = "mish";
  CHECK(test::message<UsageError>(made) == "stardist3d on a device: activation 'mish' has no kernel. Use --device cpu.");
  o.net.activation = "relu";
  StarDist3dTrainer<HostDevice, float> device(host, o, Math::strict);
  const std::vector<float> x(4 * 8 * 8);
  CHECK(test::message<Error>([&] { device.step({x.data()}); }) == "stardist3d on a device: the batch has no prob");
  CHECK(test::message<Error>([&] { device.forward({x.data()}, {nullptr}); }) ==
        "stardist3d on a device: its losses are its own, a step has no halves");
}
