// SPDX-License-Identifier: BSD-3-Clause
#include "trainer.hpp"

#include <cmath>
#include <limits>
#include <sstream>

#include "files.hpp"
#include "history.hpp"
#include "voxgrad/optim/adam.hpp"
#include "voxgrad/optim/schedule.hpp"
#include "voxgrad/optim/sgd.hpp"
#include "voxgrad/version.hpp"

namespace voxgrad::app {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

Tensor tensor_of(const std::vector<float>& values, const data::Batch& b) {
  return Tensor::from(values, {b.count, b.patch[0], b.patch[1], b.patch[2], 1});
}

LossBatch loss_batch(const data::Batch& batch, const data::CropSource& source, uint64_t seed, int64_t step) {
  LossBatch b;
  b.seed = seed;
  b.step = step;
  for (int64_t i : batch.indices) {
    b.centred.push_back(source.centred(i));
    b.priors.push_back(source.prior(i));
  }
  b.input = tensor_of(batch.input, batch);
  b.target = tensor_of(batch.target, batch);
  if (!batch.weight.empty()) b.weight = tensor_of(batch.weight, batch);
  if (!batch.propensity.empty()) b.propensity = tensor_of(batch.propensity, batch);
  return b;
}

/// Runs a part of the training whose errors are about its data: the options were fine, it is this batch that does not go with them, or
/// the network's output.
template <class F>
auto at_step(const std::string& where, const F& part) {
  try {
    return part();
  } catch (const Error& e) {
    std::string what = e.what();
    if (what.back() == '.') what.pop_back();
    throw Error(text(where, ": ", what, ". The last good checkpoint is kept."));
  }
}

/// What must not change between a checkpoint and its continuation: the network and the data order.
std::string identity(const TrainConfig& c) {
  std::ostringstream s;
  s << c.seed << ' ' << c.model.first_kernel_size << ' ' << c.model.in_channels << ' ' << c.model.n_layer << ' ' << c.model.nbf
    << ' ' << c.model.out_channels << ' ' << c.model.r << ' ' << c.model.use_batch_norm << ' ' << c.model.use_leaky_relu << ' '
    << c.training.batch_size << ' ' << c.training.drop_last << ' ' << c.training.patch_size << ' ' << c.training.crop_size << ' '
    << c.training.flip << ' ' << c.training.random_crop << ' ' << c.training.optimizer.name;
  return hash_text(s.str());
}

int64_t stored_integer(const Metadata& m, const std::string& key, const std::string& path) {
  const auto it = m.find(key);
  const auto value = it == m.end() ? std::nullopt : parse_integer(it->second);
  check<FileError>(value.has_value(), path, ": its metadata lacks '", key, "'. It is not a checkpoint of this program.");
  return *value;
}

double stored_real(const Metadata& m, const std::string& key, double fallback) {
  const auto it = m.find(key);
  const auto value = it == m.end() ? std::nullopt : parse_real(it->second);
  return value.value_or(fallback);
}

}  // namespace

std::unique_ptr<optim::Optimizer> make_optimizer(const OptimizerConfig& c, nn::Module& net) {
  if (c.name == "sgd")
    return std::make_unique<optim::Sgd>(net.parameters(),
                                        optim::SgdOptions{.lr = c.lr, .momentum = c.momentum, .weight_decay = c.weight_decay});
  check<UsageError>(c.name == "adam" || c.name == "adamw", "optimizer '", c.name, "' is not one of adam, adamw, sgd.");
  return std::make_unique<optim::Adam>(net.parameters(), optim::AdamOptions{.lr = c.lr, .beta1 = c.beta1, .beta2 = c.beta2,
                                                                            .eps = c.eps, .weight_decay = c.weight_decay,
                                                                            .decoupled = c.name == "adamw"});
}

