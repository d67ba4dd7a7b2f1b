// SPDX-License-Identifier: BSD-3-Clause
// How a loss meets a network: whole batches or a few crops at a time, Dist-PU's schedule, and mixup.

#include <algorithm>
#include <cmath>

#include "losses.hpp"
#include "voxgrad/autograd/backward.hpp"
#include "voxgrad/autograd/record.hpp"

namespace voxgrad::app {
namespace {

/// Volumes [first, first + count), in the same memory.
Tensor volumes(const Tensor& x, int64_t first, int64_t count) {
  Shape shape = x.shape();
  const int64_t each = x.size() / shape[0];
  shape.set(0, count);
  return x.view(shape, first * each);
}

/// Calls part(first, count) for all of n volumes, `most` at a time.
template <class F>
void in_parts(int64_t n, int64_t most, F&& part) {
  for (int64_t first = 0; first < n; first += most) part(first, std::min(most, n - first));
}

/// Keeps what a forward pass in training moves beside its output (running means of batch norm), and puts it back.
class KeptBuffers {
 public:
  explicit KeptBuffers(nn::Module& net) {
    for (const nn::Named& n : net.state())
      if (!n.learnable) kept_.emplace_back(n.tensor, n.tensor->clone());
  }
  ~KeptBuffers() {
    for (auto& [tensor, value] : kept_) *tensor = value;
  }
  KeptBuffers(const KeptBuffers&) = delete;
  KeptBuffers& operator=(const KeptBuffers&) = delete;

