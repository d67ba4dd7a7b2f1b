// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// record(): attaches a backward function to an op's output. NoGrad: switches recording off in a scope.

#include "voxgrad/autograd/node.hpp"

namespace voxgrad {

inline bool& grad_mode() {
  thread_local bool enabled = true;
  return enabled;
}

/// While alive, ops of this thread record nothing.
class NoGrad {
 public:
  NoGrad() : before_(std::exchange(grad_mode(), false)) {}
  ~NoGrad() { grad_mode() = before_; }
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool before_;
};

/// True when an op on these inputs must remember what its backward needs.
inline bool recording(std::span<const Tensor> inputs) {
  if (!grad_mode()) return false;
  for (const Tensor& t : inputs)
    if (t.defined() && t.requires_grad()) return true;
  return false;
}

/// Returns y, with a node when gradients are wanted. `backward(dy, grads)` sets the wanted input gradients.
/// Capture what backward reads as Saved values, never as Tensors of the graph.
template <class Backward>
Tensor record(const char* op, Tensor y, std::span<const Tensor> inputs, Backward&& backward) {
  if (recording(inputs)) {
    std::vector<Edge> edges;
    edges.reserve(inputs.size());
    for (const Tensor& t : inputs) edges.emplace_back(t);
    y.set_node(std::make_shared<Node>(op, std::move(edges), std::forward<Backward>(backward)));
  }
  return y;
}
template <class Backward>
Tensor record(const char* op, Tensor y, std::initializer_list<Tensor> inputs, Backward&& backward) {
  return record(op, std::move(y), std::span<const Tensor>(inputs.begin(), inputs.size()), std::forward<Backward>(backward));
}

}  // namespace voxgrad
