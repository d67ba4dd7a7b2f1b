// SPDX-License-Identifier: BSD-3-Clause
// Training steps on a card (stepper.hpp).
#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "card_inference.hpp"
#include "stepper.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/autograd/record.hpp"

namespace voxgrad::app {
namespace {

cuda::LossKind loss_kind(const std::string& name) {
  return name == "mse" ? cuda::LossKind::mse : name == "bce" ? cuda::LossKind::bce : cuda::LossKind::host;
}

cuda::OptimizerSettings settings_of(const OptimizerConfig& c) {
  cuda::OptimizerSettings s;
  s.lr = c.lr;
  s.beta1 = c.beta1, s.beta2 = c.beta2, s.eps = c.eps;
  s.weight_decay = c.weight_decay, s.momentum = c.momentum;
  s.decoupled = c.name == "adamw";
  return s;
}

class CardStepper final : public Stepper {
 public:
  CardStepper(const StepperParts& parts, std::shared_ptr<const Card> card)
      : parts_(parts), card_(std::move(card)), inference_(card_, parts.net), kind_(loss_kind(parts.config.loss)),
        settings_(settings_of(parts.config.optimizer)) {
    check_card_loss(parts.config);
  }

  void step(LossBatch batch) override {
    const int64_t count = batch.input.shape()[0];
    cuda::UNet3dTraining& engine = engine_for(count);
    check_sizes(batch);
    const float* const x = batch.input.span<float>().data();
    if (kind_ == cuda::LossKind::host) {
      step_by_host(engine, x, std::move(batch));
      return;
    }
    set_rate(engine, parts_.optimizer.learning_rate());
    engine.step(x, batch.target.span<float>().data());
    stepped();
    if (++waiting_ == losses_at_once) collect();
  }

  Holding hold(std::shared_ptr<const data::CropSource> crops, const data::LoaderOptions& o) override {
    const models::UNet3dOptions& net = parts_.net.options();
    const auto copied = [&](const std::string& why) { return Holding{false, text(why, ": patches are cut on the cpu and copied to ", card_->name)}; };
    if (kind_ == cuda::LossKind::host) return copied(text("loss ", parts_.config.loss, " is computed on the cpu"));
    if (net.in_channels != 1 || net.out_channels != 1) return copied(text("the network has ", net.in_channels, " channels and ", net.out_channels, " outputs"));
    if (crops->size() < o.batch) return copied(text("the training set has fewer crops than a batch"));
    cuda::HeldCrops set;
    set.count = crops->size(), set.extent = crops->crop_extent(), set.seed = o.seed;
    set.augment = o.augment, set.flip = o.augmentation.flip, set.random_crop = o.augmentation.random_crop;
    const int64_t rest = o.drop_last ? 0 : set.count % o.batch;
    const uint64_t beside = cuda::unet3d_training_bytes(card_->precision, options(o.batch)) +
                            (rest > 0 ? cuda::unet3d_training_bytes(card_->precision, options(rest)) : 0) +
                            inference_.needed(o.batch, options(o.batch).crop, cuda::NormMode::running_statistics);
    const uint64_t free = card_->free_memory();
    if (double(set.bytes() + beside) > 0.9 * double(free))
      return copied(text("the training set, ", gib_text(set.bytes()), ", and its steps, ", gib_text(beside), ", are more than nine tenths of the ",
                         gib_text(free), " that are free on ", card_->name));
    set.read = [crops](int64_t i, float* input, uint8_t* target) {
      const std::shared_ptr<const data::Crop> crop = crops->crop(i);
      std::copy(crop->input.begin(), crop->input.end(), input);
      std::copy(crop->target.begin(), crop->target.end(), target);
    };
    set_ = std::move(set);
    return {true, text("the training set, ", gib_text(set_->bytes()), ", lies on ", card_->name, ", where its patches are cut")};
  }

