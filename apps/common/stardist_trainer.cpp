// SPDX-License-Identifier: BSD-3-Clause
#include "stardist_trainer.hpp"

#include <cmath>
#include <deque>
#include <future>
#include <limits>
#include <sstream>

#include "history.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/version.hpp"

namespace voxgrad::app {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Batches first .. end - 1 in order, made ahead of use on threads of their own.
class Ahead {
 public:
  Ahead(std::function<stardist::PatchBatch(int64_t)> make, int64_t first, int64_t end) : make_(std::move(make)), next_(first), end_(end) {
    while (waiting_.size() < 2 && next_ < end_) start();
  }
  stardist::PatchBatch next() {
    stardist::PatchBatch batch = waiting_.front().get();
    waiting_.pop_front();
    if (next_ < end_) start();
    return batch;
  }

 private:
  void start() {
    waiting_.push_back(std::async(std::launch::async, [this, number = next_++] {
      ThreadPool::inside() = true;  // the pool's threads are the network's
      return make_(number);
    }));
  }
  std::function<stardist::PatchBatch(int64_t)> make_;
  int64_t next_, end_;
  std::deque<std::future<stardist::PatchBatch>> waiting_;
};

stardist::Generator make_generator(std::shared_ptr<const stardist::ExampleSource> source, const StarDistRun& run) {
  const StarDistConfig& c = run.config;
  stardist::GeneratorOptions o;
  o.patch = c.train_patch_size;
  o.grid = c.network.grid;
  o.anisotropy = c.anisotropy;
  o.foreground_only = c.train_foreground_only;
  o.augmentation = run.augmentation;
  o.batch = c.train_batch_size;
  o.seed = run.common.seed;
  o.channels = c.network.n_channel_in;
  o.n_classes = c.network.n_classes;
  return {std::move(source), stardist::make_rays(c.rays), o};
}

models::StarDistLossOptions loss_options(const StarDistConfig& c) {
  models::StarDistLossOptions o;
  o.prob_weight = c.train_loss_weights[0];
  o.dist_weight = c.train_loss_weights[1];
  o.background_reg = c.train_background_reg;
  o.dist_loss = c.train_dist_loss == "mse"   ? RayError::mse
                : c.train_dist_loss == "iou" ? RayError::iou
                                             : RayError::mae;
  if (c.network.n_classes > 0) o.prob_class_weight = c.train_loss_weights[2], o.class_weights = c.train_class_weights;
  return o;
}

double stored(const Metadata& m, const std::string& key, const std::string& path) {
  const auto at = m.find(key);
  const auto value = at == m.end() ? std::nullopt : parse_real(at->second);
  check<FileError>(value.has_value(), path, ": its metadata lacks '", key, "'. It is not a checkpoint of a StarDist training.");
  return *value;
}

/// What reads more of a voxel than whether an object covers it is the U-Net's.
void check_risk(const StarDistRun& run) {
  const PuConfig& c = run.common.training.pu;
  const char* option = c.labels != "instances" ? "labels"
                       : c.ignore_border > 0   ? "ignore_border"
                       : c.balance_events      ? "balance_events"
                       : c.movie_priors        ? "movie_priors"
                                               : nullptr;
  check<UsageError>(!option, "training_config.pu.", option ? option : "", " is set, which only type unet3d has: StarDist knows of a voxel whether "
                    "an object covers it, and nothing else. Leave it out.");
  const char* of_crops = c.reduction == "accumulate" ? "reduction: accumulate"
                         : c.mixup > 0               ? "mixup"
                         : c.entropy_ramp > 0        ? "entropy_ramp"
                                                     : nullptr;
  check<UsageError>(!of_crops, "training_config.pu.", of_crops ? of_crops : "", " is set, which only type unet3d has. Leave it out.");
  const pu::RiskNeeds needs = loss_needs(run.loss);
  const char* of_voxels = needs.negatives ? "known negatives" : needs.propensity ? "propensities" : needs.first_stage ? "a first network" : nullptr;
  check<UsageError>(!of_voxels, "loss ", run.loss, " needs ", of_voxels ? of_voxels : "", ", which only type unet3d has. Choose another risk, "
                    "such as nnpu.");
}

}  // namespace

