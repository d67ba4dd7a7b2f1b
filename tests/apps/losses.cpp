// SPDX-License-Identifier: BSD-3-Clause
// Losses by name: risks with their options from a configuration, how centred crops count, and a risk of one's own in a training run.

#include "common/losses.hpp"

#include <cmath>
#include <filesystem>

#include "apps/scratch.hpp"
#include "apps/throws.hpp"
#include "apps/tiny.hpp"
#include "catch.hpp"
#include "common/files.hpp"
#include "common/tables.hpp"
#include "common/trainer.hpp"
#include "voxgrad/pu/registry.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

double term(const LossOutcome& o, const std::string& name) {
  for (const LossTerm& t : o.terms)
    if (t.name == name) return t.value;
  FAIL("no term " << name);
  return 0;
}

/// tiny_source with every second crop marked as cut around an event.
class Marked : public data::CropSource {
 public:
  explicit Marked(std::shared_ptr<const data::CropSource> from) : from_(std::move(from)) {}
  int64_t size() const override { return from_->size(); }
  data::Extent3 crop_extent() const override { return from_->crop_extent(); }
  std::shared_ptr<const data::Crop> crop(int64_t index) const override { return from_->crop(index); }
  bool centred(int64_t index) const override { return index % 2 == 0; }

 private:
  std::shared_ptr<const data::CropSource> from_;
};

}  // namespace

TEST_CASE("losses: a risk takes its options from the configuration") {
  const Tensor z = Tensor::from<float>({1, -1, 2, -2}, {2, 2}), t = Tensor::from<float>({1, 0, 1, 0}, {2, 2});
  const pu::Labels l(t);
  TrainingConfig c;
  c.loss = "nnpu";
  CHECK(message_of<UsageError>([&] { make_loss(c); }) ==
        "loss nnpu needs the class prior, the share of voxels that are positive: --prior, or training_config.pu.prior. Count an audit of "
        "random crops, or estimate it (docs/pu.md).");
  c.pu.prior = 0.2;
  const pu::RiskOptions o{.prior = 0.2, .surrogate = pu::brier_loss, .scenario = pu::Scenario::single_set};
  const LossOutcome out = make_loss(c)(z, t, {});
  CHECK(out.loss.item() == pu::nnpu(o)(z, l).loss.item());
  CHECK(term(out, "r") == pu::nnpu(o)(z, l)["r"]);
  CHECK(term(out, "corrected") == 0);
  c.pu.surrogate = "sigmoid";
  c.pu.scenario = "case_control";
  c.pu.prior_prime = 0.4;
  CHECK(make_loss(c)(z, t, {}).loss.item() == pu::nnpu({.prior = 0.2, .prior_prime = 0.4})(z, l).loss.item());
  c.pu.surrogate = "huber";
  CHECK(message_of<UsageError>([&] { make_loss(c); }).rfind("surrogate 'huber' is not one of sigmoid,", 0) == 0);
  for (const std::string& name : loss_names()) {
    INFO(name);
    TrainingConfig any;
    any.loss = name;
    any.pu.prior = 0.2;
    CHECK(std::isfinite(make_loss(any)(z, t, {false, true}).loss.item()));
  }
}

TEST_CASE("losses: of a network they are those of its logits, also where head and loss are one op") {
  models::UNet3dOptions o;
  o.layers = 1;
  models::UNet3d net(o, Random(1));
  net.eval();
  NoGrad off;
  Random random(2);
  const Tensor x = random_normal({2, 4, 4, 6, 1}, random);
  Tensor t = Tensor::zeros(x.shape());
  for (size_t i = 0; i < size_t(t.size()); i += 7) t.mutable_span<float>()[i] = 1;
  for (const std::string& name : loss_names()) {
    INFO(name);
    TrainingConfig any;
    any.loss = name;
    any.pu.prior = 0.2;
    const LossOutcome got = make_network_loss(any)(net, x, t, {false, true}), want = make_loss(any)(net.logits(x), t, {false, true});
    CHECK(got.loss.item() == Approx(want.loss.item()).epsilon(1e-5));
    CHECK(got.terms.size() == want.terms.size());
  }
  TrainingConfig wrong;
  wrong.loss = "mae";
  CHECK(message_of<UsageError>([&] { make_network_loss(wrong); }).rfind("loss 'mae' is not one of mse, bce,", 0) == 0);
}

TEST_CASE("losses: crops cut around events add positives, random crops are everything") {
  const Tensor z = Tensor::from<float>({1, -1, 2, -2}, {2, 2}), t = Tensor::from<float>({1, 0, 1, 0}, {2, 2});
  TrainingConfig c;
  c.loss = "nnpu";
  c.pu.prior = 0.2;
  const auto s2 = [](double v) { return std::pow(1 / (1 + std::exp(-v)), 2); };
  const double all = (s2(1) + s2(-1) + s2(2) + s2(-2)) / 4;
  CHECK(term(make_loss(c)(z, t, {true, false}), "Ru_neg") == Approx((s2(2) + s2(-2)) / 2));
  CHECK(term(make_loss(c)(z, t, {true, false}), "Rp_neg") == Approx((s2(1) + s2(2)) / 2));
  CHECK(term(make_loss(c)(z, t, {true, true}), "Ru_neg") == Approx(all));  // no random crop: the batch must do
  CHECK(term(make_loss(c)(z, t, {false, false}), "Ru_neg") == Approx(all));
  c.pu.population = "batch";
  CHECK(term(make_loss(c)(z, t, {true, false}), "Ru_neg") == Approx(all));
}

TEST_CASE("losses: training writes every term of a risk, and resumes to the same bytes") {
  const Scratch dir;
  TrainConfig c = tiny_config(6);
  c.training.loss = "imbalanced_nnpu";
  c.training.pu.prior = 0.03;
  const auto run = [&](const std::string& folder, int64_t steps, bool resume) {
    TrainConfig here = c;
    here.training.num_steps = steps;
    const auto net = make_network(here.model, here.seed);
    std::filesystem::create_directories(folder);
    QuietSession session{{{"--progress", "none"}}};
    Trainer trainer(here, *net, std::make_shared<Marked>(tiny_source(7, 1)), tiny_source(4, 2), ModelFolder(folder), session);
    if (resume) trainer.resume();
    trainer.run();
  };
  run(dir.file("whole"), 6, false);
  const std::string whole = read_file(dir.file("whole") + "/risk.csv");
  CHECK(whole.rfind("step,objective,corrected,Rp_pos,Rp_neg,Ru_neg,r,upu,beta\n0,", 0) == 0);
  CHECK(std::count(whole.begin(), whole.end(), '\n') == 7);
  run(dir.file("parts"), 3, false);
  run(dir.file("parts"), 6, true);
  CHECK(read_file(dir.file("parts") + "/risk.csv") == whole);
}

TEST_CASE("losses: a registered risk is chosen by name") {
  pu::register_risk("mean_gap", [](pu::Stats& s) { return pu::step(s.mean(pu::U, pu::score) - s.mean(pu::P, pu::score)); });
  TrainingConfig c;
  c.loss = "mean_gap";
  const Tensor z = Tensor::from<float>({3, -3}, {2}), t = Tensor::from<float>({1, 0}, {2});
  CHECK(make_loss(c)(z, t, {}).loss.item() == Approx(1 / (1 + std::exp(3.0)) - 1 / (1 + std::exp(-3.0))));
  pu::risks().erase("mean_gap");
  CHECK(message_of<UsageError>([&] { make_loss(c); }).rfind("loss 'mean_gap' is not one of mse, bce,", 0) == 0);
}
