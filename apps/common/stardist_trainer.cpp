// SPDX-License-Identifier: BSD-3-Clause
#include "stardist_trainer.hpp"

#include <cmath>
#include <deque>
#include <future>
#include <limits>
#include <sstream>

#include "history.hpp"
#include "voxgrad/version.hpp"

namespace voxgrad::app {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Batches first .. end - 1 in order, made ahead of use on threads of their own.
class Ahead {
 public:
  /// most: batches at a time.
  Ahead(std::function<stardist::PatchBatch(int64_t)> make, int64_t first, int64_t end, int most) : make_(std::move(make)), next_(first), end_(end) {
    while (waiting_.size() < size_t(most) && next_ < end_) start();
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

StarDistTrainer::StarDistTrainer(const StarDistRun& run, models::StarDist3d& net, const StarDistData& data, const ModelFolder& folder,
                                 Session& session, std::shared_ptr<const Card> card)
    : run_(run), net_(net), train_(make_generator(data.train, run)), valid_(make_generator(data.valid, run)),
      valid_patches_(run.config.train_n_val_patches.value_or(data.valid->size())), folder_(folder), session_(session),
      normalization_(data.normalization), risk_(make_probability_risk(run)),
      optimizer_(net.parameters(), {.lr = run.config.train_learning_rate, .eps = 1e-7, .epsilon_hat = true}), ahead_(batches_ahead(card.get())),
      last_loss_(infinity), best_(infinity), plateau_best_(infinity), rate_(run.config.train_learning_rate) {
  stepper_ = card ? make_card_stepper(parts(), std::move(card)) : make_cpu_stepper(parts());
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

void StarDistTrainer::resume() {
  const std::string path = folder_.checkpoint_file();
  const Metadata m = load_checkpoint(path, net_, optimizer_);
  const auto hash = m.find("config_hash");
  check<UsageError>(hash != m.end() && hash->second == identity(), path,
                    ": was made with another network, seed, data or way to draw patches. Resume with its own configuration, or start "
                    "from its weights with --init.");
  step_ = reported_ = int64_t(stored(m, "step", path));
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
  stepper_->restore(m);
  note_other_device(m, stepper_->state(), session_);
  for (const char* file : {"/train.csv", "/valid.csv", "/risk.csv", "/prior.csv"}) keep_rows_before(folder_.path() + file, step_);
}

void StarDistTrainer::run() {
  const int64_t per_epoch = run_.config.train_steps_per_epoch;
  auto progress = session_.stage("train", total(), "steps", step_);
  double valid = infinity;
  const auto fields = [&] {
    Fields shown;
    for (const auto& [name, value] : {std::pair<const char*, double>{"loss", last_loss_}, {"val", valid}, {"best", best_}})
      if (std::isfinite(value)) shown.emplace_back(name, value);
    return shown;
  };
  Ahead batches([this](int64_t number) { return train_.training(number); }, step_, total(), ahead_);
  while (step_ < total()) {
    stepper_->step(batches.next(), rate_);
    report(false);
    ++step_;
    const bool epoch = step_ % per_epoch == 0, estimate = prior_ && prior_->due(step_);
    if (epoch || estimate) report(true);
    if (estimate) update_prior();  // before the validation, which then is the first under the new prior
    if (epoch) finish_epoch(valid = validate());
    const bool stop = session_.stop_requested();
    if (epoch || stop || session_.checkpoint_requested()) checkpoint();
    progress->update(step_, fields);
    if (stop) break;
  }
  progress->finish(fields());
  session_.check_stop();
}

/// Rows of the steps whose losses are known; `all`: of those too that must be waited for.
void StarDistTrainer::report(bool all) {
  for (const StarDistStep& s : stepper_->results(all)) {
    check(std::isfinite(s.total), "the loss is ", s.total, " at step ", reported_,
          ". The last good checkpoint is kept; try a smaller learning rate, and check the data with: voxgrad inspect");
    append_row(folder_.path() + "/train.csv", text("step,loss,prob_loss,dist_loss", s.prob_class ? ",prob_class_loss" : ""),
               text(reported_, ",", number_text(s.total), ",", number_text(s.prob), ",", number_text(s.dist),
                    s.prob_class ? "," + number_text(*s.prob_class) : ""));
    if (!s.terms.empty()) {
      std::string header = "step", row = std::to_string(reported_);
      for (const LossTerm& t : s.terms) header += "," + t.name, row += "," + number_text(t.value);
      append_row(folder_.path() + "/risk.csv", header, row);
    }
    last_loss_ = s.total;
    ++reported_;
  }
}

double StarDistTrainer::validate() {
  NoGrad no_grad;
  const int64_t batch = run_.config.train_batch_size, batches = (valid_patches_ + batch - 1) / batch;
  const auto count = [&](int64_t i) { return std::min(batch, valid_patches_ - i * batch); };
  Ahead ahead([&](int64_t i) { return valid_.fixed(i * batch, count(i)); }, 0, batches, ahead_);
  const bool classes = run_.config.network.n_classes > 0;
  std::vector<std::string> names{"loss", "prob_loss", "dist_loss", "prob_kld", "dist_relevant_mae", "dist_relevant_mse", "dist_dist_iou_metric"};
  if (classes) names.insert(names.end(), {"prob_class_loss", "prob_class_accuracy"});
  std::vector<double> sums(names.size());
  for (int64_t i = 0; i < batches; ++i) {
    const stardist::PatchBatch b = ahead.next();
    const models::StarDistMaps maps = stepper_->maps(b.input);
    const models::StarDistLoss loss = stardist_batch_loss(parts(), maps, b, false);
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
  const PriorUpdate u = prior_->estimate([&](const Tensor& x) { return stepper_->maps(x); }, step_, before);
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
  stepper_->fetch();
  check_weights();
  save_weights(folder_.weights_file(), net_, metadata());
}

void StarDistTrainer::checkpoint() {
  report(true);
  stepper_->fetch();
  check_weights();
  save_checkpoint(folder_.checkpoint_file(), net_, optimizer_, metadata());
  picture_.update();
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
  m.merge(stepper_->state());
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
