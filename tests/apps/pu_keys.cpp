// SPDX-License-Identifier: BSD-3-Clause
// The table that says which loss reads which key of training_config.pu, against what the losses do; and what is said of keys set in vain.

#include "common/pu_keys.hpp"

#include "apps/throws.hpp"
#include "apps/tiny.hpp"
#include "catch.hpp"
#include "common/losses.hpp"
#include "voxgrad/autograd/backward.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

const std::string prefix = "training_config.pu.";

/// What three training steps come to, to the last bit: losses, rates and gradients. First a batch of random crops and one cut around an event; then
/// one of random crops whose risk is corrected; then one like the first without a labelled voxel.
std::vector<double> steps_of(const std::string& loss, const PuConfig& pu) {
  TrainingConfig c;
  c.loss = loss;
  c.pu = pu;
  Loss of = make_loss(c);
  std::vector<double> all;
  const Shape shape{3, 2, 4, 6, 1};
  Random random(7);
  for (const int batch : {0, 1, 2}) {
    Tensor z = random_normal(shape, random), t = Tensor::zeros(shape);
    const auto scores = z.mutable_span<float>(), codes = t.mutable_span<float>();
    for (size_t i = 0; i < codes.size(); ++i) {
      codes[i] = batch < 2 && i % size_t(3 + batch) == 0 ? 1 : pu.labels == "codes" && i % 7 == 0 ? 2 : pu.labels == "codes" && i % 11 == 0 ? 255 : 0;
      if (batch == 1) scores[i] += codes[i] == 1 ? 4.f : -4.f;
    }
    z.set_requires_grad();
    LossBatch b{z, t, {false, batch != 1, false}};
    b.step = batch;
    b.propensity = Tensor::full(shape, 0.3);
    const LossOutcome o = of(b, true);
    all.insert(all.end(), {double(o.loss.item()), o.rate, double(o.skipped)});
    if (o.skipped) continue;
    backward(o.loss);
    if (z.grad().defined())
      for (const float v : z.grad().span<float>()) all.push_back(double(v));
  }
  return all;
}

/// A setting whose effect is to be seen, and what must be set for it to have one.
struct Trial {
  std::string key;
  void (*change)(PuConfig&);
  void (*before)(PuConfig&) = [](PuConfig&) {};
};
const std::vector<Trial> trials = {
    {"beta", [](PuConfig& p) { p.beta = 2; }},
    {"beta_deviations", [](PuConfig& p) { p.beta_deviations = 900; }, [](PuConfig& p) { p.beta_auto = true; }},
    {"denominator", [](PuConfig& p) { p.denominator = "fixed"; }},
    {"entropy", [](PuConfig& p) { p.entropy = 0.5; }},
    {"entropy_ramp", [](PuConfig& p) { p.entropy_ramp = 0.5; }},
    {"eta", [](PuConfig& p) { p.eta = 0.2; }},
    {"gamma", [](PuConfig& p) { p.gamma = 0.5; }},
    {"gamma_mode", [](PuConfig& p) { p.gamma_mode = "step"; }, [](PuConfig& p) { p.gamma = 0.5; }},
    {"leak", [](PuConfig& p) { p.leak = 0.5; }},
    {"on_no_positive", [](PuConfig& p) { p.on_no_positive = "skip"; }},
    {"population", [](PuConfig& p) { p.population = "batch"; }},
    {"prior", [](PuConfig& p) { p.prior = 0.5; }},
    {"prior_prime", [](PuConfig& p) { p.prior_prime = 0.3; }},
    {"reduction", [](PuConfig& p) { p.reduction = "volume"; }},
    {"running_means", [](PuConfig& p) { p.running_means = 0.2; }},
    {"scenario", [](PuConfig& p) { p.scenario = "case_control"; }},
    {"slack", [](PuConfig& p) { p.slack = 3; }},
    {"spread", [](PuConfig& p) { p.spread = 5; }},
    {"surrogate", [](PuConfig& p) { p.surrogate = "logistic"; }},
};

std::string warned(const std::string& loss, const std::vector<std::string>& assignments) {
  Config c;
  for (const std::string& a : assignments) c.assign(prefix + a);
  QuietSession session;
  tell_idle_pu_keys(c, loss, false, session);
  return session.err();
}

