// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A network's last convolution with the loss of its outputs, as one op: forward and backward each read the block below
// once, finish its values while loading, and never write logits.

#include "voxgrad/kernels/head_loss.hpp"
#include "voxgrad/ops/conv_block.hpp"
#include "voxgrad/ops/loss.hpp"

namespace voxgrad {

/// The backward pass of head_loss. Its inputs are x, weight and, where there is one, bias.
class HeadLossBackward {
 public:
  HeadLossBackward(const kernels::FusedConvProblem& problem, double flop, const Activation& x, const Tensor& weight,
                   const Tensor& slope)
      : p_(problem), flop_(flop), x_(x), weight_(weight), slope_(slope) {}

  void operator()(const Tensor& dy, Grads& grads) {
    const Activation x = x_.get(op);
    const Tensor &weight = weight_.get(op), &slope = slope_.get(op);
    p_.source[0] = x.kernel_view();
    const bool bias_wanted = grads.size() > 2 && grads.wanted(2);
    Tensor da, dw, db;
    if (grads.wanted(0)) da = empty_like(x.raw());
    if (grads.wanted(1) || bias_wanted) dw = empty_like(weight);
    if (bias_wanted) db = Tensor(Shape{p_.conv.Co}, slope.dtype(), slope.device());
    const auto below = da.defined() ? sums_on_the_way(op, x) : std::nullopt;
    {
      TraceScope trace(op, "backward", slope.shape(), x.shape(), flop_ * ((da.defined() ? 1 : 0) + (dw.defined() ? 1 : 0)));
      const auto raw = [](const Tensor& t) { return t.defined() ? t.raw() : nullptr; };
      kernels::head_loss.at(slope.device())
          .backward(p_, dy.item() / double(slope.size()), slope.raw(), weight.raw(), raw(dw), raw(db), raw(da),
                    below ? &*below : nullptr);
    }
    if (below) x.pending()->summed = da.version();
    if (da.defined()) grads.set(0, da);
    if (grads.wanted(1)) grads.set(1, dw);
    if (bias_wanted) grads.set(2, db);
  }

  static constexpr const char* op = "head_loss";

 private:
  kernels::FusedConvProblem p_;
  double flop_;
  SavedActivation x_;
  Saved weight_, slope_;
};

/// Mean over elements of F(conv3d(x, weight, bias), target): mean_loss<F> of a head, for any loss functor F that has
/// kernels. x [N,D,H,W,Ci], finished or not; weight [kD,kH,kW,Ci,Co]; bias [Co] or undefined; target as the convolution's
/// output, without gradient. Fast for 1x1x1 kernels, f32, blocks of 8 channels and Co up to 4.
template <class F>
Tensor head_loss(const Activation& x, const Tensor& weight, const Tensor& bias, const Tensor& target,
                 const Conv3dOptions& options = {}) {
  static constexpr const char* op = HeadLossBackward::op;
  const Device device = x.device();
  if (!kernels::head_loss.filled(device.kind)) return mean_loss<F>(conv3d(x, weight, bias, options), target);
  const kernels::FusedConvProblem p{conv3d_problem(op, x.shape(), x.dtype(), weight, bias, options), 1, {x.kernel_view()}};
  check_loss(op, Shape{p.conv.N, p.conv.out[0], p.conv.out[1], p.conv.out[2], p.conv.Co}, x.dtype(), target);
  std::vector<Tensor> inputs{x.raw(), weight};
  if (bias.defined()) inputs.push_back(bias);
  const bool recorded = recording(inputs);
  const Tensor slope = recorded ? empty_like(target) : Tensor();
  const double n = double(target.size()), flop = 2 * double(weight.size()) * n / double(p.conv.Co);
  double total = 0;
  {
    TraceScope trace(op, "forward", x.shape(), target.shape(), flop);
    total = kernels::head_loss.at(device).forward(p, kernels::loss<F>.at(device), weight.raw(),
                                                  bias.defined() ? bias.raw() : nullptr, target.raw(),
                                                  recorded ? slope.raw() : nullptr);
  }
  const Tensor mean = Tensor::scalar(total / n, x.dtype());
  if (!recorded) return mean;
  x.count_consumer();
  return record(op, mean, inputs, HeadLossBackward(p, flop, x, weight, slope));
}

}  // namespace voxgrad