std::optional<Loss> make_probability_risk(const StarDistRun& run) {
  check_risk(run);
  TrainingConfig t = run.common.training;
  check<UsageError>(run.loss != "bce" || !t.pu.prior_auto, "loss bce takes no prior, so training_config.pu.prior cannot be auto.");
  if (run.loss == "bce") return {};
  t.loss = run.loss;
  return Loss(t);
}

LossBatch probability_batch(const Tensor& logits, const stardist::PatchBatch& batch) {
  Tensor codes(batch.prob.shape());
  const auto from = batch.prob.span<float>();
  auto to = codes.mutable_span<float>();
  for (size_t i = 0; i < to.size(); ++i) to[i] = from[i] > 0 ? 1.f : from[i] < 0 ? 255.f : 0.f;
  LossBatch out{logits, codes};
  out.centred = batch.centred;
  out.input = batch.input;
  return out;
}

StarDistTrainer::StarDistTrainer(const StarDistRun& run, models::StarDist3d& net, const StarDistData& data, const ModelFolder& folder,
                                 Session& session)
    : run_(run), net_(net), train_(make_generator(data.train, run)), valid_(make_generator(data.valid, run)),
      valid_patches_(run.config.train_n_val_patches.value_or(data.valid->size())), folder_(folder), session_(session),
      normalization_(data.normalization), risk_(make_probability_risk(run)),
      optimizer_(net.parameters(), {.lr = run.config.train_learning_rate, .eps = 1e-7, .epsilon_hat = true}), best_(infinity),
      plateau_best_(infinity), rate_(run.config.train_learning_rate) {
  if (!risk_ || !run.common.training.pu.prior_auto) return;
  prior_ = std::make_unique<StarDistPrior>(run_, train_, valid_);
  risk_->set_prior(prior_->start(), prior_->labelled());
}

/// What must not change between a checkpoint and its continuation.
std::string StarDistTrainer::identity() const {
  StarDistConfig c = run_.config;
  c.train_epochs = 1;
  c.train_learning_rate = 1;
  c.train_reduce_lr.reset();
  return hash_text(text(stardist_config_json(c), run_.common.seed, ' ', int(run_.augmentation), ' ', run_.loss, ' ', valid_patches_, ' ',
                        train_.source().size(), ' ', run_.common.training.crop_size, run_.labels == "auto" ? "" : " " + run_.labels,
                        run_.data_axes.empty() ? "" : " " + run_.data_axes));
}

models::StarDistLoss StarDistTrainer::losses(const models::StarDistMaps& maps, const stardist::PatchBatch& batch, bool training,
                                             LossOutcome* outcome) {
  const models::StarDistTargets targets(batch.prob, batch.dist, batch.prob_class);
  const models::StarDistLossOptions o = loss_options(run_.config);
  if (!risk_) return models::stardist_losses(maps, targets, o);
  models::StarDistLoss loss;
  LossOutcome of_risk = (*risk_)(probability_batch(maps.logit, batch), training);
  loss.prob = of_risk.loss;
  loss.dist = models::stardist_dist_loss(maps.dist, batch.dist, targets.weight(), o.background_reg, o.dist_loss);
  loss.total = loss.prob * o.prob_weight + loss.dist * o.dist_weight;
  if (maps.prob_class.defined()) {
    loss.prob_class = models::stardist_class_loss(maps.prob_class, batch.prob_class, o.class_weights);
    loss.total = loss.total + loss.prob_class * o.prob_class_weight;
  }
  if (outcome != nullptr) *outcome = std::move(of_risk);
  return loss;
}

