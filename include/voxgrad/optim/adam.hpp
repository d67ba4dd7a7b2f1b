// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Adam (Kingma & Ba 2015) and AdamW (Loshchilov & Hutter 2019), as PyTorch computes them.

#include <cmath>

#include "voxgrad/core/trace.hpp"
#include "voxgrad/kernels/adam.hpp"
#include "voxgrad/optim/optimizer.hpp"

namespace voxgrad::optim {

struct AdamOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double weight_decay = 0;
  bool decoupled = false;  ///< AdamW: decay the weights, not the gradient
  bool epsilon_hat = false;  ///< eps beside the root of v before its correction, as in Keras (the paper's epsilon hat)
};

class Adam : public Optimizer {
 public:
  explicit Adam(std::vector<nn::Named> parameters, const AdamOptions& wanted = {})
      : options(wanted), parameters_(std::move(parameters)) {
    for (const nn::Named& n : parameters_) {
      m_.push_back(Tensor::zeros(n.tensor->shape(), n.tensor->dtype()));
      v_.push_back(Tensor::zeros(n.tensor->shape(), n.tensor->dtype()));
    }
  }

  void step() override {
    ++step_;
    TraceScope trace("adam", "step", {}, {});
    const double eps = options.epsilon_hat ? options.eps / std::sqrt(1 - std::pow(options.beta2, double(step_))) : options.eps;
    for (size_t i = 0; i < parameters_.size(); ++i) {
      Tensor& p = *parameters_[i].tensor;
      if (!p.grad().defined()) continue;
      const kernels::AdamProblem problem{p.dtype(), p.size(), options.lr, options.beta1, options.beta2, eps,
                                         options.weight_decay, options.decoupled, step_};
      kernels::optim.at(p.device()).adam(problem, p.raw(), p.grad().raw(), m_[i].raw(), v_[i].raw());
      p.touch();
      p.clear_grad();
    }
  }

  double learning_rate() const override { return options.lr; }
  void set_learning_rate(double rate) override { options.lr = rate; }
  int64_t step_count() const override { return step_; }
  void set_step_count(int64_t step) override { step_ = step; }
  std::vector<nn::Named> state() override {
    std::vector<nn::Named> all;
    for (size_t i = 0; i < parameters_.size(); ++i) {
      all.push_back({"exp_avg/" + parameters_[i].name, &m_[i], false});
      all.push_back({"exp_avg_sq/" + parameters_[i].name, &v_[i], false});
    }
    return all;
  }
  /// First and second moment of parameter i.
  Tensor& first_moment(size_t i) { return m_[i]; }
  Tensor& second_moment(size_t i) { return v_[i]; }

  AdamOptions options;

 private:
  std::vector<nn::Named> parameters_;
  std::vector<Tensor> m_, v_;
  int64_t step_ = 0;
};

}  // namespace voxgrad::optim
