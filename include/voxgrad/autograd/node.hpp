// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Node: how one tensor was computed, and how a gradient of it becomes gradients of its inputs.
// An output owns its node, a node owns the nodes of its inputs, nothing points forward: there are no cycles.

#include <atomic>
#include <functional>

#include "voxgrad/core/tensor.hpp"

namespace voxgrad {

/// Where the gradient of one input goes: to the node that computed it, or to a leaf. Values are not kept alive;
/// a backward function saves what it reads.
struct Edge {
  explicit Edge(const Tensor& t) : shape(t.shape()), dtype(t.dtype()), node(t.node()) {
    if (!node && t.requires_grad()) leaf = t;
  }
  bool wanted() const { return node || leaf.defined(); }

  Shape shape;
  DType dtype;
  std::shared_ptr<Node> node;
  Tensor leaf;
};

class Grads;

class Node {
 public:
  using Backward = std::function<void(const Tensor& dy, Grads& grads)>;

  Node(const char* op_name, std::vector<Edge> input_edges, Backward backward_function)
      : op(op_name), id(next_id()), inputs(std::move(input_edges)), backward(std::move(backward_function)) {}

  /// Releases chains of nodes in a loop: a graph may be deeper than the stack.
  ~Node() {
    std::vector<Edge> doomed = std::move(inputs);
    while (!doomed.empty()) {
      const std::shared_ptr<Node> node = std::move(doomed.back().node);
      doomed.pop_back();
      if (node && node.use_count() == 1) {
        for (Edge& e : node->inputs) doomed.push_back(std::move(e));
        node->inputs.clear();
      }
    }
  }
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  const char* const op;
  const uint64_t id;  ///< grows with creation: a consumer is always younger than its inputs
  std::vector<Edge> inputs;
  Backward backward;  ///< empty once consumed
  Tensor gradient;    ///< of the output, collected during a backward walk

 private:
  static uint64_t next_id() {
    static std::atomic<uint64_t> counter{0};
    return counter.fetch_add(1, std::memory_order_relaxed);
  }
};

/// Where a backward function puts the gradients of its inputs.
class Grads {
 public:
  explicit Grads(const std::vector<Edge>& edges) : edges_(edges), values_(edges.size()) {}
  /// False when nobody asked for input i's gradient: skip computing it.
  bool wanted(size_t i) const { return edges_[i].wanted(); }
  /// The gradient of input i that its other consumers have left so far, undefined if none. An op may add its own part
  /// in place (and call touch()) instead of set(i), when the memory is unique().
  Tensor* collected(size_t i) const {
    Tensor* const gradient = edges_[i].node ? &edges_[i].node->gradient : nullptr;
    return gradient && gradient->defined() ? gradient : nullptr;
  }
  /// Gives input i's gradient: same shape and dtype as the input.
  void set(size_t i, Tensor gradient) {
    check<ShapeError>(gradient.shape() == edges_[i].shape && gradient.dtype() == edges_[i].dtype,
                      "backward: gradient of input ", i, " is ", gradient.shape(), ", the input is ", edges_[i].shape);
    values_[i] = std::move(gradient);
  }
  size_t size() const { return edges_.size(); }
  Tensor take(size_t i) { return std::exchange(values_[i], Tensor()); }

 private:
  const std::vector<Edge>& edges_;
  std::vector<Tensor> values_;
};

/// A value kept for backward. It holds no graph, and it notices when the memory was changed in between.
class Saved {
 public:
  Saved() = default;
  explicit Saved(const Tensor& t) : tensor_(t.defined() ? t.detach() : t), version_(t.defined() ? t.version() : 0) {}
  /// The saved tensor; an Error names the op when it was written to since.
  const Tensor& get(const char* op) const {
    check(!tensor_.defined() || tensor_.version() == version_, op,
          ": a tensor saved for backward was changed in place before backward ran");
    return tensor_;
  }

 private:
  Tensor tensor_;
  uint64_t version_ = 0;
};

}  // namespace voxgrad
