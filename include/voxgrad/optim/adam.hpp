// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Adam (Kingma & Ba 2015) and AdamW (Loshchilov & Hutter 2019), as PyTorch computes them.

#include "voxgrad/core/trace.hpp"
#include "voxgrad/kernels/adam.hpp"
#include "voxgrad/nn/module.hpp"

namespace voxgrad::optim {

struct AdamOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double weight_decay = 0;
  bool decoupled = false;  ///< AdamW: decay the weights, not the gradient
};

class Adam {
 public:
  explicit Adam(std::vector<nn::Named> parameters, const AdamOptions& wanted = {})
      : options(wanted), parameters_(std::move(parameters)) {
    for (const nn::Named& n : parameters_) {
      m_.push_back(Tensor::zeros(n.tensor->shape(), n.tensor->dtype()));
      v_.push_back(Tensor::zeros(n.tensor->shape(), n.tensor->dtype()));
    }
  }

  /// One step from the parameters' gradients; a parameter without one is left alone. Clears the gradients.
  void step() {
    ++step_;
    TraceScope trace("adam", "step", {}, {});
    for (size_t i = 0; i < parameters_.size(); ++i) {
      Tensor& p = *parameters_[i].tensor;
      if (!p.grad().defined()) continue;
      const kernels::AdamProblem problem{p.dtype(), p.size(), options.lr, options.beta1, options.beta2, options.eps,
                                         options.weight_decay, options.decoupled, step_};
      kernels::optim.at(p.device()).adam(problem, p.raw(), p.grad().raw(), m_[i].raw(), v_[i].raw());
      p.touch();
      p.clear_grad();
    }
  }

  int64_t step_count() const { return step_; }
  void set_step_count(int64_t step) { step_ = step; }
  const std::vector<nn::Named>& parameters() const { return parameters_; }
  /// First and second moment of parameter i, for checkpoints.
  Tensor& first_moment(size_t i) { return m_[i]; }
  Tensor& second_moment(size_t i) { return v_[i]; }

  AdamOptions options;

 private:
  std::vector<nn::Named> parameters_;
  std::vector<Tensor> m_, v_;
  int64_t step_ = 0;
};

}  // namespace voxgrad::optim