void StarDistTrainer::resume() {
  const std::string path = folder_.checkpoint_file();
  const Metadata m = load_checkpoint(path, net_, optimizer_);
  const auto hash = m.find("config_hash");
  check<UsageError>(hash != m.end() && hash->second == identity(), path,
                    ": was made with another network, seed, data or way to draw patches. Resume with its own configuration, or start "
                    "from its weights with --init.");
  step_ = int64_t(stored(m, "step", path));
  best_epoch_ = int64_t(stored(m, "best_epoch", path));
  rate_ = stored(m, "plateau_rate", path);
  plateau_waited_ = int64_t(stored(m, "plateau_waited", path));
  if (const auto state = m.find("loss_state"); risk_ && state != m.end()) {
    std::istringstream in(state->second);
    std::vector<double> numbers;
    for (std::string word; in >> word;) numbers.push_back(parse_real(word).value_or(std::nan("")));
    risk_->restore(numbers);
  }
  if (prior_) {  // of a run whose prior was given, only the weights go on
    const bool estimated = m.contains("prior_estimates");
    if (estimated) {
      prior_->restore(int64_t(stored(m, "prior_estimates", path)));
      best_prior_ = stored(m, "best_prior", path);
    }
    risk_->set_prior(estimated ? risk_->prior() : prior_->start(), prior_->labelled());
  }
  if (m.contains("best")) best_ = stored(m, "best", path);
  if (m.contains("plateau_best")) plateau_best_ = stored(m, "plateau_best", path);
  net_.set_training_passes(uint64_t(step_));
  for (const char* file : {"/train.csv", "/valid.csv", "/risk.csv", "/prior.csv"}) keep_rows_before(folder_.path() + file, step_);
}

void StarDistTrainer::run() {
  const int64_t per_epoch = run_.config.train_steps_per_epoch;
  auto progress = session_.stage("train", total(), "steps", step_);
  double loss = infinity, valid = infinity;
  const auto fields = [&] {
    Fields shown;
    for (const auto& [name, value] : {std::pair<const char*, double>{"loss", loss}, {"val", valid}, {"best", best_}})
      if (std::isfinite(value)) shown.emplace_back(name, value);
    return shown;
  };
  Ahead batches([this](int64_t number) { return train_.training(number); }, step_, total());
  while (step_ < total()) {
    loss = train_step(batches.next());
    ++step_;
    const bool epoch = step_ % per_epoch == 0;
    if (epoch) finish_epoch(valid = validate());
    if (prior_ && prior_->due(step_)) update_prior();
    const bool stop = session_.stop_requested();
    if (epoch || stop || session_.checkpoint_requested()) checkpoint();
    progress->update(step_, fields);
    if (stop) break;
  }
  progress->finish(fields());
  session_.check_stop();
}

double StarDistTrainer::train_step(const stardist::PatchBatch& batch) {
  net_.train();
  LossOutcome outcome;
  const models::StarDistLoss loss = losses(net_(batch.input), batch, true, &outcome);
  const double value = loss.total.item();
  check(std::isfinite(value), "the loss is ", value, " at step ", step_,
        ". The last good checkpoint is kept; try a smaller learning rate, and check the data with: voxgrad inspect");
  const bool classes = loss.prob_class.defined();
  append_row(folder_.path() + "/train.csv", text("step,loss,prob_loss,dist_loss", classes ? ",prob_class_loss" : ""),
             text(step_, ",", number_text(value), ",", number_text(loss.prob.item()), ",", number_text(loss.dist.item()),
                  classes ? "," + number_text(loss.prob_class.item()) : ""));
  if (!outcome.terms.empty()) {
    std::string header = "step", row = std::to_string(step_);
    for (const LossTerm& t : outcome.terms) header += "," + t.name, row += "," + number_text(t.value);
    append_row(folder_.path() + "/risk.csv", header, row);
  }
  if (outcome.skipped) return value;
  backward(loss.total);
  optimizer_.set_learning_rate(rate_ * outcome.rate);
  optimizer_.step();
  return value;
}

