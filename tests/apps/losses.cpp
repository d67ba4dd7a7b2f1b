// SPDX-License-Identifier: BSD-3-Clause
// Losses by name: risks with their options from a configuration, how centred crops count, and a risk of one's own in a training run.

#include "common/losses.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

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
    const LossOutcome got = make_loss(any).of(net, b);
    b.logits = net.logits(x);
    const LossOutcome want = make_loss(any)(b, false);
    CHECK(got.loss.item() == Approx(want.loss.item()).epsilon(1e-5));
    CHECK(got.terms.size() == want.terms.size());
  }
  TrainingConfig wrong;
  wrong.loss = "mae";
  CHECK(message_of<UsageError>([&] { make_loss(wrong); }).rfind("loss 'mae' is not one of mse, bce,", 0) == 0);
}

TEST_CASE("losses: accumulated over micro-batches they are those of the whole batch, with its gradient") {
  models::UNet3dOptions o;
  o.layers = 1;
  o.width = 4;
  o.leaky_relu = true;
  o.batch_norm = false;  // which takes the statistics of a micro-batch
  models::UNet3d net(o, Random(1));
  Random random(2);
  const Tensor x = random_normal({5, 4, 4, 6, 1}, random);
  for (nn::Named& n : net.state())
    if (n.name.find("final_conv.weight") != std::string::npos)
      for (float& v : n.tensor->mutable_span<float>()) v *= 1000;  // logits of -15 to 4
  // 12 labelled of 96 voxels in each crop: those that score lowest in the first, highest in the others, which a risk then corrects.
  Tensor t = Tensor::zeros(x.shape());
  {
    NoGrad off;
    const Tensor z = net.logits(x);
    for (size_t crop = 0; crop < 5; ++crop) {
      std::vector<size_t> order(96);
      std::iota(order.begin(), order.end(), crop * 96);
      std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return crop > 0 ? z.span<float>()[a] > z.span<float>()[b] : z.span<float>()[a] < z.span<float>()[b]; });
      for (size_t i = 0; i < 12; ++i) t.mutable_span<float>()[order[i]] = 1;
    }
  }
  std::vector<bool> centred{false, true, false, true, true};
  const auto run = [&](TrainingConfig c, const std::string& reduction, int64_t crops, LossOutcome& out) {
    c.pu.reduction = reduction;
    c.pu.micro_batch = crops;
    LossBatch b{{}, t, centred};
    b.step = 1;
    b.input = x;
    b.propensity = Tensor::full(x.shape(), 0.5);
    out = make_loss(c).gradient(net, b);
    std::vector<double> all;
    for (const nn::Named& p : net.parameters()) {
      for (float v : p.tensor->grad().span<float>()) all.push_back(double(v));
      p.tensor->clear_grad();
    }
    return all;
  };
  for (const std::string& name : loss_names()) {
    if (name == "pubn") continue;
    TrainingConfig c;
    c.loss = name;
    c.pu.prior = 0.9;  // higher than can be: risks with a correction take it
    if (loss_needs(name).negatives) c.pu.labels = "codes";
    if (name == "dist_pu" || name == "vpu") c.pu.mixup = 2;
    LossOutcome whole;
    const std::vector<double> full = run(c, "batch", 1, whole);
    for (const int64_t crops : {1, 2, 5, 8}) {
      INFO(name << ", " << crops);
      LossOutcome parts;
      const std::vector<double> sum = run(c, "accumulate", crops, parts);
      CHECK(parts.loss.item() == Approx(whole.loss.item()).epsilon(1e-6));
      REQUIRE(parts.terms.size() == whole.terms.size());
      for (size_t i = 0; i < parts.terms.size(); ++i) CHECK(parts.terms[i].value == Approx(whole.terms[i].value).epsilon(1e-6).margin(1e-9));
      double miss = 0, norm = 0;
      for (size_t i = 0; i < sum.size(); ++i) miss += (sum[i] - full[i]) * (sum[i] - full[i]), norm += full[i] * full[i];
      CHECK(norm > 0);
      CHECK(std::sqrt(miss / norm) < 2e-5);
    }
    if (name == "nnpu") CHECK(term(whole, "corrected") == 1);
  }
  // The mean of the micro-batches' own risks is another number: the whole is corrected, the first crop by itself is not.
  centred.assign(5, false);
  const auto of_crop = [&](int64_t i) {
    TrainingConfig c;
    c.loss = "nnpu";
    c.pu.prior = 0.9;
    const Shape one{1, 4, 4, 6, 1};
    LossBatch b{{}, t.view(one, i * 96), {false}};
    b.input = x.view(one, i * 96);
    const LossOutcome out = make_loss(c).of(net, b);
    return out.loss.item();
  };
  TrainingConfig c;
  c.loss = "nnpu";
  c.pu.prior = 0.9;
  LossOutcome whole;
  run(c, "accumulate", 1, whole);
  CHECK(term(whole, "corrected") == 1);
  double mean = 0;
  for (int64_t i = 0; i < 5; ++i) mean += of_crop(i) / 5;
  CHECK(std::abs(whole.loss.item() - mean) > 1e-4);
}