// Logits, and labels of all three codes, for risks without a network.
const Shape shape{2, 30};
Tensor some_logits() {
  Random random(3);
  return random_normal(shape, random);
}
pu::Labels some_labels() {
  std::vector<uint8_t> codes(60);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = i % 5 == 0 ? 1 : i % 7 == 0 ? 2 : 0;
  return {codes, shape};
}

}  // namespace

TEST_CASE("pu keys: a loss changes with the keys that the table says it reads, and with no other") {
  for (const std::string& loss : loss_names()) {
    const bool plain = loss == "mse" || loss == "bce";
    if (loss == "pubn") continue;  // needs a first network: below
    for (const Trial& t : trials) {
      if ((plain && t.key == "reduction") || (t.key == "entropy_ramp" && loss != "dist_pu")) continue;  // a mean of equal parts; refused
      PuConfig without;
      without.prior = 0.8;
      if (!plain) without.labels = "codes";
      t.before(without);
      PuConfig with = without;
      t.change(with);
      INFO(loss << " " << t.key);
      CHECK((steps_of(loss, without) != steps_of(loss, with)) == reads_pu_key(loss, t.key));
    }
  }
}

TEST_CASE("pu keys: of pubn as in its risk") {
  const Tensor z = some_logits(), q = Tensor::full(shape, 0.4);
  const pu::Labels labels = some_labels();
  const auto value = [&](auto change, pu::Reduction reduction = pu::Reduction::batch) {
    pu::RiskOptions o{.prior = 0.3, .surrogate = pu::brier_loss, .negative_share = 0.2, .first_stage = q};
    change(o);
    return pu::risk_by_name("pubn", o, {.reduction = reduction})(z, labels).reported;
  };
  const double plain = value([](pu::RiskOptions&) {});
  const std::vector<std::pair<std::string, double>> changed = {
      {"beta", value([](pu::RiskOptions& o) { o.beta = 2; })},
      {"beta_deviations", value([](pu::RiskOptions& o) { o.beta_deviations = 3, o.effective_positives = o.effective_unlabeled = 5; })},
      {"denominator", value([](pu::RiskOptions& o) { o.positive_denominator = o.unlabeled_denominator = 9; })},
      {"entropy", value([](pu::RiskOptions& o) { o.entropy = 1; })},
      {"eta", value([](pu::RiskOptions& o) { o.eta = 0.1; })},
      {"first_stage", value([&](pu::RiskOptions& o) { o.first_stage = Tensor::full(shape, 0.3); })},
      {"first_stage_threshold", value([](pu::RiskOptions& o) { o.first_stage_threshold = 0.2; })},
      {"gamma", value([](pu::RiskOptions& o) { o.gamma = 0; })},
      {"leak", value([](pu::RiskOptions& o) { o.leak = 0; })},
      {"negative_share", value([](pu::RiskOptions& o) { o.negative_share = 0.4; })},
      {"prior", value([](pu::RiskOptions& o) { o.prior = 0.5; })},
      {"prior_prime", value([](pu::RiskOptions& o) { o.prior_prime = 0.5; })},
      {"scenario", value([](pu::RiskOptions& o) { o.scenario = pu::Scenario::single_set; })},
      {"slack", value([](pu::RiskOptions& o) { o.slack = 3; })},
      {"spread", value([](pu::RiskOptions& o) { o.spread = 3; })},
      {"surrogate", value([](pu::RiskOptions& o) { o.surrogate = pu::logistic_loss; })}};
  for (const auto& [key, now] : changed) {
    INFO(key);
    CHECK((now != plain) == reads_pu_key("pubn", key));
  }
}

TEST_CASE("pu keys: a prior for each movie is for risks that take one, and refused by the others") {
  const Tensor z = some_logits(), half = Tensor::full(shape, 0.5);
  for (const auto& [loss, risk] : pu::risks()) {
    const auto value = [&, name = loss](std::vector<double> priors) {
      const pu::RiskOptions o{.prior = 0.3, .surrogate = pu::brier_loss, .priors = std::move(priors), .negative_share = 0.2, .propensity = half, .first_stage = half};
      return pu::risk_by_name(name, o, {.reduction = pu::Reduction::volume})(z, some_labels()).reported;
    };
    INFO(loss);
    CHECK((value({}) != value({0.1, 0.8})) == reads_pu_key(loss, "movie_priors"));
    TrainingConfig c;
    c.loss = loss;
    c.pu.prior = 0.3;
    c.pu.reduction = "volume";
    c.pu.movie_priors = true;
    if (!reads_pu_key(loss, "movie_priors"))
      CHECK(message_of<UsageError>([&] { make_loss(c); }) == "training_config.pu.movie_priors does not go with loss " + loss + ".");
  }
}

