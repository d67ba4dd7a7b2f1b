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
    if (name == "pubn") continue;  // its first network: below
    INFO(name);
    TrainingConfig any;
    any.loss = name;
    any.pu.prior = 0.2;
    if (loss_needs(name).negatives) any.pu.labels = "codes";
    LossBatch b{z, t, {false, true}};
    b.propensity = Tensor::full({2, 2}, 0.5);
    CHECK(std::isfinite(make_loss(any)(b, true).loss.item()));
  }
}

TEST_CASE("losses: beta by standard errors, gamma as a step, fixed denominators and reductions come from the configuration") {
  const Shape shape{2, 1, 1, 4, 1};
  const Tensor z = Tensor::from<float>({1, 2, -1, -2, 3, -3, -2, -4}, shape), t = Tensor::from<float>({1, 1, 0, 0, 1, 0, 0, 1}, shape);
  const pu::Labels l(t);
  TrainingConfig c;
  c.loss = "nnpu";
  c.pu.prior = 0.6;
  c.pu.beta_auto = true;
  c.pu.beta_deviations = 2;
  const pu::RiskOptions o{.prior = 0.6, .surrogate = pu::brier_loss, .scenario = pu::Scenario::single_set};
  pu::RiskOptions beta = o;
  beta.beta_deviations = 2;
  beta.effective_positives = 3;  // connected labelled voxels: one event in the first volume, two in the second
  beta.effective_unlabeled = 4 * 3.0 / 4;
  CHECK(term(make_loss(c)(z, t, {}), "beta") == pu::nnpu(beta)(z, l)["beta"]);
  CHECK(term(make_loss(c)(z, t, {}), "beta") > 0);

  c.pu.beta_auto = false;
  c.pu.gamma = 0.25;
  c.pu.gamma_mode = "step";
  const Tensor far = Tensor::from<float>({9, 9, -9, -9, 9, -9, -9, 9}, shape);
  CHECK(make_loss(c)(far, t, {}).rate == 0.25);
  CHECK(term(make_loss(c)(far, t, {}), "corrected") == 1);
  CHECK(make_loss(c)(z * 0.0, t, {}).rate == 1);

  c.pu.denominator = "fixed";
  Loss fixed = make_loss(c);
  const Tensor half = Tensor::from<float>({1, 0, 0, 0, 0, 0, 0, 0}, shape);
  fixed({z, t}, true);
  pu::RiskOptions d = o;
  d.gamma = 0.25, d.gamma_mode = pu::GammaMode::step, d.positive_denominator = (4 + 1) / 2.0, d.unlabeled_denominator = 8;
  const LossOutcome second = fixed({z, half}, true);
  CHECK(term(second, "r") == Approx(pu::nnpu(d)(z, pu::Labels(half))["r"]));
  Loss resumed = make_loss(c);
  resumed.restore(fixed.state());
  CHECK(resumed({z, t}, true).loss.item() == fixed({z, t}, true).loss.item());

  c = {};
  c.loss = "nnpu";
  c.pu.reduction = "volume";
  c.pu.movie_priors = true;
  Loss volume = make_loss(c);
  LossBatch b{z, t};
  b.priors = {0.3, 0.5};
  pu::RiskOptions v = o;
  v.priors = {0.3, 0.5};
  CHECK(volume(b, true).loss.item() == pu::nnpu(v, {.reduction = pu::Reduction::volume})(z, l).loss.item());
  b.priors = {0.3, 0};
  CHECK(message_of<FileError>([&] { volume(b, true); }) ==
        "training_config.pu.movie_priors: the movie of crop 1 of a batch has no prior: data set 'prior' in its group, one number.");
}

TEST_CASE("losses: a batch without a labelled voxel is used, skipped or carried") {
  const Tensor z = Tensor::from<float>({1, -1, 2, -2}, {2, 2}), t = Tensor::from<float>({1, 0, 0, 0}, {2, 2}), none = Tensor::zeros({2, 2});
  TrainingConfig c;
  c.loss = "nnpu";
  c.pu.prior = 0.2;
  CHECK_FALSE(make_loss(c)(z, none, {}).skipped);
  c.pu.on_no_positive = "skip";
  CHECK_FALSE(make_loss(c)(z, t, {}).skipped);
  CHECK(make_loss(c)(z, none, {}).skipped);
  CHECK(term(make_loss(c)(z, none, {}), "skipped") == 1);
  c.pu.reduction = "volume";  // the second volume has none
  const pu::RiskOptions o{.prior = 0.2, .surrogate = pu::brier_loss, .scenario = pu::Scenario::single_set};
  const Tensor first = Tensor::from<float>({1, -1}, {1, 2});
  CHECK(make_loss(c)(z, t, {}).loss.item() == Approx(pu::nnpu(o)(first, pu::Labels(std::vector<int>{1, 0}, {1, 2})).reported));
  CHECK(make_loss(c)(z, none, {}).skipped);
  c.pu.reduction = "batch";
  c.pu.on_no_positive = "carry";
  Loss carry = make_loss(c);
  const double seen = term(carry({z, t}, true), "Rp_neg");
  CHECK(term(carry({z, none}, true), "Rp_neg") == seen);
  CHECK(term(carry({z, none}, false), "Rp_neg") == 0);  // validation stands alone
  Loss resumed = make_loss(c);
  resumed.restore(carry.state());
  CHECK(term(resumed({z, none}, true), "Rp_neg") == seen);
  c.pu.on_no_positive = "use";
  c.pu.running_means = 0.5;
  Loss running = make_loss(c);
  running({z, t}, true);
  CHECK(term(running({z * 0.0, t}, true), "Rp_neg") == Approx(0.5 * seen + 0.5 * 0.25));
}