TEST_CASE("losses: accumulating moves the running statistics of batch norm once per micro-batch") {
  models::UNet3dOptions o;
  o.layers = 1;
  models::UNet3d net(o, Random(1)), once(o, Random(1));
  Random random(2);
  const Tensor x = random_normal({3, 4, 4, 4, 1}, random);
  Tensor t = Tensor::zeros(x.shape());
  t.mutable_span<float>()[5] = 1;
  TrainingConfig c;
  c.loss = "nnpu";
  c.pu.prior = 0.2;
  c.pu.reduction = "accumulate";
  c.pu.micro_batch = 2;
  LossBatch b{{}, t, {false, false, false}};
  b.input = x;
  make_loss(c).gradient(net, b);
  NoGrad off;
  once.logits(x.view({2, 4, 4, 4, 1}));
  once.logits(x.view({1, 4, 4, 4, 1}, 2 * 64));
  const auto got = net.state(), want = once.state();
  int buffers = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    if (got[i].learnable) continue;
    INFO(got[i].name);
    ++buffers;
    const auto a = got[i].tensor->span<float>(), e = want[i].tensor->span<float>();
    for (size_t k = 0; k < a.size(); ++k) CHECK(a[k] == e[k]);
  }
  CHECK(buffers > 0);
}

TEST_CASE("losses: what mixup and the entropy's ramp go with, and that they can begin") {
  TrainingConfig c;
  c.loss = "nnpu";
  c.pu.prior = 0.2;
  c.pu.mixup = 0.1;
  CHECK(message_of<UsageError>([&] { make_loss(c); }) == "training_config.pu.mixup is 0.1, which loss nnpu does not have; dist_pu and vpu do.");
  c.loss = "mse";
  CHECK(message_of<UsageError>([&] { make_loss(c); }) == "training_config.pu.mixup is 0.1, which loss mse does not have; dist_pu and vpu do.");
  c.loss = "vpu";
  CHECK_NOTHROW(make_loss(c));
  c.pu.entropy_ramp = 0.004;
  CHECK(message_of<UsageError>([&] { make_loss(c); }) ==
        "training_config.pu.entropy_ramp is 0.004, which loss vpu does not have; dist_pu does.");
  c.loss = "dist_pu";
  c.pu.warmup = 100000;
  CHECK(message_of<UsageError>([&] { make_loss(c); }) ==
        "training_config.pu.warmup is 100000 steps, and the training ends after 100000: neither mixup nor the ramp would ever begin.");
  c.pu.warmup = 50;
  CHECK_NOTHROW(make_loss(c));
  c.pu.entropy_ramp = c.pu.mixup = 0;
  CHECK(message_of<UsageError>([&] { make_loss(c); }) == "training_config.pu.warmup is 50 steps, but nothing waits for its end: "
                                                         "training_config.pu.mixup and training_config.pu.entropy_ramp are 0.");
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
