// SPDX-License-Identifier: BSD-3-Clause
#include "losses.hpp"

#include <algorithm>

#include "voxgrad/ops/loss.hpp"
#include "voxgrad/pu/registry.hpp"

namespace voxgrad::app {
namespace {

pu::RiskOptions risk_options(const PuConfig& c) {
  pu::RiskOptions o;
  o.prior = c.prior;
  o.surrogate = pu::surrogate_by_name(c.surrogate);
  o.beta = c.beta;
  o.gamma = c.gamma;
  if (c.prior_prime > 0) o.prior_prime = c.prior_prime;
  o.scenario = c.scenario == "case_control" ? pu::Scenario::case_control : pu::Scenario::single_set;
  return o;
}

/// With random crops in the batch, they alone are the sample of everything; the crops cut around events only add positives.
pu::Labels labels_of(const Tensor& target, const std::vector<bool>& centred, const PuConfig& c) {
  const pu::Labels labels(target);
  const bool mixed = std::find(centred.begin(), centred.end(), false) != centred.end() &&
                     std::find(centred.begin(), centred.end(), true) != centred.end();
  return mixed && c.population == "random" ? labels.with_centred(centred) : labels;
}

}  // namespace

std::vector<std::string> loss_names() {
  std::vector<std::string> names{"mse", "bce"};
  for (const auto& [name, risk] : pu::risks()) names.push_back(name);
  return names;
}

LossFunction make_loss(const TrainingConfig& config) {
  const std::string& name = config.loss;
  if (name == "mse")
    return [](const Tensor& z, const Tensor& t, const std::vector<bool>&) { return LossOutcome{mse_with_logits_loss(z, t)}; };
  if (name == "bce")
    return [](const Tensor& z, const Tensor& t, const std::vector<bool>&) { return LossOutcome{bce_with_logits_loss(z, t)}; };
  const auto risk = pu::risks().find(name);
  if (risk == pu::risks().end()) {
    std::string names;
    for (const std::string& known : loss_names()) names += (names.empty() ? "" : ", ") + known;
    throw UsageError(text("loss '", name, "' is not one of ", names, "."));
  }
  check<UsageError>(!risk->second.needs_prior || config.pu.prior > 0, "loss ", name, " needs the class prior, the share of voxels that ",
                    "are positive: --prior, or training_config.pu.prior. Count an audit of random crops, or estimate it (docs/pu.md).");
  const pu::Objective objective = pu::risk_by_name(name, risk_options(config.pu));
  return [objective, pu = config.pu](const Tensor& z, const Tensor& t, const std::vector<bool>& centred) {
    const pu::Result r = objective(z, labels_of(t, centred, pu));
    LossOutcome out{r.loss};
    out.terms.push_back({"objective", r.objective});
    out.terms.push_back({"corrected", r.corrected() ? 1.0 : 0.0});
    for (const pu::Noted& n : r.outcomes.front().notes) out.terms.push_back({n.name, n.value});
    return out;
  };
}

NetworkLoss make_network_loss(const TrainingConfig& config) {
  if (config.loss == "mse")
    return [](models::UNet3d& net, const Tensor& x, const Tensor& t, const std::vector<bool>&) {
      return LossOutcome{net.loss<kernels::MseWithLogits>(x, t)};
    };
  if (config.loss == "bce")
    return [](models::UNet3d& net, const Tensor& x, const Tensor& t, const std::vector<bool>&) {
      return LossOutcome{net.loss<kernels::BceWithLogits>(x, t)};
    };
  return [loss = make_loss(config)](models::UNet3d& net, const Tensor& x, const Tensor& t, const std::vector<bool>& centred) {
    return loss(net.logits(x), t, centred);
  };
}

}  // namespace voxgrad::app