  void step_held(int64_t epoch, int64_t position) override {
    check(set_.has_value(), card_->name, " holds no training set");
    const int64_t batch = parts_.config.batch_size;
    cuda::UNet3dTraining& engine = engine_for(batch);
    if (next_.epoch != epoch || next_.position != position) engine.begin_epoch(epoch, position, data::epoch_order(set_->count, set_->seed, epoch, true));
    next_ = {epoch, position + batch};
    set_rate(engine, parts_.optimizer.learning_rate());
    engine.step_held();
    stepped();
    if (++waiting_ == losses_at_once) collect();
  }

  std::vector<StepResult> results(bool all) override {
    if (all) collect();
    return std::exchange(results_, {});
  }

  /// As many crops at a time as a step has, so that one plan serves.
  Tensor logits(const Tensor& input) override {
    fetch_weights();
    if (!std::exchange(validated_, true)) inference_.changed();
    const int64_t p = parts_.config.patch_size, most = parts_.config.batch_size, count = input.shape()[0];
    inference_.plan(most, {p, p, p}, cuda::NormMode::running_statistics);
    if (count <= most) return inference_.logits(input);
    Shape shape = input.shape();
    shape.set(-1, parts_.net.options().out_channels);
    Tensor all(shape);
    const int64_t in_each = input.size() / count, out_each = all.size() / count;
    for (int64_t first = 0; first < count; first += most) {
      Shape part = input.shape();
      part.set(0, std::min(most, count - first));
      const Tensor some = inference_.logits(input.view(part, first * in_each));
      std::copy_n(some.span<float>().begin(), some.size(), all.mutable_span<float>().begin() + first * out_each);
    }
    return all;
  }

  double validation_loss(LossBatch batch) override {
    NoGrad no_grad;
    batch.logits = logits(batch.input);
    return parts_.loss(batch, false).loss.item();
  }

  void fetch() override {
    if (!current_ || fetched_) return;
    collect();
    fetch_weights();
    for (const nn::Named& n : parts_.optimizer.state()) {
      const auto [name, part] = moment_of(n.name);
      current_->get(name, n.tensor->mutable_span<float>(), part);
    }
    numbers_ = current_->state();
    parts_.optimizer.set_step_count(numbers_->step);
    fetched_ = true;
  }

  void changed() override {
    collect();
    current_ = nullptr;
    numbers_.reset();
    fetched_ = weights_fetched_ = true;
    validated_ = false;
  }

  Metadata state() const override { return card_metadata(*card_, numbers_ ? &*numbers_ : nullptr); }

  /// After changed(): the loss scale of a checkpoint, if it has one.
  void restore(const Metadata& metadata) override {
    cuda::OptimizerState numbers = first_numbers();
    if (restore_loss_scale(metadata, numbers)) numbers_ = numbers;
  }

 private:
  void step_by_host(cuda::UNet3dTraining& engine, const float* x, LossBatch batch) {
    const Shape& s = batch.input.shape();
    Tensor logits(Shape{s[0], s[1], s[2], s[3], parts_.net.options().out_channels});
    engine.forward(x, logits.mutable_span<float>().data());
    stepped();  // of the running statistics
    logits.set_requires_grad();
    batch.logits = logits;
    LossOutcome outcome = parts_.loss(batch, true);
    const double value = outcome.loss.item();
    results_.push_back({value, std::move(outcome.terms)});
    if (!std::isfinite(value) || outcome.skipped) return;
    backward(outcome.loss);
    set_rate(engine, parts_.optimizer.learning_rate() * outcome.rate);
    engine.finish(logits.grad().span<float>().data());
  }

  /// What an engine reads is as large as what it was planned for.
  void check_sizes(const LossBatch& b) const {
    const Shape& x = b.input.shape();
    const int64_t rows = x[0] * x[1] * x[2] * x[3], p = parts_.config.patch_size;
    const models::UNet3dOptions& o = parts_.net.options();
    check<ShapeError>(x[1] == p && x[2] == p && x[3] == p && b.input.size() == rows * o.in_channels, "unet3d on a card: input is ", x,
                      " (expected crops of ", p, "^3 with ", o.in_channels, " channels)");
    check<ShapeError>(b.target.size() == rows * o.out_channels, "unet3d on a card: target is ", b.target.shape(), ", the network has ",
                      o.out_channels, " outputs");
  }

  void stepped() { fetched_ = weights_fetched_ = validated_ = false; }

