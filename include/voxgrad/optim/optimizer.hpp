// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What a training loop needs of any optimiser.

#include "voxgrad/nn/module.hpp"

namespace voxgrad::optim {

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// One step from the parameters' gradients, which are cleared; a parameter without one is left alone.
  virtual void step() = 0;
  virtual double learning_rate() const = 0;
  virtual void set_learning_rate(double rate) = 0;
  /// Tensors to keep in a checkpoint, named "<what>/<parameter>"; those of a fresh optimiser exist already.
  virtual std::vector<nn::Named> state() = 0;
  virtual int64_t step_count() const = 0;
  virtual void set_step_count(int64_t step) = 0;
};

}  // namespace voxgrad::optim