double StarDistTrainer::validate() {
  NoGrad no_grad;
  net_.eval();
  const int64_t batch = run_.config.train_batch_size, batches = (valid_patches_ + batch - 1) / batch;
  const auto count = [&](int64_t i) { return std::min(batch, valid_patches_ - i * batch); };
  Ahead ahead([&](int64_t i) { return valid_.fixed(i * batch, count(i)); }, 0, batches);
  const bool classes = run_.config.network.n_classes > 0;
  std::vector<std::string> names{"loss", "prob_loss", "dist_loss", "prob_kld", "dist_relevant_mae", "dist_relevant_mse", "dist_dist_iou_metric"};
  if (classes) names.insert(names.end(), {"prob_class_loss", "prob_class_accuracy"});
  std::vector<double> sums(names.size());
  for (int64_t i = 0; i < batches; ++i) {
    const stardist::PatchBatch b = ahead.next();
    const models::StarDistMaps maps = net_(b.input);
    const models::StarDistLoss loss = losses(maps, b, false, nullptr);
    const models::StarDistMeasures m = models::stardist_measures(maps, {b.prob, b.dist});
    std::vector<double> values{loss.total.item(), loss.prob.item(), loss.dist.item(), m.prob_kld, m.dist_relevant_mae, m.dist_relevant_mse, m.dist_iou};
    if (classes) values.insert(values.end(), {double(loss.prob_class.item()), models::stardist_class_accuracy(maps.prob_class, b.prob_class)});
    for (size_t k = 0; k < sums.size(); ++k) sums[k] += values[k] * double(count(i));
  }
  std::string header = "step", row = text(step_ - 1);
  for (size_t k = 0; k < sums.size(); ++k) {
    header += "," + names[k];
    row += "," + number_text(sums[k] /= double(valid_patches_));
  }
  append_row(folder_.path() + "/valid.csv", header + ",learning_rate", row + "," + number_text(rate_));
  return sums[0];
}

/// Validation losses under different priors do not compare: when it has moved by more than a tenth, the search for the best starts anew.
void StarDistTrainer::update_prior() {
  const double before = risk_->prior();
  const PriorUpdate u = prior_->estimate(net_, step_, before);
  risk_->set_prior(u.prior, prior_->labelled());
  tell_estimate(u, step_, before, prior_->used(), folder_.path(), session_);
  if (std::abs(u.prior - best_prior_) <= 0.1 * best_prior_) return;
  best_ = plateau_best_ = infinity;
  plateau_waited_ = 0;
}

void StarDistTrainer::finish_epoch(double loss) {
  check(std::isfinite(loss), "the validation loss is ", loss, " at step ", step_ - 1, ". The last good checkpoint is kept.");
  if (const auto& reduce = run_.config.train_reduce_lr) {
    optim::PlateauSchedule plateau(run_.config.train_learning_rate, reduce->factor, reduce->patience, reduce->min_delta);
    plateau.restore(rate_, plateau_best_, plateau_waited_);
    rate_ = plateau.report(loss);
    plateau_best_ = plateau.best();
    plateau_waited_ = plateau.waited();
  }
  if (!(loss < best_)) return;
  best_ = loss;
  best_epoch_ = step_ / run_.config.train_steps_per_epoch;
  if (prior_) best_prior_ = risk_->prior();
  check_weights();
  save_weights(folder_.weights_file(), net_, metadata());
}

void StarDistTrainer::checkpoint() {
  check_weights();
  save_checkpoint(folder_.checkpoint_file(), net_, optimizer_, metadata());
}

void StarDistTrainer::check_weights() const {
  for (const nn::Named& n : net_.state())
    for (const float v : n.tensor->span<float>())
      check(std::isfinite(v), "'", n.name, "' became NaN or infinite by step ", step_ - 1,
            ". The last good checkpoint is kept; try a smaller learning rate.");
}

Metadata StarDistTrainer::metadata() const {
  Metadata m{{"format", "voxgrad"}, {"version", version}, {"network", "stardist3d"}, {"step", std::to_string(step_)},
             {"seed", std::to_string(run_.common.seed)}, {"best_epoch", std::to_string(best_epoch_)}, {"config_hash", identity()},
             {"normalization", normalization_}, {"plateau_rate", number_text(rate_)},
             {"plateau_waited", std::to_string(plateau_waited_)}};
  if (risk_) {
    std::string& state = m["loss_state"];
    for (const double v : risk_->state()) state += (state.empty() ? "" : " ") + number_text(v);
  }
  if (prior_) {
    m["prior_estimates"] = std::to_string(prior_->used());
    m["best_prior"] = number_text(best_prior_);
  }
  if (std::isfinite(best_)) m["best"] = number_text(best_);
  if (std::isfinite(plateau_best_)) m["plateau_best"] = number_text(plateau_best_);
  return m;
}

}  // namespace voxgrad::app
