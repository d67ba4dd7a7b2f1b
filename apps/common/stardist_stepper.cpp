// SPDX-License-Identifier: BSD-3-Clause
#include "stardist_stepper.hpp"

#include <cmath>
#include <utility>

#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/autograd/record.hpp"

namespace voxgrad::app {
namespace {

class CpuStepper final : public StarDistStepper {
 public:
  explicit CpuStepper(const StarDistStepperParts& parts) : parts_(parts) {}

  void step(const stardist::PatchBatch& batch, double rate) override {
    parts_.net.train();
    LossOutcome outcome;
    const models::StarDistLoss loss = stardist_batch_loss(parts_, parts_.net(batch.input), batch, true, &outcome);
    StarDistStep made{loss.total.item(), loss.prob.item(), loss.dist.item()};
    if (loss.prob_class.defined()) made.prob_class = loss.prob_class.item();
    made.terms = std::move(outcome.terms);
    const bool step = std::isfinite(made.total) && !outcome.skipped;
    results_.push_back(std::move(made));
    if (!step) return;
    backward(loss.total);
    parts_.optimizer.set_learning_rate(rate * outcome.rate);
    parts_.optimizer.step();
  }
  std::vector<StarDistStep> results(bool) override { return std::exchange(results_, {}); }
  models::StarDistMaps maps(const Tensor& input) override {
    NoGrad no_grad;
    parts_.net.eval();
    return parts_.net(input);
  }
  void fetch() override {}
  void restore(const Metadata&) override {}
  Metadata state() const override { return {{"device", "cpu"}}; }

 private:
  StarDistStepperParts parts_;
  std::vector<StarDistStep> results_;
};

}  // namespace

models::StarDistLossOptions stardist_loss_options(const StarDistConfig& c) {
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

models::StarDistLoss stardist_batch_loss(const StarDistStepperParts& parts, const models::StarDistMaps& maps, const stardist::PatchBatch& batch,
                                         bool training, LossOutcome* outcome) {
  const models::StarDistTargets targets(batch.prob, batch.dist, batch.prob_class);
  const models::StarDistLossOptions o = stardist_loss_options(parts.config);
  if (!parts.risk) return models::stardist_losses(maps, targets, o);
  models::StarDistLoss loss;
  LossOutcome of_risk = (*parts.risk)(probability_batch(maps.logit, batch), training);
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

std::unique_ptr<StarDistStepper> make_cpu_stepper(const StarDistStepperParts& parts) { return std::make_unique<CpuStepper>(parts); }

}  // namespace voxgrad::app