Trainer::Trainer(const TrainConfig& config, models::UNet3d& net, std::shared_ptr<const data::CropSource> train,
                 std::shared_ptr<const data::CropSource> valid, const ModelFolder& folder, Session& session,
                 RandomCrops held_out, std::shared_ptr<const Card> card)
    : config_(config), net_(net), train_(std::move(train)), valid_(std::move(valid)), folder_(folder), session_(session),
      loss_(make_loss(config.training)), optimizer_(make_optimizer(config.training.optimizer, net)),
      ahead_(batches_ahead(card.get())), last_loss_(infinity), best_(infinity), plateau_best_(infinity),
      plateau_rate_(config.training.optimizer.lr), config_hash_(identity(config)) {
  const StepperParts parts{net_, *optimizer_, loss_, config_.training};
  stepper_ = card ? make_card_stepper(parts, std::move(card)) : make_cpu_stepper(parts);
  const Holding holding = stepper_->hold(train_, loader_options(true));
  held_ = holding.held;
  if (!holding.note.empty()) session_.note(holding.note);
  loader_ = std::make_unique<data::Loader>(train_, loader_options(true));
  if (!config.training.pu.prior_auto) return;
  auto_prior_ = std::make_unique<AutoPrior>(config, train_, valid_, std::move(held_out));
  loss_.set_prior(auto_prior_->start(), auto_prior_->labelled());
}

data::LoaderOptions Trainer::loader_options(bool training) const {
  data::LoaderOptions o;
  const int64_t p = config_.training.patch_size;
  o.batch = config_.training.batch_size;
  o.patch = {p, p, p};
  o.shuffle = o.augment = training;
  o.augmentation.flip = config_.training.flip;
  o.augmentation.random_crop = config_.training.random_crop;
  o.drop_last = training && config_.training.drop_last;
  o.seed = config_.seed;
  o.held = training && held_;
  o.prefetch = ahead_;
  return o;
}

void Trainer::resume() {
  const std::string path = folder_.checkpoint_file();
  Metadata m = load_checkpoint(path, net_, *optimizer_);
  if (!m.contains("config_hash")) adopt(m);
  const auto hash = m.find("config_hash");
  check<UsageError>(hash != m.end() && hash->second == config_hash_, path,
                    ": was made with another network, seed, batch, crop or optimiser. Resume with its own configuration, or start "
                    "from its weights with --init.");
  stepper_->changed();
  stepper_->restore(m);
  note_other_device(m, stepper_->state(), session_);
  step_ = reported_ = stored_integer(m, "step", path);
  best_step_ = stored_integer(m, "best_step", path);
  best_ = stored_real(m, "best", infinity);
  plateau_best_ = stored_real(m, "plateau_best", infinity);
  plateau_rate_ = stored_real(m, "plateau_rate", config_.training.optimizer.lr);
  plateau_waited_ = stored_integer(m, "plateau_waited", path);
  loader_ = std::make_unique<data::Loader>(train_, loader_options(true),
                                           data::LoaderState{stored_integer(m, "epoch", path), stored_integer(m, "position", path)});
  if (const auto state = m.find("loss_state"); state != m.end()) {
    std::istringstream in(state->second);
    std::vector<double> numbers;
    for (std::string word; in >> word;) numbers.push_back(parse_real(word).value_or(std::nan("")));
    loss_.restore(numbers);
  }
  best_prior_ = stored_real(m, "best_prior", 0);
  if (auto_prior_) {  // of a run whose prior was given, only the weights go on
    const bool estimated = m.count("prior_estimates") > 0;
    if (estimated) auto_prior_->restore(stored_integer(m, "prior_estimates", path));
    loss_.set_prior(estimated ? loss_.prior() : auto_prior_->start(), auto_prior_->labelled());
  }
  for (const char* file : {"/train.csv", "/valid.csv", "/risk.csv", "/prior.csv"}) keep_rows_before(folder_.path() + file, step_);
}

/// A checkpoint that was converted from PyTorch says how far it is, not in which order its crops came: it goes on where a run of
/// ours would be. The best validation so far is that of its table.
void Trainer::adopt(Metadata& m) const {
  const int64_t step = stored_integer(m, "step", folder_.checkpoint_file()), batches = loader_->batches_per_epoch();
  const auto [best_step, best] = best_row(folder_.path() + "/valid.csv");
  for (const auto& [key, value] : std::initializer_list<std::pair<const char*, std::string>>{
           {"config_hash", config_hash_}, {"best_step", std::to_string(best_step)}, {"best", std::isfinite(best) ? number_text(best) : ""},
           {"plateau_waited", "0"}, {"epoch", std::to_string(step / batches)},
           {"position", std::to_string(step % batches * config_.training.batch_size)}})
    if (!value.empty()) m.emplace(key, value);
}

