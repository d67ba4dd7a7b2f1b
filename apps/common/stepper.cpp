// SPDX-License-Identifier: BSD-3-Clause
#include "stepper.hpp"

#include <cmath>
#include <utility>

namespace voxgrad::app {
namespace {

class CpuStepper final : public Stepper {
 public:
  explicit CpuStepper(const StepperParts& parts) : parts_(parts) {}

  void step(LossBatch batch) override {
    parts_.net.train();
    LossOutcome outcome = parts_.loss.gradient(parts_.net, std::move(batch));
    const double value = outcome.loss.item();
    results_.push_back({value, std::move(outcome.terms)});
    if (!std::isfinite(value) || outcome.skipped) return;
    const double rate = parts_.optimizer.learning_rate();
    parts_.optimizer.set_learning_rate(rate * outcome.rate);
    parts_.optimizer.step();
    parts_.optimizer.set_learning_rate(rate);
  }
  Holding hold(std::shared_ptr<const data::CropSource>, const data::LoaderOptions&) override { return {}; }
  void step_held(int64_t, int64_t) override { throw Error("the cpu holds no training set"); }
  std::vector<StepResult> results(bool) override { return std::exchange(results_, {}); }
  Tensor logits(const Tensor& input) override {
    NoGrad no_grad;
    parts_.net.eval();
    return parts_.net.logits(input);
  }
  double validation_loss(LossBatch batch) override {
    parts_.net.eval();
    return parts_.loss.of(parts_.net, std::move(batch)).loss.item();
  }
  void fetch() override {}
  void changed() override {}
  Metadata state() const override { return {{"device", "cpu"}}; }
  void restore(const Metadata&) override {}

 private:
  StepperParts parts_;
  std::vector<StepResult> results_;
};

}  // namespace

std::unique_ptr<Stepper> make_cpu_stepper(const StepperParts& parts) { return std::make_unique<CpuStepper>(parts); }

}  // namespace voxgrad::app