 private:
  std::vector<std::pair<Tensor*, Tensor>> kept_;
};

/// Logits of all crops, without a graph.
Tensor logits_in_parts(models::UNet3d& net, const Tensor& input, int64_t most) {
  NoGrad no_grad;
  Shape shape = input.shape();
  shape.set(-1, net.options().out_channels);
  Tensor all(shape, input.dtype());
  in_parts(shape[0], most, [&](int64_t first, int64_t count) {
    const auto z = net.logits(volumes(input, first, count));
    const auto from = z.span<float>();
    std::copy(from.begin(), from.end(), all.mutable_span<float>().begin() + std::ptrdiff_t(first * (all.size() / shape[0])));
  });
  return all;
}

double& term(LossOutcome& outcome, const std::string& name) {
  for (LossTerm& t : outcome.terms)
    if (t.name == name) return t.value;
  outcome.terms.push_back({name, 0});
  return outcome.terms.back().value;
}

}  // namespace

void Loss::check_mixup() const {
  const std::string pu = "training_config.pu.";
  check<UsageError>(config_.mixup == 0 || name_ == "dist_pu" || name_ == "vpu", pu, "mixup is ", config_.mixup, ", which loss ", name_,
                    " does not have; dist_pu and vpu do.");
  check<UsageError>(config_.entropy_ramp == 0 || name_ == "dist_pu", pu, "entropy_ramp is ", config_.entropy_ramp, ", which loss ", name_,
                    " does not have; dist_pu does.");
  check<UsageError>(config_.warmup == 0 || config_.mixup > 0 || config_.entropy_ramp > 0, pu, "warmup is ", config_.warmup,
                    " steps, but nothing waits for its end: ", pu, "mixup and ", pu, "entropy_ramp are 0.");
  check<UsageError>(config_.warmup == 0 || config_.warmup < steps_, pu, "warmup is ", config_.warmup, " steps, and the training ends after ", steps_,
                    ": neither mixup nor the ramp would ever begin.");
}

/// Zhao et al. 2022: fixed at first, then a quarter of a cosine up. Validation losses have the first weight always, so that they compare.
double Loss::entropy_weight(const LossBatch& b, bool training) const {
  if (!training || config_.entropy_ramp == 0 || b.step < config_.warmup) return config_.entropy;
  const double done = double(b.step - config_.warmup) / double(std::max<int64_t>(1, steps_ - config_.warmup));
  return config_.entropy_ramp * (1 - std::cos(1.5707963267948966 * std::min(1.0, done)));
}

/// Without mixup. Of mse and bce no logits exist.
LossOutcome Loss::plain(models::UNet3d& net, LossBatch& b, bool training) {
  if (name_ == "mse") return {net.loss<kernels::MseWithLogits>(b.input, b.target)};
  if (name_ == "bce") return {net.loss<kernels::BceWithLogits>(b.input, b.target)};
  b.logits = net.logits(b.input);
  return (*this)(b, training);
}

LossOutcome Loss::of(models::UNet3d& net, LossBatch b) {
  NoGrad no_grad;
  if (!accumulates()) return plain(net, b, false);
  b.logits = logits_in_parts(net, b.input, config_.micro_batch);
  return (*this)(b, false);
}

/// Every step draws its own mixture. Voxels count by their labels alone, wherever their crop was cut.
std::optional<Loss::Mixed> Loss::mix_crops(const LossBatch& b) const {
  if (b.step < config_.warmup) return std::nullopt;
  const bool vpu = name_ == "vpu";
  const double alpha = config_.mixup_alpha > 0 ? config_.mixup_alpha : vpu ? 0.3 : 6;
  Random random(b.seed, uint64_t(b.step) << 8 | 0x6d);
  const pu::Mixture m = pu::draw_mixture(b.input.shape()[0], alpha, random);
  const pu::Labels labels(b.target);
  return Mixed{pu::mix(b.input, m), vpu ? pu::vpu_targets(b.logits, labels, m) : pu::dist_pu_targets(b.logits, labels, m), m.lambda};
}

/// The loss of some of the mixed crops relative to all, and its numbers added to those of the outcome.
Tensor Loss::add_mixed(const Mixed& m, models::UNet3d& net, int64_t first, int64_t count, LossOutcome& outcome) const {
  const pu::MixedTargets targets = m.targets.part(first, count);
  const pu::Objective objective =
      name_ == "vpu" ? pu::vpu_mixup(targets, config_.mixup) : pu::dist_pu_mixup(targets, config_.mixup, config_.mixup_entropy);
  const pu::Result r = objective(net.logits(volumes(m.input, first, count)), targets.labels());
  for (const pu::Noted& n : r.outcomes.front().notes) term(outcome, n.name) += n.value;
  term(outcome, "objective") += r.objective;
  return r.loss;
}

LossOutcome Loss::gradient(models::UNet3d& net, LossBatch b) {
  const int64_t crops = b.input.shape()[0], most = accumulates() ? config_.micro_batch : crops;
  LossOutcome out;
  if (accumulates()) {
    {
      KeptBuffers kept(net);
      b.logits = logits_in_parts(net, b.input, most);
    }
    b.logits.set_requires_grad();
    out = (*this)(b, true);
  } else {
    out = plain(net, b, true);
  }
  if (config_.mixup > 0)  // every row of risk.csv has them
    for (const char* name : name_ == "vpu" ? std::vector{"lambda", "mixup"} : std::vector{"lambda", "mixup", "mixup_entropy"}) term(out, name) = 0;
  if (out.skipped) return out;
  backward(out.loss);
  if (accumulates()) {
    const Tensor dz = b.logits.grad();
    in_parts(crops, most, [&](int64_t first, int64_t count) {
      if (dz.defined()) backward(net.logits(volumes(b.input, first, count)), volumes(dz, first, count));
    });
  }
  if (config_.mixup == 0) return out;
  double value = out.loss.item();
  if (const std::optional<Mixed> m = mix_crops(b)) {
    term(out, "lambda") = m->lambda;
    in_parts(crops, most, [&](int64_t first, int64_t count) {
      const Tensor part = add_mixed(*m, net, first, count, out);
      value += part.item();
      backward(part);
    });
  }
  out.loss = Tensor::scalar(value, out.loss.dtype());
  return out;
}

}  // namespace voxgrad::app
