// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Stochastic gradient descent with momentum, as PyTorch computes it.

#include "voxgrad/kernels/adam.hpp"
#include "voxgrad/nn/module.hpp"

namespace voxgrad::optim {

struct SgdOptions {
  double lr = 1e-2, momentum = 0, weight_decay = 0;
  bool nesterov = false;
};

class Sgd {
 public:
  explicit Sgd(std::vector<nn::Named> parameters, const SgdOptions& wanted = {})
      : options(wanted), parameters_(std::move(parameters)), buffers_(parameters_.size()) {}

  /// One step from the parameters' gradients; a parameter without one is left alone. Clears the gradients.
  void step() {
    for (size_t i = 0; i < parameters_.size(); ++i) {
      Tensor& p = *parameters_[i].tensor;
      if (!p.grad().defined()) continue;
      const bool first = !buffers_[i].defined();
      if (first && options.momentum != 0) buffers_[i] = Tensor(p.shape(), p.dtype(), p.device());
      const kernels::SgdProblem problem{p.dtype(), p.size(), options.lr, options.momentum, options.weight_decay,
                                        options.nesterov, first};
      kernels::optim.at(p.device()).sgd(problem, p.raw(), p.grad().raw(), buffers_[i].defined() ? buffers_[i].raw() : nullptr);
      p.touch();
      p.clear_grad();
    }
  }

  const std::vector<nn::Named>& parameters() const { return parameters_; }
  /// Momentum buffer of parameter i; undefined before its first step.
  Tensor& buffer(size_t i) { return buffers_[i]; }

  SgdOptions options;

 private:
  std::vector<nn::Named> parameters_;
  std::vector<Tensor> buffers_;
};

}  // namespace voxgrad::optim