TEST_CASE("losses: weights, known negatives, ignored voxels and propensities of a batch count as they should") {
  const Shape shape{1, 1, 1, 6, 1};
  const Tensor z = Tensor::from<float>({1, 2, -1, -2, 3, 0.5f}, shape), t = Tensor::from<float>({1, 1, 0, 2, 255, 1}, shape);
  TrainingConfig c;
  c.loss = "pnu";
  c.pu.prior = 0.2;
  c.pu.labels = "codes";
  c.pu.eta = 0.7;
  const pu::RiskOptions o{.prior = 0.2, .surrogate = pu::brier_loss, .scenario = pu::Scenario::single_set};
  LossBatch b{z, t};
  CHECK(make_loss(c)(b, true).loss.item() == pu::pnu(o, 0.7)(z, pu::Labels(t)).loss.item());
  // Two events of 2 and 1 voxels that count the same: labelled voxels weigh 3 together, as unweighted.
  b.weight = Tensor::from<float>({0.5f, 0.5f, 1, 1, 1, 1}, shape);
  const pu::Labels weighted = pu::Labels(t).weighted(Tensor::from<float>({0.75f, 0.75f, 1, 1, 1, 1.5f}, shape));
  CHECK(make_loss(c)(b, true).loss.item() == Approx(pu::pnu(o, 0.7)(z, weighted).reported));
  c.loss = "propensity";
  CHECK(message_of<UsageError>([&] { make_loss(c)(b, true); }) == "propensity: needs the propensity of every labelled voxel");
  b.weight = Tensor();
  b.propensity = Tensor::from<float>({0.2f, 0.5f, 1, 1, 1, 0.9f}, shape);
  CHECK(make_loss(c)(b, true).loss.item() == pu::propensity_risk(b.propensity, o)(z, pu::Labels(t)).loss.item());
}

TEST_CASE("losses: options that do not go together are refused by name") {
  const auto says = [](const std::string& loss, auto change) {
    TrainingConfig c;
    c.loss = loss;
    c.pu.prior = 0.1;
    change(c.pu);
    return message_of<UsageError>([&] { make_loss(c); });
  };
  CHECK(says("mse", [](PuConfig& p) { p.ignore_border = 1; }) ==
        "loss mse counts every voxel as 0 or 1 and has no training_config.pu.ignore_border. Loss naive with surrogate brier is the same with it.");
  CHECK(says("bce", [](PuConfig& p) { p.prior_auto = true; }) ==
        "loss bce takes no prior, so training_config.pu.prior cannot be auto.");
  CHECK(says("vpu", [](PuConfig& p) { p.prior_auto = true; }) == "loss vpu takes no prior, so training_config.pu.prior cannot be auto.");
  CHECK(says("nnpu", [](PuConfig& p) { p.movie_priors = true; }) ==
        "training_config.pu.movie_priors needs training_config.pu.reduction: volume (one prior for each crop).");
  CHECK(says("pnu", [](PuConfig&) {}) ==
        "loss pnu needs voxels that are known to be negative: label volumes with the codes 0 unlabeled, 1 positive, 2 negative, 255 ignored, "
        "and training_config.pu.labels: codes.");
  CHECK(says("pubn", [](PuConfig& p) { p.labels = "codes"; }) ==
        "loss pubn needs a first network, trained to tell positives and known negatives from the rest: training_config.pu.first_stage: its "
        "model folder.");
  CHECK(says("pubn", [](PuConfig& p) { p.labels = "codes", p.first_stage = "none"; }) ==
        "loss pubn needs the share of the population that negatives of the known kind are: training_config.pu.negative_share.");
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
    if (name == "pubn") continue;
    INFO(name);
    TrainingConfig any;
    any.loss = name;
    any.pu.prior = 0.2;
    if (loss_needs(name).negatives) any.pu.labels = "codes";
    LossBatch b{{}, t, {false, true}};
    b.input = x;
    b.propensity = Tensor::full(x.shape(), 0.5);
    const LossOutcome got = make_loss(any).of(net, b, false);
    b.logits = net.logits(x);
    const LossOutcome want = make_loss(any)(b, false);
    CHECK(got.loss.item() == Approx(want.loss.item()).epsilon(1e-5));
    CHECK(got.terms.size() == want.terms.size());
  }
  TrainingConfig wrong;
  wrong.loss = "mae";
  CHECK(message_of<UsageError>([&] { make_loss(wrong); }).rfind("loss 'mae' is not one of mse, bce,", 0) == 0);
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
