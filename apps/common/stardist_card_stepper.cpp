// SPDX-License-Identifier: BSD-3-Clause
// StarDist's training steps on a card (stardist_stepper.hpp).
#include <cmath>
#include <utility>

#include "stardist_card_inference.hpp"
#include "stardist_stepper.hpp"
#include "voxgrad/autograd/backward.hpp"

namespace voxgrad::app {
namespace {

const float* data_of(const Tensor& t) { return t.defined() ? t.span<float>().data() : nullptr; }

cuda::StarDist3dTrainingOptions options_of(const StarDistStepperParts& parts) {
  const models::StarDistLossOptions l = stardist_loss_options(parts.config);
  const optim::AdamOptions& a = parts.optimizer.options;
  cuda::StarDist3dTrainingOptions o{.net = shape_of(parts.net.options()),
                                    .batch = parts.config.train_batch_size,
                                    .crop = parts.config.train_patch_size,
                                    .losses = parts.risk ? cuda::StarDistLosses::host_object : cuda::StarDistLosses::device,
                                    .prob_weight = l.prob_weight,
                                    .dist_weight = l.dist_weight,
                                    .background_reg = l.background_reg,
                                    .prob_class_weight = l.prob_class_weight,
                                    .dist_loss = l.dist_loss,
                                    .class_weights = l.class_weights,
                                    .dropout_seed = parts.net.dropout_seed()};
  cuda::OptimizerSettings& s = o.settings;
  s.lr = a.lr, s.beta1 = a.beta1, s.beta2 = a.beta2, s.eps = a.eps, s.weight_decay = a.weight_decay;
  s.decoupled = a.decoupled, s.epsilon_hat = a.epsilon_hat;
  return o;
}

void check_memory(const Card& card, cuda::StarDist3dTrainingOptions o) {
  const uint64_t bytes = cuda::stardist3d_training_bytes(card.precision, o), free = card.free_memory();
  if (bytes <= free) return;
  const int64_t batch = o.batch, most = most_that_fit(batch - 1, [&](int64_t n) {
    o.batch = n;
    return cuda::stardist3d_training_bytes(card.precision, o) <= free;
  });
  throw DeviceError(text(card.name, ": a training step on ", batch, batch == 1 ? " patch" : " patches", " of ", o.crop[0], "x", o.crop[1], "x",
                         o.crop[2], " needs ", gib_text(bytes), " of the card's memory, ", gib_text(free), " is free. ",
                         most > 0 ? text("--batch-size ", most, " fits.") : "Not even one patch fits: use smaller ones (--patch-size), or free the card."));
}

class CardStepper final : public StarDistStepper {
 public:
  CardStepper(const StarDistStepperParts& parts, std::shared_ptr<const Card> card)
      : parts_(parts), card_(std::move(card)), options_(options_of(parts)), inference_(card_, parts.net) {
    check_memory(*card_, options_);
    engine_ = card_->stardist_training(options_);
    put();
  }

  void step(const stardist::PatchBatch& batch, double rate) override {
    const models::StarDistTargets targets(batch.prob, batch.dist, batch.prob_class);
    const cuda::StarDistBatch from{data_of(batch.input), data_of(targets.prob), data_of(targets.dist), data_of(targets.weight()), data_of(targets.prob_class)};
    fetched_ = false;
    if (parts_.risk) return step_by_host(from, batch, rate);
    set_rate(rate);
    engine_->step(from);
    if (++waiting_ == losses_at_once) collect();
  }

  std::vector<StarDistStep> results(bool all) override {
    if (all) collect();
    return std::exchange(results_, {});
  }

  models::StarDistMaps maps(const Tensor& input) override {
    fetch();
    return inference_(input);
  }

  void fetch() override {
    if (std::exchange(fetched_, true)) return;
    collect();
    for (const nn::Named& n : parts_.net.state()) engine_->get(n.name, n.tensor->mutable_span<float>());
    for (const nn::Named& n : parts_.optimizer.state()) {
      const auto [name, part] = moment_of(n.name);
      engine_->get(name, n.tensor->mutable_span<float>(), part);
    }
    numbers_ = engine_->state();
    parts_.optimizer.set_step_count(numbers_.step);
    parts_.net.set_training_passes(engine_->training_passes());
    inference_.changed();
  }

  void restore(const Metadata& metadata) override {
    collect();
    put();
    if (restore_loss_scale(metadata, numbers_)) engine_->restore(numbers_);
  }

  Metadata state() const override { return card_metadata(*card_, &numbers_); }

 private:
  void step_by_host(const cuda::StarDistBatch& from, const stardist::PatchBatch& batch, double rate) {
    Tensor logit(batch.prob.shape());
    const cuda::StarDistStepLoss others = engine_->forward(from, {logit.mutable_span<float>().data()});
    logit.set_requires_grad();
    LossOutcome outcome = (*parts_.risk)(probability_batch(logit, batch), true);
    const double prob = outcome.loss.item();
    StarDistStep made{options_.prob_weight * prob + double(others.total), prob, double(others.dist)};
    if (options_.net.classes > 0) made.prob_class = double(others.prob_class);
    made.terms = std::move(outcome.terms);
    const bool step = std::isfinite(made.total) && !outcome.skipped;
    results_.push_back(std::move(made));
    if (!step) return;
    backward(outcome.loss * options_.prob_weight);
    set_rate(rate * outcome.rate);
    engine_->finish({logit.grad().span<float>().data()});
  }

  void collect() {
    if (waiting_ == 0) return;
    for (const cuda::StarDistStepLoss& l : engine_->losses(std::exchange(waiting_, 0))) {
      results_.push_back({double(l.total), double(l.prob), double(l.dist)});
      if (options_.net.classes > 0) results_.back().prob_class = double(l.prob_class);
    }
  }

  void set_rate(double rate) {
    if (rate == options_.settings.lr) return;
    options_.settings.lr = rate;
    engine_->set(options_.settings);
  }

  /// Network and optimiser as they are.
  void put() {
    for (const nn::Named& n : parts_.net.state()) engine_->put(n.name, n.tensor->span<float>());
    for (const nn::Named& n : parts_.optimizer.state()) {
      const auto [name, part] = moment_of(n.name);
      engine_->put(name, n.tensor->span<float>(), part);
    }
    cuda::OptimizerSettings settings = options_.settings;
    settings.dynamic_scale = card_->precision == cuda::Precision::f16;
    numbers_ = cuda::optimizer_state(settings, parts_.optimizer.step_count());
    engine_->restore(numbers_);
    engine_->set_training_passes(parts_.net.training_passes());
    fetched_ = true;
    inference_.changed();
  }

  StarDistStepperParts parts_;
  std::shared_ptr<const Card> card_;
  cuda::StarDist3dTrainingOptions options_;
  std::unique_ptr<cuda::StarDist3dTraining> engine_;
  StarDistCardInference inference_;
  cuda::OptimizerState numbers_;  ///< as of the last fetch
  std::vector<StarDistStep> results_;
  int64_t waiting_ = 0;  ///< losses still on the card
  bool fetched_ = true;
};

}  // namespace

std::unique_ptr<StarDistStepper> make_card_stepper(const StarDistStepperParts& parts, std::shared_ptr<const Card> card) {
  return std::make_unique<CardStepper>(parts, std::move(card));
}

}  // namespace voxgrad::app