  /// What forward passes need.
  void fetch_weights() {
    if (!current_ || weights_fetched_) return;
    for (const nn::Named& n : parts_.net.state()) current_->get(n.name, n.tensor->mutable_span<float>());
    weights_fetched_ = true;
  }

  void collect() {
    if (waiting_ == 0) return;
    for (float v : current_->losses(std::exchange(waiting_, 0))) results_.push_back({double(v)});
  }

  void set_rate(cuda::UNet3dTraining& engine, double rate) {
    if (rate == settings_.lr && sent_) return;
    settings_.lr = rate;
    engine.set(settings_);
    sent_ = true;
  }

  cuda::OptimizerState first_numbers() const {
    cuda::OptimizerSettings s = settings_;
    s.dynamic_scale = card_->precision == cuda::Precision::f16;
    return cuda::optimizer_state(s, parts_.optimizer.step_count());
  }

  /// The engine for so many crops, with weights, moments and numbers as they stand.
  cuda::UNet3dTraining& engine_for(int64_t count) {
    std::unique_ptr<cuda::UNet3dTraining>& engine = engines_[count];
    if (!engine) engine = make(count);
    if (engine.get() == current_) return *engine;
    fetch();
    for (const nn::Named& n : parts_.net.state()) engine->put(n.name, n.tensor->span<float>());
    for (const nn::Named& n : parts_.optimizer.state()) {
      const auto [name, part] = moment_of(n.name);
      engine->put(name, n.tensor->span<float>(), part);
    }
    if (!numbers_) numbers_ = first_numbers();
    engine->restore(*numbers_);
    sent_ = false;
    current_ = engine.get();
    return *engine;
  }

  cuda::UNet3dTrainingOptions options(int64_t count) const {
    const int64_t p = parts_.config.patch_size;
    return {
        .net = shape_of(parts_.net.options()),
        .batch = count,
        .crop = {p, p, p},
        .loss = kind_,
        .optimizer = parts_.config.optimizer.name == "sgd" ? cuda::OptimizerKind::sgd : cuda::OptimizerKind::adam,
        .settings = settings_,
    };
  }

  std::unique_ptr<cuda::UNet3dTraining> make(int64_t count) const {
    check_training_memory(*card_, options(count));
    auto engine = card_->training(options(count));
    if (set_ && count == parts_.config.batch_size) engine->hold(*set_);
    return engine;
  }

  StepperParts parts_;
  std::shared_ptr<const Card> card_;
  CardInference inference_;
  cuda::LossKind kind_;
  cuda::OptimizerSettings settings_;
  std::map<int64_t, std::unique_ptr<cuda::UNet3dTraining>> engines_;  ///< by batch
  cuda::UNet3dTraining* current_ = nullptr;                           ///< the one whose weights count; none: the network's do
  std::optional<cuda::OptimizerState> numbers_;                       ///< as of the last fetch
  std::optional<cuda::HeldCrops> set_;  ///< what the engine of full batches holds
  data::LoaderState next_{-1, -1};      ///< where it goes on in the set
  std::vector<StepResult> results_;
  int64_t waiting_ = 0;  ///< losses still on the card
  bool fetched_ = true, weights_fetched_ = true, validated_ = false, sent_ = false;
};

}  // namespace

void check_card_loss(const TrainingConfig& c) {
  if (loss_kind(c.loss) != cuda::LossKind::host) return;
  check<UsageError>(c.pu.reduction != "accumulate", "training_config.pu.reduction is accumulate, which passes a batch through the network twice: on the CPU "
                    "only in this version. Use --device cpu, or reduction batch with a --batch-size that fits the card.");
  check<UsageError>(c.pu.mixup == 0, "training_config.pu.mixup is ", c.pu.mixup, ", whose mixed crops pass through the network a second time: on the CPU "
                    "only in this version. Use --device cpu, or mixup 0.");
}

std::unique_ptr<Stepper> make_card_stepper(const StepperParts& parts, std::shared_ptr<const Card> card) {
  return std::make_unique<CardStepper>(parts, std::move(card));
}

}  // namespace voxgrad::app
