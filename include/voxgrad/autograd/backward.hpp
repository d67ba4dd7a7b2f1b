// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// backward(): the walk from a loss to the leaves.

#include <queue>

#include "voxgrad/autograd/record.hpp"
#include "voxgrad/kernels/concat.hpp"

namespace voxgrad {

/// into += g. The first gradient is taken by handle; memory that others may see is never written.
inline void accumulate(Tensor& into, const Tensor& g) {
  if (!into.defined()) {
    into = g;
    return;
  }
  if (!into.unique()) into = into.clone();
  kernels::memory.at(into.device()).axpy(into.dtype(), into.size(), 1.0, g.raw(), into.raw());
  into.touch();
}

/// Adds d(loss)/d(leaf) into the grad() of every leaf that wants it. `dy` is the gradient of `y` (1 for a scalar).
/// Nodes are taken by falling number: a consumer is younger than its inputs, so no recursion and no counting, and
/// sums have the same order every time. The graph is consumed unless `keep_graph`.
inline void backward(const Tensor& y, Tensor dy = Tensor(), bool keep_graph = false) {
  check(y.requires_grad(), "backward: this value was not computed from anything that requires a gradient");
  if (!dy.defined()) {
    check<ShapeError>(y.size() == 1, "backward: y is ", y.shape(), ", not one value; give its gradient dy");
    dy = Tensor::full(y.shape(), 1, y.dtype());
  }
  check<ShapeError>(dy.shape() == y.shape() && dy.dtype() == y.dtype(), "backward: dy is ", dy.shape(), ", y is ", y.shape());

  NoGrad no_grad;  // second derivatives are not supported
  const auto younger = [](const auto& a, const auto& b) { return a->id < b->id; };
  std::priority_queue<std::shared_ptr<Node>, std::vector<std::shared_ptr<Node>>, decltype(younger)> ready(younger);
  const auto deliver = [&](const Edge& to, const Tensor& gradient) {
    if (to.node) {
      if (!to.node->gradient.defined()) ready.push(to.node);
      accumulate(to.node->gradient, gradient);
    } else {
      // Many ops hand dy on as it is: a leaf's gradient is its own memory, so that callers may change it in place.
      Tensor& grad = to.leaf.mutable_grad();
      accumulate(grad, grad.defined() || gradient.unique() ? gradient : gradient.clone());
    }
  };

  struct Forget {  // after an error, a gradient left in a node would silence that node for good
    decltype(ready)& nodes;
    ~Forget() {
      for (; !nodes.empty(); nodes.pop()) nodes.top()->gradient = Tensor();
    }
  } forget{ready};
  deliver(Edge(y), dy);
  dy = Tensor();
  while (!ready.empty()) {
    const std::shared_ptr<Node> node = ready.top();
    ready.pop();
    const Tensor gradient = std::exchange(node->gradient, Tensor());
    check(node->backward != nullptr, "backward: the graph of ", node->op,
          " was consumed by an earlier call; pass keep_graph to walk it twice");
    Grads grads(node->inputs);
    node->backward(gradient, grads);
    for (size_t i = 0; i < node->inputs.size(); ++i)
      if (const Tensor g = grads.take(i); g.defined()) deliver(node->inputs[i], g);
    if (!keep_graph) {
      node->backward = nullptr;
      node->inputs.clear();
    }
  }
}

}  // namespace voxgrad