TEST_CASE("pu keys: every key of the configuration is in the table") {
  size_t keys = 0;
  for (const ConfigKey& key : config_keys())
    if (key.path.rfind(prefix, 0) == 0) {
      INFO(key.path);
      CHECK_NOTHROW(reads_pu_key("mse", key.path.substr(prefix.size())));
      CHECK(reads_pu_key("a risk of one's own", key.path.substr(prefix.size())));
      ++keys;
    }
  CHECK(keys > 30);
  CHECK_THROWS(reads_pu_key("nnpu", "prio"));
}

TEST_CASE("pu keys: what is set in vain is named, with the losses that would read it") {
  CHECK(warned("abs_pu", {"beta=0.5", "prior=0.01"}).find(
            "--set training_config.pu.beta=0.5: training_config.pu.beta is 0.5 and has no effect on the training: loss abs_pu does not read it "
            "(clamp_pu, imbalanced_nnpu, nnpu, pnu, propensity do).") != std::string::npos);
  CHECK(warned("abs_pu", {"beta=0.0", "gamma=1", "leak=1.0", "surrogate=sigmoid", "prior_bounds=[0.0, 0.50]"}).empty());  // defaults; read
  CHECK(warned("nnpu", {"leak=0.5"}).find("loss nnpu does not read it (leaky_pu does).") != std::string::npos);
  CHECK(warned("pnu", {"beta=auto"}).find("training_config.pu.beta is auto and has no effect on the training: loss pnu does not read it "
                                          "(clamp_pu, imbalanced_nnpu, nnpu do).") != std::string::npos);
  CHECK(warned("nnpu", {"beta=auto", "beta_deviations=2"}).empty());
  CHECK(warned("nnpu", {"beta_deviations=2"}).find("is 2 and has no effect on the training: it goes with training_config.pu.beta auto.") != std::string::npos);
  CHECK(warned("nnpu", {"prior=0.1", "prior_crops=64"}).find("it goes with training_config.pu.prior auto.") != std::string::npos);
  CHECK(warned("nnpu", {"prior=auto", "prior_crops=64"}).empty());
  CHECK(warned("vpu", {"mixup_alpha=1"}).find("it goes with training_config.pu.mixup above 0.") != std::string::npos);
  CHECK(warned("mse", {"prior=0.01"}).find("loss mse does not read it (abs_pu, ") != std::string::npos);
  CHECK(warned("mse", {"micro_batch=4", "reduction=accumulate"}).empty());
  CHECK(warned("nnpu", {"micro_batch=4"}).find("it goes with training_config.pu.reduction accumulate.") != std::string::npos);
  CHECK(warned("mine", {"beta=0.5", "eta=0.1", "spread=3"}).empty());
}

TEST_CASE("pu keys: an option typed in vain is refused, whatever its value; --strict refuses the others too") {
  QuietSession session;
  Config c;
  c.set("training_config.pu.surrogate", "brier", "--surrogate");
  CHECK_NOTHROW(tell_idle_pu_keys(c, "nnpu", true, session));
  CHECK(message_of<UsageError>([&] { tell_idle_pu_keys(c, "vpu", false, session); }) ==
        "--surrogate: training_config.pu.surrogate is brier and has no effect on the training: loss vpu does not read it (abs_pu, clamp_pu, "
        "imbalanced_nnpu, leaky_pu, naive, naive_balanced, nnpu, pn, pnu, propensity, pubn, upu do). Leave it out, or choose another --loss.");
  Config strict;
  strict.read_text("training_config:\n  pu:\n    leak: 0.5\n", "a.yaml");
  CHECK_NOTHROW(tell_idle_pu_keys(strict, "nnpu", false, session));
  CHECK(message_of<UsageError>([&] { tell_idle_pu_keys(strict, "nnpu", true, session); }) ==
        "a.yaml:3: training_config.pu.leak is 0.5 and has no effect on the training: loss nnpu does not read it (leaky_pu does). Refused because of --strict.");
}
