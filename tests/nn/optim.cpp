// SPDX-License-Identifier: BSD-3-Clause
// Optimisers along PyTorch's trajectories, schedules along PyTorch's and Keras' (tests/golden/make_optim.py).

#include "npy.hpp"
#include "op_case.hpp"
#include "catch.hpp"
#include "unet_formula.hpp"
#include "voxgrad/optim/adam.hpp"
#include "voxgrad/optim/schedule.hpp"
#include "voxgrad/optim/sgd.hpp"

using namespace voxgrad;
using namespace voxgrad::test;

namespace {
using Make = std::function<std::unique_ptr<optim::Optimizer>(std::vector<nn::Named>)>;

void step_along(const std::string& name, const Make& make, DType dtype, double tolerance) {
  INFO(name << " in " << voxgrad::name(dtype));
  const Npy want = read_npy(golden("optim/" + name + ".npy"));
  REQUIRE(want.shape == std::vector<int64_t>{5, 7});
  Tensor p({7}, dtype);
  for_each_value(p, [](int64_t i) { return std::cos(double(i)); });
  p.set_requires_grad();
  const auto optimiser = make({{"p", &p, true}});
  for (int64_t t = 0; t < 5; ++t) {
    Tensor g({7}, dtype);
    for_each_value(g, [&](int64_t i) { return 0.1 * element(p, i) + std::sin(0.3 * double(i) + double(t)) / double(t + 1); });
    p.mutable_grad() = g;
    optimiser->step();
    CHECK(!p.grad().defined());
    for (int64_t i = 0; i < 7; ++i) CHECK(std::abs(element(p, i) - want.values[size_t(t * 7 + i)]) < tolerance);
  }
  CHECK(optimiser->step_count() == 5);
}

Make sgd(double lr, double momentum, double decay, bool nesterov) {
  return [=](std::vector<nn::Named> p) {
    return std::make_unique<optim::Sgd>(std::move(p), optim::SgdOptions{lr, momentum, decay, nesterov});
  };
}
Make adam(const optim::AdamOptions& o) {
  return [=](std::vector<nn::Named> p) { return std::make_unique<optim::Adam>(std::move(p), o); };
}

const std::vector<std::pair<std::string, Make>> optimisers = {
    {"sgd", sgd(0.1, 0, 0, false)},
    {"sgd_momentum", sgd(0.1, 0.9, 0, false)},
    {"sgd_nesterov", sgd(0.1, 0.9, 0.01, true)},
    {"sgd_decay", sgd(0.1, 0, 0.1, false)},
    {"adam", adam({2e-4, 0.9, 0.999, 1e-8, 0, false})},
    {"adam_decay", adam({0.05, 0.8, 0.95, 1e-3, 0.1, false})},
    {"adamw", adam({0.05, 0.9, 0.999, 1e-8, 0.1, true})},
    {"adam_keras", adam({.lr = 3e-2, .eps = 1e-3, .epsilon_hat = true})}};
}  // namespace

TEST_CASE("optimisers follow PyTorch, and Adam also Keras, for five steps") {
  for (const auto& [name, make] : optimisers) step_along(name, make, DType::f64, 1e-14);
  for_each_isa_and_threads([](const char*, int) {
    for (const auto& [name, make] : optimisers) step_along(name, make, DType::f32, 1e-6);
  });
}

TEST_CASE("an optimiser goes on from saved state exactly") {
  for (const auto& [name, make] : optimisers) {
    INFO(name);
    Tensor a({7}), b;
    for_each_value(a, [](int64_t i) { return std::cos(double(i)); });
    a.set_requires_grad();
    const auto first = make({{"p", &a, true}});
    const auto step = [](optim::Optimizer& o, Tensor& p, int64_t t) {
      Tensor g({7});
      for_each_value(g, [&](int64_t i) { return std::sin(double(i + 3 * t)); });
      p.mutable_grad() = g;
      o.step();
    };
    for (int64_t t = 0; t < 3; ++t) step(*first, a, t);

    b = a.clone().set_requires_grad();
    const auto second = make({{"p", &b, true}});
    second->set_step_count(first->step_count());
    const std::vector<nn::Named> from = first->state(), to = second->state();
    REQUIRE(from.size() == to.size());
    for (size_t i = 0; i < from.size(); ++i) {
      CHECK(from[i].name == to[i].name);
      *to[i].tensor = from[i].tensor->clone();
    }
    for (int64_t t = 3; t < 6; ++t) {
      step(*first, a, t);
      step(*second, b, t);
    }
    CHECK(std::memcmp(a.raw(), b.raw(), 28) == 0);
  }
}

TEST_CASE("a parameter without gradient is left alone; a step counts as a write") {
  Tensor used = Tensor::full({2}, 1), idle = Tensor::full({2}, 1);
  used.set_requires_grad();
  idle.set_requires_grad();
  optim::Adam adam({{"used", &used, true}, {"idle", &idle, true}});
  used.mutable_grad() = Tensor::full({2}, 1);
  const uint64_t version = used.version();
  adam.step();
  CHECK(used.span<float>()[0] < 1);
  CHECK(used.version() > version);
  CHECK(idle.span<float>()[0] == 1);
  adam.set_learning_rate(0.5);
  CHECK(adam.learning_rate() == 0.5);
}

TEST_CASE("schedules follow PyTorch, the plateau rule Keras") {
  const Npy want = read_npy(golden("optim/schedules.npy"));
  const optim::StepSchedule step{0.1, 0.5, 7};
  const optim::CosineSchedule cosine{0.1, 0.01, 50, 0};
  optim::PlateauSchedule plateau(0.1, 0.5, 4, 0.001, 0.01);  // PyTorch waits one report more: its patience is 3
  for (int64_t i = 0; i < 60; ++i) {
    INFO("step " << i);
    CHECK(step.at(i) == Approx(want.values[size_t(i)]).epsilon(1e-12));
    if (i < 50) CHECK(cosine.at(i) == Approx(want.values[size_t(60 + i)]).epsilon(1e-12));
    const double loss = i < 30 ? std::max(0.2, 1 - 0.06 * double(i)) : 0.15;
    CHECK(plateau.report(loss) == Approx(want.values[size_t(120 + i)]).epsilon(1e-12));
  }
  CHECK(cosine.at(50) == Approx(0.01));
  CHECK(cosine.at(1000) == Approx(0.01));  // PyTorch would rise again
}

TEST_CASE("a warm-up rises to the rate") {
  const optim::CosineSchedule cosine{0.1, 0, 20, 4};
  CHECK(cosine.at(0) == Approx(0.025));
  CHECK(cosine.at(3) == Approx(0.1));
  CHECK(cosine.at(4) == Approx(0.1));
  CHECK(cosine.at(12) == Approx(0.05));
  CHECK(cosine.at(20) == Approx(0).margin(1e-15));
}

TEST_CASE("a plateau schedule goes on from saved values; a NaN is no improvement") {
  optim::PlateauSchedule a(1, 0.1, 3), b(1, 0.1, 3);
  for (double loss : {1.0, 2.0, 2.0}) a.report(loss);
  b.restore(a.rate(), a.best(), a.waited());
  CHECK(a.report(std::nan("")) == Approx(0.1));
  CHECK(b.report(5) == Approx(0.1));
  CHECK(b.report(0.5) == Approx(0.1));
  CHECK(b.best() == 0.5);
}
