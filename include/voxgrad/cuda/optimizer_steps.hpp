// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The end of a training step, as steps of a program: check of the gradients, numbers of the step, update of all parameters.

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "voxgrad/cuda/engines.hpp"
#include "voxgrad/cuda/kernels/adam.hpp"
#include "voxgrad/cuda/kernels/advance_step.hpp"
#include "voxgrad/cuda/parameters.hpp"
#include "voxgrad/cuda/program.hpp"

namespace voxgrad::cuda {

template <class Device, class E>
class OptimizerSteps {
 public:
  OptimizerSteps(Program<Device>& program, Parameters<Device, E>& weights)
      : program_(program), weights_(weights), state_(program.persistent("optimizer state", sizeof(OptimizerState))) {}

  /// The OptimizerState on the device, whose loss scale losses take.
  Value where() const { return state_; }

  void add(OptimizerKind kind, const OptimizerSettings& settings) {
    auto* const p = &program_;
    auto* const w = &weights_;
    const int64_t n = weights_.learnable().total();
    if constexpr (std::is_same_v<E, f16>)
      program_.template launch<NonFiniteCheck<float>>({state_}, [=, s = state_] { return NonFiniteCheck<float>::Args{n, w->gradients(), p->template at<OptimizerState>(s)}; });
    program_.template launch<AdvanceStep>({state_}, [=, s = state_] { return AdvanceStep::Args{p->template at<OptimizerState>(s)}; });
    E* working = nullptr;
    if constexpr (!std::is_same_v<E, float>) working = weights_.workings();
    if (kind == OptimizerKind::adam)
      program_.template launch<AdamArena<E>>({state_}, [=, s = state_] {
        return typename AdamArena<E>::Args{n, w->values(), w->gradients(), w->moments(0), w->moments(1), working, p->template at<OptimizerState>(s)};
      });
    else
      program_.template launch<SgdArena<E>>({state_}, [=, s = state_, momentum = settings.momentum] {
        return typename SgdArena<E>::Args{n, w->values(), w->gradients(), momentum == 0 ? nullptr : w->moments(0), working,
                                          p->template at<OptimizerState>(s)};
      });
  }

  /// Settings of the steps to come; `step`: how many were taken before, -1: as many as it counted.
  void set(OptimizerSettings settings, int64_t step) {
    settings.dynamic_scale = std::is_same_v<E, f16>;
    if (step < 0) {
      program_.device().upload(program_.at(state_), &settings, sizeof settings);
      return;
    }
    const OptimizerState fresh = optimizer_state(settings, step);
    program_.device().upload(program_.at(state_), &fresh, sizeof fresh);
  }
  /// The numbers of another engine or run, its loss scale included.
  void restore(OptimizerState state) {
    state.settings.dynamic_scale = std::is_same_v<E, f16>;
    program_.device().upload(program_.at(state_), &state, sizeof state);
  }
  OptimizerState state() const {
    OptimizerState s;
    program_.device().download(&s, program_.at(state_), sizeof s);
    return s;
  }

 private:
  Program<Device>& program_;
  Parameters<Device, E>& weights_;
  Value state_;
};

}  // namespace voxgrad::cuda
