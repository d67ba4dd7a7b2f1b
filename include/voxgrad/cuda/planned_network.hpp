// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What the engines of all networks share: the layers, their weights on the device, the program that uses them.

#include <span>
#include <string_view>
#include <utility>

#include "voxgrad/cuda/engines.hpp"
#include "voxgrad/cuda/kernels/convert.hpp"
#include "voxgrad/cuda/parameters.hpp"
#include "voxgrad/cuda/pass_counters.hpp"
#include "voxgrad/cuda/program.hpp"

namespace voxgrad::cuda {

/// Interface: one of engines.hpp. Layers: names and places of a network's parameters, made from its shape.
template <class Interface, class Layers, class Device, class E>
class PlannedNetwork : public Interface {
 public:
  void put(std::string_view name, std::span<const float> values, Part part) override {
    if (!counters_.put(name, values)) weights_.upload(name, values, part);
  }
  void get(std::string_view name, std::span<float> values, Part part) override {
    if (!counters_.get(name, values)) weights_.download(name, values, part);
  }
  size_t weight_bytes() const override { return weights_.bytes(); }
  size_t arena_bytes() const override { return program_.arena_bytes() + program_.persistent_bytes(); }
  void wait() override { device_.synchronize(); }
  Parameters<Device, E>& weights() { return weights_; }

 protected:
  /// gradients, moments: as of Parameters.
  template <class Shape>
  PlannedNetwork(Device& device, const Shape& shape, bool gradients, int moments)
      : device_(device), net_(shape), weights_(device, net_.learnable, net_.buffers, gradients, moments), counters_(net_.counters), program_(device) {}

  /// n values of f32 input in working precision.
  Value rounded(Value x, int64_t n) {
    if constexpr (std::is_same_v<E, float>) {
      return x;
    } else {
      const Value to = program_.transient("x in working precision", size_t(n) * sizeof(E));
      convert(x, to, n);
      return to;
    }
  }
  void convert(Value x, Value to, int64_t n) {
    program_.template launch<Convert<float, E>>({x, to}, [p = &program_, x, to, n] {
      return typename Convert<float, E>::Args{n, p->template at<float>(x), p->template at<E>(to), 1};
    });
  }

  Device& device_;
  Layers net_;
  Parameters<Device, E> weights_;
  PassCounters counters_;
  Program<Device> program_;
};

/// Arrays that an optimiser keeps beside the weights.
constexpr int moments_of(OptimizerKind kind) { return kind == OptimizerKind::adam ? 2 : 1; }

}  // namespace voxgrad::cuda
