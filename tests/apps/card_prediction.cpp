// SPDX-License-Identifier: BSD-3-Clause
// Prediction on a card, which here is the CPU running the card's kernels.

#include "apps/host_card.hpp"
#include "apps/throws.hpp"
#include "apps/tiny.hpp"
#include "catch.hpp"
#include "common/predictor.hpp"
#include "voxgrad/autograd/record.hpp"

using namespace voxgrad;
using namespace voxgrad::app;
using cuda::NormMode;
using cuda::Precision;
using data::Extent3;
using Movie = data::Volume<float>;

namespace {

/// One stage of width 2 whose running statistics are not those of a batch.
std::unique_ptr<models::UNet3d> small_network() {
  models::UNet3dOptions o;
  o.layers = 1;
  o.width = 2;
  auto net = std::make_unique<models::UNet3d>(o, Random(11));
  NoGrad no_grad;
  net->train();
  Random random(5);
  for (int i = 0; i < 3; ++i) net->logits(random_uniform({2, 8, 8, 8, 1}, random));
  net->eval();
  return net;
}

Movie noise(const Extent3& extent) {
  Movie m(extent);
  Random random(3);
  for (float& v : m.voxels) v = float(random.uniform());
  return m;
}

Movie run(models::UNet3d& net, const Movie& m, const PredictOptions& o) {
  Movie out(m.extent);
  predict_movie(net, plan_prediction(net, m.extent, o), o, [&](int64_t t, float* to) { std::copy_n(m.frame(t), m.frame_size(), to); },
                [&](int64_t t, const float* p) { std::copy_n(p, m.frame_size(), out.frame(t)); });
  return out;
}

float farthest(const Movie& a, const Movie& b) {
  float d = 0;
  for (size_t i = 0; i < a.voxels.size(); ++i) d = std::max(d, std::abs(a.voxels[i] - b.voxels[i]));
  return d;
}

}  // namespace

TEST_CASE("card: movies get the CPU's probabilities, in both modes of batch norm and of tiles") {
  const auto net = small_network();
  const Movie m = noise({9, 12, 10});
  PredictOptions o;
  o.window = 8;
  const auto both = [&](HostCardLog& log) {
    PredictOptions on_card = o;
    on_card.card = std::make_shared<CardInference>(host_card(Precision::f32, uint64_t(1) << 40, &log), *net);
    return farthest(run(*net, m, on_card), run(*net, m, o));
  };
  HostCardLog reference, fast, batch;
  CHECK(both(reference) < 1e-5f);
  CHECK(reference.inference == 1);
  o.fast = true;
  o.tile = {12, 12, 12};
  o.halo = 2;
  CHECK(both(fast) < 1e-5f);
  o = PredictOptions{};
  o.window = 8;
  o.batch_statistics = true;
  o.batch = 100;
  CHECK(plan_prediction(*net, m.extent, o).tiles.size() % 100 != 0);  // a last, smaller batch: its statistics are its own
  CHECK(both(batch) < 1e-5f);
  CHECK(batch.inference == 2);
}

TEST_CASE("card: crops are scored with one plan, a smaller batch too, and weights follow the network") {
  const auto net = small_network();
  HostCardLog log;
  CardInference card(host_card(Precision::f32, uint64_t(1) << 40, &log), *net);
  NoGrad no_grad;
  Random random(8);
  const Tensor x = random_uniform({3, 4, 4, 4, 1}, random), one = random_uniform({1, 4, 4, 4, 1}, random);
  const auto same = [](const Tensor& a, const Tensor& b) {
    float d = 0;
    for (int64_t i = 0; i < a.size(); ++i) d = std::max(d, std::abs(a.span<float>()[size_t(i)] - b.span<float>()[size_t(i)]));
    return d < 1e-5f;
  };
  CHECK(same(probabilities(*net, &card, x), (*net)(x)));
  CHECK(same(card.probability(one), (*net)(one)));
  CHECK(same(card.logits(x), net->logits(x)));
  CHECK(log.inference == 1);
  for (const nn::Named& n : net->parameters())
    for (float& v : n.tensor->mutable_span<float>()) v *= 0.5f;
  CHECK_FALSE(same(card.probability(x), (*net)(x)));
  card.changed();
  CHECK(same(card.probability(x), (*net)(x)));
  CHECK_THROWS_AS(card.probability(random_uniform({1, 4, 4, 4, 2}, random)), ShapeError);
}

TEST_CASE("card: the batch follows from the free memory; what does not fit says what would") {
  const auto net = small_network();
  const Extent3 movie{40, 40, 40};
  PredictOptions o;
  o.window = 16;
  const auto bytes = [&](int64_t batch) {
    return cuda::unet3d_inference_bytes(Precision::f32, shape_of(net->options()), batch, {16, 16, 16},
                                        o.batch_statistics ? NormMode::batch_statistics : NormMode::running_statistics);
  };
  const auto plan = [&](uint64_t free) {
    o.card = std::make_shared<CardInference>(host_card(Precision::f32, free), *net);
    return plan_prediction(*net, movie, o);
  };
  const PredictPlan roomy = plan(uint64_t(1) << 40), tight = plan(bytes(4));
  CHECK(roomy.batch > 32);
  CHECK(roomy.batch <= 64);
  CHECK(roomy.lanes == 1);
  CHECK((tight.batch == 3 || tight.batch == 4));
  CHECK(tight.memory == bytes(tight.batch));
  CHECK(tight.summary.find(" GB on cuda:0") != std::string::npos);
  o.batch = 8;
  CHECK(message_of<DeviceError>([&] { plan(bytes(5)); }).find(" for 8 tiles of 16x16x16, free on cuda:0: 0.0 GB. --batch-size 5 fits.") != std::string::npos);
  CHECK(message_of<DeviceError>([&] { plan(bytes(1) - 1); }).find("--mode fast uses smaller tiles where it must; or free the card.") != std::string::npos);
  o.batch_statistics = true;
  CHECK(message_of<DeviceError>([&] { plan(bytes(5)); }).find("--batch-size 5 fits, with other results.") != std::string::npos);
  o = PredictOptions{};
  o.fast = true;
  o.halo = 4;
  const PredictPlan small = plan(bytes(4));
  CHECK(data::voxel_count(small.tiles.tile()) < 40 * 40 * 40);
  CHECK(small.memory <= bytes(4));
  CHECK(small.summary.find("free on cuda:0: ") != std::string::npos);
  CHECK(message_of<Error>([&] { plan(1000); }).find("and smaller ones do not fit either. Free the card.") != std::string::npos);
}

TEST_CASE("card: another precision than fp32 is refused on the CPU, by its name") {
  QuietSession session;
  Arguments a({common::device(), common::precision()});
  CHECK(chosen_card(a, session) == nullptr);
  a.set("--precision", "fp32");
  CHECK(chosen_card(a, session) == nullptr);
  a.set("--precision", "bf16");
  CHECK(message_of<UsageError>([&] { chosen_card(a, session); }) ==
        "--precision bf16 needs a card, but this run is on the cpu, which computes in fp32. Use --device cuda, or leave it out.");
  a.set("--precision", "int8");
  CHECK(message_of<UsageError>([&] { chosen_card(a, session); }).find("option --precision is 'int8' (expected one of bf16|fp16|tf32|fp32).") == 0);
}
