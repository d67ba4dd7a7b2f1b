// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Module: named parameters and buffers in the order they were registered, and a train/eval switch.

#include <functional>
#include <string>

#include "voxgrad/core/tensor.hpp"

namespace voxgrad::nn {

struct Named {
  std::string name;
  Tensor* tensor;
  bool learnable;  ///< a parameter; otherwise a buffer such as a running mean
};

/// Base of layers and networks. Members register themselves by address, so a module is neither copied nor moved.
class Module {
 public:
  Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;
  virtual ~Module() = default;

  /// Parameters and buffers of this module and its children, names joined by dots, in registration order.
  std::vector<Named> state() {
    std::vector<Named> all;
    collect("", all);
    return all;
  }
  /// Learnable tensors only, in the same order; this is the optimiser's numbering.
  std::vector<Named> parameters() {
    std::vector<Named> all = state();
    std::erase_if(all, [](const Named& n) { return !n.learnable; });
    return all;
  }
  int64_t parameter_count() {
    int64_t count = 0;
    for (const Named& n : parameters()) count += n.tensor->size();
    return count;
  }

  bool training() const { return training_; }
  void train(bool on = true) {
    training_ = on;
    for (auto& [name, child] : children_) child->train(on);
  }
  void eval() { train(false); }

  /// Replaces every parameter and buffer by a copy in another floating type.
  void to(DType dtype) {
    for (const Named& n : state()) *n.tensor = n.tensor->to(dtype).set_requires_grad(n.learnable);
  }
  void clear_gradients() {
    for (const Named& n : parameters()) n.tensor->clear_grad();
  }

 protected:
  void parameter(std::string name, Tensor& t) {
    t.set_requires_grad();
    own_.push_back({std::move(name), &t, true});
  }
  void buffer(std::string name, Tensor& t) { own_.push_back({std::move(name), &t, false}); }
  /// A child whose names appear as if they were this module's own.
  void inline_child(Module& m) { children_.emplace_back(std::string(), &m); }
  void child(std::string name, Module& m) { children_.emplace_back(std::move(name), &m); }

 private:
  void collect(const std::string& prefix, std::vector<Named>& all) {
    for (const Named& n : own_) all.push_back({prefix + n.name, n.tensor, n.learnable});
    for (auto& [name, m] : children_) m->collect(name.empty() ? prefix : prefix + name + ".", all);
  }

  std::vector<Named> own_;
  std::vector<std::pair<std::string, Module*>> children_;
  bool training_ = true;
};

/// Copies values by name. Missing, unexpected and misshapen names are reported together in one ShapeError.
/// `find` returns an undefined tensor for a name it does not have.
inline void load_state(Module& module, const std::function<Tensor(const std::string&)>& find,
                       const std::vector<std::string>& available) {
  std::vector<std::string> problems;
  std::vector<std::pair<Tensor*, Tensor>> copies;
  std::vector<Named> state = module.state();
  for (const Named& n : state) {
    const Tensor t = find(n.name);
    if (!t.defined()) problems.push_back(text("'", n.name, "' is missing"));
    else if (!(t.shape() == n.tensor->shape()))
      problems.push_back(text("'", n.name, "' is [", t.shape(), "], the network needs [", n.tensor->shape(), "]"));
    else copies.emplace_back(n.tensor, t);
  }
  for (const std::string& name : available) {
    bool known = false;
    for (const Named& n : state) known = known || n.name == name;
    if (!known) problems.push_back(text("'", name, "' is not part of the network"));
  }
  if (!problems.empty()) {
    std::string message = text("weights do not fit the network: ", problems[0]);
    for (size_t i = 1; i < problems.size() && i < 3; ++i) message += "; " + problems[i];
    if (problems.size() > 3) message += text("; and ", problems.size() - 3, " more");
    throw ShapeError(message);
  }
  for (auto& [to, from] : copies) {
    const bool learnable = to->requires_grad();
    *to = from.to(to->dtype());
    if (learnable) to->set_requires_grad();
  }
}

}  // namespace voxgrad::nn