void Trainer::run() {
  const int64_t total = config_.training.num_steps;
  auto progress = session_.stage("train", total, "steps", step_);
  double valid = infinity;
  const auto fields = [&] {  // what is not known yet is left out
    Fields shown;
    for (const auto& [name, value] : {std::pair<const char*, double>{"loss", last_loss_}, {"val", valid}, {"best", best_}})
      if (std::isfinite(value)) shown.emplace_back(name, value);
    return shown;
  };
  while (step_ < total) {
    train_step();
    report(false);
    ++step_;
    const bool validation = step_ % config_.training.valid_interval == 0 || step_ == total, estimate = auto_prior_ && auto_prior_->due(step_);
    if (validation || estimate) report(true);
    if (estimate) update_prior();  // before the validation, which then is the first under the new prior
    if (validation) {
      const Validation v = validate();
      valid = v.mean;
      finish_validation(v);
    }
    const bool stop = session_.stop_requested();
    if (step_ % config_.training.checkpoint_interval == 0 || step_ == total || stop || session_.checkpoint_requested()) checkpoint();
    progress->update(step_, fields);
    if (stop) break;
  }
  progress->finish(fields());
  session_.check_stop();
}

void Trainer::train_step() {
  const int64_t epoch = batch_.count > 0 ? batch_.epoch : -1;
  loader_->next(batch_);
  if (epoch >= 0 && batch_.epoch > epoch) loss_.check_epoch();
  apply_schedule();
  at_step(text("step ", step_), [&] {
    if (batch_.input.empty()) stepper_->step_held(batch_.epoch, batch_.position);
    else stepper_->step(loss_batch(batch_, *train_, config_.seed, step_));
  });
}

/// Rows of the steps whose losses are known; `all`: of those too that must be waited for.
void Trainer::report(bool all) {
  for (const StepResult& r : stepper_->results(all)) {
    check(std::isfinite(r.loss), "the loss is ", r.loss, " at step ", reported_,
          ". The last good checkpoint is kept; try a smaller learning rate, and check the data with: voxgrad inspect");
    keep_terms(reported_, r.terms);
    append_row(folder_.path() + "/train.csv", "step,loss", text(reported_, ",", number_text(r.loss)));
    last_loss_ = r.loss;
    ++reported_;
  }
}

double Trainer::validation_loss(const data::Batch& batch) {
  return at_step(text("validation after step ", step_), [&] { return stepper_->validation_loss(loss_batch(batch, *valid_, config_.seed, step_)); });
}

/// A new estimate of the prior. When it moves the prior by more than a tenth, validation losses before and after do not compare.
void Trainer::update_prior() {
  const double before = loss_.prior();
  const PriorUpdate u = auto_prior_->estimate([&](const Tensor& x) { return stepper_->logits(x); }, step_, before);
  loss_.set_prior(u.prior, auto_prior_->labelled());
  tell_estimate(u, step_, before, auto_prior_->used(), folder_.path(), session_);
  if (u.few) return;
  if (std::abs(u.prior - best_prior_) <= 0.1 * best_prior_) return;
  best_ = plateau_best_ = infinity;
  plateau_waited_ = 0;
}

/// The numbers of a risk, next to train.csv.
void Trainer::keep_terms(int64_t step, const std::vector<LossTerm>& terms) {
  if (terms.empty()) return;
  std::string header = "step", row = std::to_string(step);
  for (const LossTerm& t : terms) {
    header += "," + t.name;
    row += "," + number_text(t.value);
  }
  append_row(folder_.path() + "/risk.csv", header, row);
}

