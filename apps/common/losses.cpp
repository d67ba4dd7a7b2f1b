// SPDX-License-Identifier: BSD-3-Clause
#include "losses.hpp"

#include <algorithm>
#include <cmath>

#include "model_folder.hpp"
#include "pu_keys.hpp"
#include "voxgrad/autograd/record.hpp"
#include "voxgrad/metrics/components.hpp"
#include "voxgrad/ops/loss.hpp"

namespace voxgrad::app {
namespace {

pu::RiskOptions risk_options(const PuConfig& c) {
  pu::RiskOptions o;
  o.surrogate = pu::surrogate_by_name(c.surrogate);
  o.beta = c.beta;
  o.gamma = c.gamma;
  o.gamma_mode = c.gamma_mode == "step" ? pu::GammaMode::step : pu::GammaMode::loss;
  o.leak = c.leak;
  if (c.prior_prime > 0) o.prior_prime = c.prior_prime;
  o.scenario = c.scenario == "case_control" ? pu::Scenario::case_control : pu::Scenario::single_set;
  o.eta = c.eta;
  o.negative_share = c.negative_share;
  o.first_stage_threshold = c.first_stage_threshold;
  o.slack = c.slack;
  o.spread = c.spread;
  o.entropy = c.entropy;
  return o;
}

/// Labelled events in the crops of a batch: connected labelled voxels.
int64_t count_events(const Tensor& target) {
  const Shape& s = target.shape();
  if (s.rank() != 5) return 0;
  const data::Extent3 size{s[1], s[2], s[3]};
  std::vector<uint8_t> mask(size_t(data::voxel_count(size)));
  int64_t events = 0;
  for (int64_t n = 0; n < s[0]; ++n) {
    const float* codes = target.span<float>().data() + n * int64_t(mask.size());
    for (size_t i = 0; i < mask.size(); ++i) mask[i] = codes[i] == 1;
    events += metrics::label_frames<uint8_t>(size, [&](int64_t t) { return mask.data() + t * size[1] * size[2]; }).count;
  }
  return events;
}

/// Weights of a batch, scaled so that all labelled voxels together weigh what they count: whole shares stay what they are.
Tensor scaled_weight(const Tensor& weight, const pu::Labels& labels) {
  const double counted = double(labels.count(pu::P)), weighed = labels.weighted(weight).weight(pu::P);
  if (!(weighed > 0)) return weight;
  Tensor scaled = weight.clone();
  const auto w = scaled.mutable_span<float>();
  for (size_t i = 0; i < w.size(); ++i)
    if (labels.has(int64_t(i), pu::P)) w[i] = float(double(w[i]) * counted / weighed);
  return scaled;
}

/// The means of what a risk noted of its volumes, under the names of the first.
std::vector<LossTerm> terms_of(const pu::Result& r) {
  double corrected = 0;
  for (const pu::Outcome& o : r.outcomes) corrected += o.corrected / double(r.outcomes.size());
  std::vector<LossTerm> terms{{"objective", r.objective}, {"corrected", corrected}};
  if (r.outcomes.empty()) return terms;
  for (const pu::Noted& n : r.outcomes.front().notes) {
    double sum = 0;
    for (const pu::Outcome& o : r.outcomes) sum += o[n.name];
    terms.push_back({n.name, sum / double(r.outcomes.size())});
  }
  return terms;
}

/// Options that mse and bce do not have, and what has them.
void check_plain(const std::string& name, const PuConfig& c) {
  const char* option = c.labels != "instances" ? "labels" : c.ignore_border > 0 ? "ignore_border" : c.balance_events ? "balance_events"
                                                                                                   : nullptr;
  check<UsageError>(!option, "loss ", name, " counts every voxel as 0 or 1 and has no training_config.pu.", option ? option : "",
                    ". Loss naive with surrogate ", name == "mse" ? "brier" : "logistic", " is the same with it.");
  check<UsageError>(!c.prior_auto, "loss ", name, " takes no prior, so training_config.pu.prior cannot be auto.");
}

}  // namespace

std::vector<std::string> loss_names() {
  std::vector<std::string> names{"mse", "bce"};
  for (const auto& [name, risk] : pu::risks()) names.push_back(name);
  return names;
}

pu::RiskNeeds loss_needs(const std::string& name) {
  const auto risk = pu::risks().find(name);
  return risk == pu::risks().end() ? pu::RiskNeeds{} : risk->second.needs;
}

Loss::Loss(const TrainingConfig& config)
    : name_(config.loss), config_(config.pu), steps_(config.num_steps), running_(config.pu.running_means, config.pu.on_no_positive == "carry") {
  check_mixup();
  if (name_ == "mse" || name_ == "bce") {
    check_plain(name_, config_);
    return;
  }
  const auto risk = pu::risks().find(name_);
  if (risk == pu::risks().end()) {
    std::string names;
    for (const std::string& known : loss_names()) names += (names.empty() ? "" : ", ") + known;
    throw UsageError(text("loss '", name_, "' is not one of ", names, "."));
  }
  risk_ = &risk->second;
  const std::string pu = "training_config.pu.";
  check<UsageError>(!risk_->needs_prior || config_.prior > 0 || config_.prior_auto || config_.movie_priors, "loss ", name_,
                    " needs the class prior, the share of voxels that are positive: --prior, or ", pu,
                    "prior. Count an audit of random crops, or estimate it (docs/pu.md).");
  check<UsageError>(risk_->needs_prior || !config_.prior_auto, "loss ", name_, " takes no prior, so ", pu, "prior cannot be auto.");
  check<UsageError>(!config_.movie_priors || config_.reduction == "volume", pu, "movie_priors needs ", pu,
                    "reduction: volume (one prior for each crop).");
  const bool by_movie = risk_->needs_prior && !risk_->needs.prior_among_unlabeled && reads_pu_key(name_, "movie_priors");
  check<UsageError>(!config_.movie_priors || (by_movie && !config_.prior_auto), pu,
                    "movie_priors does not go with ", config_.prior_auto ? std::string("prior auto.") : text("loss ", name_, "."));
  check<UsageError>(!risk_->needs.negatives || config_.labels == "codes", "loss ", name_, " needs voxels that are known to be negative: ",
                    "label volumes with the codes 0 unlabeled, 1 positive, 2 negative, 255 ignored, and ", pu, "labels: codes.");
  check<UsageError>(!risk_->needs.first_stage || !config_.first_stage.empty(), "loss ", name_, " needs a first network, ",
                    "trained to tell positives and known negatives from the rest: ", pu, "first_stage: its model folder.");
  check<UsageError>(name_ != "pubn" || config_.negative_share > 0, "loss pubn needs the share of the population that negatives of the ",
                    "known kind are: ", pu, "negative_share.");
  options_ = risk_options(config_);
  prior_ = prior_unlabeled_ = config_.prior;
  if (risk_->needs.first_stage) first_stage_ = ModelFolder::existing(config_.first_stage).network();
}

void Loss::set_prior(double prior, double labelled) {
  prior_ = prior;
  prior_unlabeled_ = std::max(1e-9, (prior - labelled) / (1 - labelled));
}

/// With random crops in the batch, they alone are the sample of everything; the crops cut around events only add positives.
pu::Labels Loss::labels_of(const LossBatch& b) const {
  pu::Labels labels(b.target);
  if (b.weight.defined()) labels = labels.weighted(scaled_weight(b.weight, labels));
  const bool mixed = std::find(b.centred.begin(), b.centred.end(), false) != b.centred.end() &&
                     std::find(b.centred.begin(), b.centred.end(), true) != b.centred.end();
  return mixed && config_.population == "random" ? labels.with_centred(b.centred) : labels;
}

pu::RiskOptions Loss::options_of(const LossBatch& b, const pu::Labels& labels, bool training) const {
  pu::RiskOptions o = options_;
  o.entropy = entropy_weight(b, training);
  o.prior = risk_->needs.prior_among_unlabeled ? prior_unlabeled_ : prior_;
  if (config_.movie_priors) {
    o.priors = b.priors;
    for (size_t i = 0; i < size_t(labels.volumes()); ++i)
      check<FileError>(i < o.priors.size() && o.priors[i] > 0, "training_config.pu.movie_priors: the movie of crop ", i,
                       " of a batch has no prior: data set 'prior' in its group, one number.");
  }
  if (config_.beta_auto) {
    const double events = double(std::max<int64_t>(1, count_events(b.target))), positives = std::max(events, double(labels.count(pu::P)));
    o.beta_deviations = config_.beta_deviations;
    o.effective_positives = events;
    o.effective_unlabeled = std::max(1.0, double(labels.count(pu::U)) * events / positives);
  }
  if (config_.denominator == "fixed" && batches_ > 0) {
    o.positive_denominator = positive_weight_;
    o.unlabeled_denominator = everything_weight_;
  }
  o.propensity = b.propensity;
  if (first_stage_ && b.input.defined()) {
    NoGrad no_grad;
    o.first_stage = (*first_stage_)(b.input);
  }
  return o;
}

void Loss::learn(const pu::Labels& labels) {
  batches_ += 1;
  positive_weight_ += (labels.weight(pu::P) - positive_weight_) / batches_;
  everything_weight_ += (labels.weight(pu::everything(options_)) - everything_weight_) / batches_;
  negatives_seen_ = negatives_seen_ || labels.count(pu::N) > 0;
}

LossOutcome Loss::operator()(const LossBatch& b, bool training) {
  if (name_ == "mse") return {mse_with_logits_loss(b.logits, b.target)};
  if (name_ == "bce") return {bce_with_logits_loss(b.logits, b.target)};
  pu::Labels labels = labels_of(b);
  if (training) learn(labels);
  const pu::RiskOptions options = options_of(b, labels, training);
  if (risk_->prepare) labels = risk_->prepare(b.logits, labels, options);
  pu::ObjectiveOptions how;
  how.reduction = config_.reduction == "volume" ? pu::Reduction::volume : pu::Reduction::batch;
  const bool skip = config_.on_no_positive == "skip", none = labels.count(pu::P) == 0;
  how.skip_without_positive = skip && !none;
  const pu::Objective objective = pu::risk_by_name(name_, options, how);
  const pu::Result r = objective(b.logits, labels, training && running_.used() ? &running_ : nullptr);
  LossOutcome out{r.loss, terms_of(r), r.rate, skip && none};
  if (config_.prior_auto) out.terms.push_back({"prior", prior_});
  if (skip) out.terms.push_back({"skipped", out.skipped ? 1.0 : 0.0});
  return out;
}

void Loss::check_epoch() const {
  check<FileError>(!risk_ || !risk_->needs.negatives || negatives_seen_, "loss ", name_, " needs voxels that are known to be negative ",
                   "(label 2), and not one was met in a whole epoch.");
}

std::vector<double> Loss::state() const {
  std::vector<double> s{prior_, prior_unlabeled_, batches_, positive_weight_, everything_weight_, negatives_seen_ ? 1.0 : 0.0};
  s.insert(s.end(), running_.values().begin(), running_.values().end());
  return s;
}

void Loss::restore(const std::vector<double>& s) {
  check<FileError>(s.size() >= 6, "a checkpoint's loss state has ", s.size(), " numbers (expected at least 6).");
  if (config_.prior_auto) prior_ = s[0], prior_unlabeled_ = s[1];
  batches_ = s[2];
  positive_weight_ = s[3];
  everything_weight_ = s[4];
  negatives_seen_ = s[5] != 0;
  running_.restore({s.begin() + 6, s.end()});
}

}  // namespace voxgrad::app
