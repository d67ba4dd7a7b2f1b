// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Stochastic gradient descent with momentum, as PyTorch computes it.

#include "voxgrad/core/trace.hpp"
#include "voxgrad/kernels/adam.hpp"
#include "voxgrad/optim/optimizer.hpp"

namespace voxgrad::optim {

struct SgdOptions {
  double lr = 1e-2, momentum = 0, weight_decay = 0;
  bool nesterov = false;
};

class Sgd : public Optimizer {
 public:
  explicit Sgd(std::vector<nn::Named> parameters, const SgdOptions& wanted = {})
      : options(wanted), parameters_(std::move(parameters)) {
    if (options.momentum == 0) return;
    for (const nn::Named& n : parameters_) buffers_.push_back(Tensor::zeros(n.tensor->shape(), n.tensor->dtype()));
  }

  void step() override {
    TraceScope trace("sgd", "step", {}, {});
    for (size_t i = 0; i < parameters_.size(); ++i) {
      Tensor& p = *parameters_[i].tensor;
      if (!p.grad().defined()) continue;
      const kernels::SgdProblem problem{p.dtype(), p.size(), options.lr, options.momentum, options.weight_decay,
                                        options.nesterov, step_ == 0};
      kernels::optim.at(p.device()).sgd(problem, p.raw(), p.grad().raw(), buffers_.empty() ? nullptr : buffers_[i].raw());
      p.touch();
      p.clear_grad();
    }
    ++step_;
  }

  double learning_rate() const override { return options.lr; }
  void set_learning_rate(double rate) override { options.lr = rate; }
  int64_t step_count() const override { return step_; }
  void set_step_count(int64_t step) override { step_ = step; }
  std::vector<nn::Named> state() override {
    std::vector<nn::Named> all;
    for (size_t i = 0; i < buffers_.size(); ++i) all.push_back({"momentum/" + parameters_[i].name, &buffers_[i], false});
    return all;
  }

  SgdOptions options;

 private:
  std::vector<nn::Named> parameters_;
  std::vector<Tensor> buffers_;
  int64_t step_ = 0;
};

}  // namespace voxgrad::optim