Validation Trainer::validate() {
  data::Loader loader(valid_, loader_options(false));
  data::Batch batch;
  double sum = 0, square = 0, plain = 0, crops = 0;
  Validation v{0, infinity, -infinity, 0};
  const int64_t batches = loader.batches_per_epoch();
  for (int64_t i = 0; i < batches; ++i) {
    loader.next(batch);
    const double loss = validation_loss(batch);
    sum += loss * double(batch.count);
    crops += double(batch.count);
    plain += loss;
    square += loss * loss;
    v.lowest = std::min(v.lowest, loss);
    v.highest = std::max(v.highest, loss);
  }
  v.mean = sum / crops;
  v.deviation = std::sqrt(std::max(0.0, square / double(batches) - plain / double(batches) * plain / double(batches)));
  return v;
}

void Trainer::finish_validation(const Validation& v) {
  append_row(folder_.path() + "/valid.csv", "step,loss,min-loss,max-loss,std-loss",
             text(step_ - 1, ",", number_text(v.mean), ",", number_text(v.lowest), ",", number_text(v.highest), ",",
                  number_text(v.deviation)));
  check(std::isfinite(v.mean), "the validation loss is ", v.mean, " at step ", step_ - 1, ". The last good checkpoint is kept.");
  if (config_.training.schedule.name == "plateau") {
    const ScheduleConfig& s = config_.training.schedule;
    optim::PlateauSchedule plateau(config_.training.optimizer.lr, s.factor, s.patience, 0, s.min_lr);
    plateau.restore(plateau_rate_, plateau_best_, plateau_waited_);
    plateau_rate_ = plateau.report(v.mean);
    plateau_best_ = plateau.best();
    plateau_waited_ = plateau.waited();
  }
  if (v.mean < best_) {  // the first one always is
    best_ = v.mean;
    best_step_ = step_;
    best_prior_ = loss_.prior();
    stepper_->fetch();
    check_weights();
    save_weights(folder_.weights_file(), net_, metadata());
  }
}

void Trainer::apply_schedule() {
  const ScheduleConfig& s = config_.training.schedule;
  const double lr = config_.training.optimizer.lr;
  if (s.name == "plateau") optimizer_->set_learning_rate(plateau_rate_);
  else if (s.name == "cosine")
    optimizer_->set_learning_rate(
        optim::CosineSchedule{.rate = lr, .floor = s.min_lr, .steps = config_.training.num_steps, .warmup = s.warmup}.at(step_));
  else if (s.name == "step") optimizer_->set_learning_rate(optim::StepSchedule{lr, s.factor, s.interval}.at(step_));
}

void Trainer::checkpoint() {
  report(true);
  stepper_->fetch();
  check_weights();
  save_checkpoint(folder_.checkpoint_file(), net_, *optimizer_, metadata());
  picture_.update();
}

void Trainer::check_weights() const {
  for (const nn::Named& n : net_.state())
    for (float v : n.tensor->span<float>())
      check(std::isfinite(v), "'", n.name, "' became NaN or infinite by step ", step_ - 1,
            ". The last good checkpoint is kept; try a smaller learning rate.");
}

Metadata Trainer::metadata() const {
  const data::LoaderState at = loader_->state();
  Metadata m{{"format", "voxgrad"}, {"version", version}, {"step", std::to_string(step_)}, {"seed", std::to_string(config_.seed)},
             {"epoch", std::to_string(at.epoch)}, {"position", std::to_string(at.position)},
             {"best_step", std::to_string(best_step_)}, {"config_hash", config_hash_},
             {"plateau_rate", number_text(plateau_rate_)}, {"plateau_waited", std::to_string(plateau_waited_)}};
  std::string state;
  for (double v : loss_.state()) state += (state.empty() ? "" : " ") + number_text(v);
  m["loss_state"] = state;
  m["best_prior"] = number_text(best_prior_);
  if (auto_prior_) m["prior_estimates"] = std::to_string(auto_prior_->used());
  if (std::isfinite(best_)) m["best"] = number_text(best_);
  if (std::isfinite(plateau_best_)) m["plateau_best"] = number_text(plateau_best_);
  m.merge(stepper_->state());
  return m;
}

}  // namespace voxgrad::app
