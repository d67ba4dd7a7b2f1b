// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Convolution -> batch norm -> activation as one op whose activated result never exists in memory. What is kept is the
// raw output of the convolution, with what is still to be done to it: an Activation. The next convolution, pooling or
// head finishes it while loading. Plain tensors and Activations mix freely: a plain op takes activation.value().
//
// The gradient that arrives for an Activation is that of its finished values; the block turns it into the gradient of
// its raw output in place.

#include <optional>

#include "voxgrad/kernels/fused.hpp"
#include "voxgrad/ops/concat.hpp"
#include "voxgrad/ops/conv3d.hpp"
#include "voxgrad/ops/norm.hpp"
#include "voxgrad/ops/pointwise.hpp"
#include "voxgrad/ops/pool3d.hpp"

namespace voxgrad {

/// What is still to be done to the raw output of a block, and, during a backward walk, what a consumer already summed.
struct PendingNorm {
  double slope = 1;
  bool norm = false, batch = false;
  NormNumbers numbers;  ///< empty without norm
  Saved gamma, beta;
  int consumers = 0;  ///< that will send gradients

  std::vector<double> sum, dot;  ///< of the gradient whose stamp is `summed`
  uint64_t summed = ~uint64_t(0);
};

/// An activated tensor that may exist only as raw values [N,D,H,W,C] and a rule to finish them.
class Activation {
 public:
  Activation() = default;
  /// A tensor with nothing left to do.
  Activation(const Tensor& finished) : raw_(finished) {}
  Activation(Tensor raw, std::shared_ptr<PendingNorm> pending) : raw_(std::move(raw)), pending_(std::move(pending)) {}

  bool defined() const { return raw_.defined(); }
  const Shape& shape() const { return raw_.shape(); }
  DType dtype() const { return raw_.dtype(); }
  Device device() const { return raw_.device(); }
  bool plain() const { return pending_ == nullptr; }

  /// The finished values as an ordinary tensor.
  Tensor value() const {
    if (plain()) return raw_;
    Tensor y = empty_like(raw_);
    {
      TraceScope trace("activation", "forward", shape(), shape());
      kernels::fused_conv.at(device()).value(dtype(), raw_.size() / shape()[-1], kernel_view(), y.raw());
    }
    count_consumer();
    return record("activation", y, {raw_}, [](const Tensor& dy, Grads& grads) { grads.set(0, dy); });
  }

  // ---- for ops that finish it themselves
  /// The unfinished values; as an input of a graph it stands for the finished ones.
  const Tensor& raw() const { return raw_; }
  const std::shared_ptr<PendingNorm>& pending() const { return pending_; }
  kernels::Pending kernel_view() const {
    kernels::Pending p{raw_.raw(), shape()[-1], nullptr, nullptr, 1};
    if (pending_) {
      p.slope = pending_->slope;
      if (pending_->norm) p.scale = pending_->numbers.scale.data(), p.shift = pending_->numbers.shift.data();
    }
    return p;
  }
  void count_consumer() const {
    if (pending_ && recording({&raw_, 1})) ++pending_->consumers;
  }

 private:
  Tensor raw_;
  std::shared_ptr<PendingNorm> pending_;
};

/// An Activation's values for a backward pass: no graph, and a notice when they were changed.
struct SavedActivation {
  explicit SavedActivation(const Activation& a) : raw(a.raw()), pending(a.pending()) {}
  Activation get(const char* op) const { return {raw.get(op), pending}; }
  Saved raw;
  std::shared_ptr<PendingNorm> pending;
};

struct ConvBlockOptions {
  Conv3dOptions conv;
  BatchNormOptions norm;  ///< its slope is that of the activation, with or without norm (1: none, 0: relu)
};

/// Tensors of a batch norm over C channels: gamma and beta [C], running statistics [C]. All undefined: no norm.
struct ConvBlockNorm {
  Tensor gamma, beta, running_mean, running_var;
  bool given() const { return gamma.defined() || beta.defined(); }
};

/// The gradient side of a pending norm, as kernels take it; sums are written into the norm's own arrays.
inline kernels::PendingGradient pending_gradient(const char* op, const Tensor& raw, PendingNorm& p) {
  const int64_t C = raw.shape()[-1];
  kernels::PendingGradient g{raw.raw(), raw.size() / C, C, p.slope, nullptr, nullptr, nullptr, nullptr, false, nullptr, nullptr};
  if (p.norm) {
    p.sum.resize(size_t(C));
    p.dot.resize(size_t(C));
    g.mean = p.numbers.mean.data(), g.inv_std = p.numbers.inv_std.data();
    g.gamma = p.gamma.get(op).raw(), g.beta = p.beta.get(op).raw();
    g.batch_statistics = p.batch;
    g.sum = p.sum.data(), g.dot = p.dot.data();
  }
  return g;
}

/// The gradient side of a source whose sums a consumer can take on the way: one with a norm and no other consumer. After
/// the kernel call the consumer sets `summed` to the gradient's version.
inline std::optional<kernels::PendingGradient> sums_on_the_way(const char* op, const Activation& source) {
  PendingNorm* const norm = source.pending().get();
  if (!norm || !norm->norm || norm->consumers != 1) return std::nullopt;
  return pending_gradient(op, source.raw(), *norm);
}

/// The backward pass of conv_block. Its inputs are the sources, weight, then bias, gamma and beta as far as they are there.
class ConvBlockBackward {
 public:
  ConvBlockBackward(const kernels::FusedConvProblem& problem, double flop, std::vector<SavedActivation> sources,
                    const Tensor& weight, bool has_bias, const Tensor& z, std::shared_ptr<PendingNorm> pending)
      : p_(problem), flop_(flop), sources_(std::move(sources)), weight_(weight), z_(z), pending_(std::move(pending)),
        has_bias_(has_bias) {}

  void operator()(const Tensor& dy, Grads& grads) {
    std::vector<Activation> sources;
    for (size_t i = 0; i < sources_.size(); ++i) {
      sources.push_back(sources_[i].get(op));
      p_.source[i] = sources[i].kernel_view();
    }
    Tensor dz = dy.unique() || !pending_ ? dy : dy.clone();  // memory of nobody else becomes dz in place
    kernels::PendingGradient own{};
    if (pending_) own = pending_gradient(op, z_.get(op), *pending_);
    if (normalises()) norm_gradients(own, dy, grads);
    weight_gradients(own, dz, grads);
    source_gradients(sources, dz, grads);
  }

  static constexpr const char* op = "conv_block";

 private:
  bool normalises() const { return pending_ && pending_->norm; }
  size_t weight_at() const { return sources_.size(); }
  size_t bias_at() const { return weight_at() + 1; }
  size_t gamma_at() const { return bias_at() + (has_bias_ ? 1 : 0); }

  /// The sums over da, unless a consumer already took those of this very gradient, and with them dgamma and dbeta.
  void norm_gradients(const kernels::PendingGradient& own, const Tensor& dy, Grads& grads) {
    if (std::exchange(pending_->summed, ~uint64_t(0)) != dy.version()) {
      TraceScope trace(op, "backward_sums", dy.shape(), dy.shape());
      kernels::fused_conv.at(dy.device()).sums(dy.dtype(), own, dy.raw());
    }
    const auto set = [&](size_t i, const std::vector<double>& values) {
      if (grads.wanted(i)) grads.set(i, Tensor::from(values, Shape{p_.conv.Co}).to(dy.dtype()));
    };
    set(gamma_at(), pending_->dot);
    set(gamma_at() + 1, pending_->sum);
  }

  /// Makes dz of da in place, and the gradients of weight and bias.
  void weight_gradients(const kernels::PendingGradient& own, Tensor& dz, Grads& grads) {
    const bool weight_wanted = grads.wanted(weight_at()), bias_wanted = has_bias_ && grads.wanted(bias_at());
    const bool bias_is_idle = normalises() && pending_->batch;  // a constant that the mean takes away again
    Tensor dw, db;
    if (weight_wanted || bias_wanted) dw = empty_like(weight_.get(op));
    if (bias_wanted)
      db = bias_is_idle ? Tensor::zeros({p_.conv.Co}, dz.dtype()) : Tensor(Shape{p_.conv.Co}, dz.dtype(), dz.device());
    if (dw.defined() || pending_) {
      TraceScope trace(op, "backward_weight", weight_.get(op).shape(), dz.shape(), dw.defined() ? flop_ : 0);
      kernels::fused_conv.at(dz.device())
          .backward_weight(p_, pending_ ? &own : nullptr, dz.raw(), dw.defined() ? dw.raw() : nullptr,
                           bias_wanted && !bias_is_idle ? db.raw() : nullptr);
      if (pending_) dz.touch();
    }
    if (weight_wanted) grads.set(weight_at(), dw);
    if (bias_wanted) grads.set(bias_at(), db);
  }

  /// Gradients of the sources' finished values; of a normed source that nobody else reads, its sums as well.
  void source_gradients(const std::vector<Activation>& sources, const Tensor& dz, Grads& grads) {
    Tensor da[2];
    void* to[2] = {};
    std::optional<kernels::PendingGradient> below[2];
    const kernels::PendingGradient* sums[2] = {};
    for (size_t i = 0; i < sources.size(); ++i) {
      if (!grads.wanted(i)) continue;
      da[i] = Tensor(sources[i].shape(), dz.dtype(), dz.device());
      to[i] = da[i].raw();
      below[i] = sums_on_the_way(op, sources[i]);
      if (below[i]) sums[i] = &*below[i];
    }
    if (!to[0] && !to[1]) return;
    const Tensor& weight = weight_.get(op);
    TraceScope trace(op, "backward_data", dz.shape(), weight.shape(), flop_);
    kernels::fused_conv.at(dz.device()).backward_data(p_, dz.raw(), weight.raw(), to, sums);
    for (size_t i = 0; i < sources.size(); ++i) {
      if (sums[i]) sources_[i].pending->summed = da[i].version();
      if (to[i]) grads.set(i, da[i]);
    }
  }

  kernels::FusedConvProblem p_;
  double flop_;
  std::vector<SavedActivation> sources_;
  Saved weight_, z_;
  std::shared_ptr<PendingNorm> pending_;
  bool has_bias_;
};

/// The shape of the sources side by side; a ShapeError when they do not fit.
inline Shape joined_shape(const char* op, const std::vector<Activation>& sources) {
  check<ShapeError>(!sources.empty() && sources.size() <= 2, op, ": takes one or two sources, got ", sources.size());
  Shape joined = sources[0].shape();
  if (sources.size() == 1) return joined;
  Shape other = sources[1].shape();
  check<ShapeError>(other.rank() == 5 && joined.rank() == 5 && sources[0].dtype() == sources[1].dtype(), op, ": sources ",
                    joined, " and ", other, " must be [N,D,H,W,C] of one dtype");
  const int64_t channels = other[4];
  other.set(4, joined[4]);
  check<ShapeError>(other == joined, op, ": sources ", joined, " and ", sources[1].shape(),
                    " differ in more than channels");
  joined.set(4, joined[4] + channels);
  return joined;
}

/// conv_block of plain ops, for devices without its kernels.
inline Activation composed_block(const std::vector<Activation>& sources, const Tensor& weight, const Tensor& bias,
                                 const ConvBlockNorm& norm, const ConvBlockOptions& options) {
  std::vector<Tensor> parts;
  for (const Activation& a : sources) parts.push_back(a.value());
  const Tensor y = conv3d(parts.size() == 1 ? parts[0] : concat(parts), weight, bias, options.conv);
  if (norm.given()) return batch_norm(y, norm.gamma, norm.beta, norm.running_mean, norm.running_var, options.norm);
  return options.norm.slope == 1 ? y : leaky_relu(y, options.norm.slope);
}

/// act(batch_norm(conv3d(sources joined along the channels))). Sources [N,D,H,W,Ci_i], at most two; weight
/// [kD,kH,kW,sum of Ci_i,Co]; bias [Co] or undefined. Equal to the composition of the plain ops but for rounding; its
/// running statistics are updated alike. Before a batch norm over batch statistics the bias has the gradient 0, exactly.
inline Activation conv_block(const std::vector<Activation>& sources, const Tensor& weight, const Tensor& bias,
                             const ConvBlockNorm& norm, const ConvBlockOptions& options = {}) {
  static constexpr const char* op = ConvBlockBackward::op;
  const Shape joined = joined_shape(op, sources);
  const DType dtype = sources[0].dtype();
  const Device device = sources[0].device();
  if (!kernels::fused_conv.filled(device.kind)) return composed_block(sources, weight, bias, norm, options);

  kernels::FusedConvProblem p{conv3d_problem(op, joined, dtype, weight, bias, options.conv), int(sources.size()), {}};
  for (size_t i = 0; i < sources.size(); ++i) p.source[i] = sources[i].kernel_view();
  const Tensor z(Shape{p.conv.N, p.conv.out[0], p.conv.out[1], p.conv.out[2], p.conv.Co}, dtype, device);
  const int64_t rows = z.size() / p.conv.Co;
  const bool normed = norm.given();
  const bool batch = normed && check_batch_norm(op, z.shape(), dtype, norm.gamma, norm.beta, norm.running_mean,
                                                norm.running_var, options.norm);
  const double flop = 2.0 * double(weight.size()) * double(rows);
  std::vector<double> mean(normed ? size_t(p.conv.Co) : 0), variance(mean.size());
  {
    TraceScope trace(op, "forward", joined, z.shape(), flop);
    kernels::fused_conv.at(device).forward(p, weight.raw(), bias.defined() ? bias.raw() : nullptr, z.raw(),
                                           batch ? mean.data() : nullptr, batch ? variance.data() : nullptr);
  }
  std::shared_ptr<PendingNorm> pending;
  if (normed || options.norm.slope != 1) {
    pending = std::make_shared<PendingNorm>();
    pending->slope = options.norm.slope;
    pending->norm = normed, pending->batch = batch;
  }
  if (normed) {
    pending->numbers = norm_numbers(rows, batch, std::move(mean), std::move(variance), norm.gamma, norm.beta,
                                    norm.running_mean, norm.running_var, options.norm);
    pending->gamma = Saved(norm.gamma), pending->beta = Saved(norm.beta);
  }

  std::vector<Tensor> inputs;
  for (const Activation& a : sources) inputs.push_back(a.raw());
  inputs.push_back(weight);
  if (bias.defined()) inputs.push_back(bias);
  if (normed) inputs.push_back(norm.gamma), inputs.push_back(norm.beta);
  if (!recording(inputs)) return {z, pending};

  std::vector<SavedActivation> saved;
  for (const Activation& a : sources) {
    a.count_consumer();
    saved.emplace_back(a);
  }
  return {record(op, z, inputs, ConvBlockBackward(p, flop, std::move(saved), weight, bias.defined(), z, pending)), pending};
}

/// conv3d of a tensor that may be unfinished; the result is an ordinary tensor.
inline Tensor conv3d(const Activation& x, const Tensor& weight, const Tensor& bias, const Conv3dOptions& options = {}) {
  if (x.plain()) return conv3d(x.raw(), weight, bias, options);
  return conv_block({x}, weight, bias, {}, {options, {}}).raw();
}

/// max_pool3d of a tensor that may be unfinished; the result is an ordinary tensor.
inline Tensor max_pool3d(const Activation& x, std::array<int64_t, 3> kernel = {2, 2, 2}, std::array<int64_t, 3> stride = {2, 2, 2}) {
  if (x.plain()) return max_pool3d(x.raw(), kernel, stride);
  static constexpr const char* op = "max_pool3d";
  const kernels::Pool3dProblem p = pool3d_problem(op, x.shape(), x.dtype(), kernel, stride);
  Tensor y(Shape{p.N, p.out[0], p.out[1], p.out[2], p.C}, x.dtype(), x.device());
  {
    TraceScope trace(op, "forward", x.shape(), y.shape());
    kernels::fused_conv.at(x.device()).max_pool(p, x.kernel_view(), y.raw());
  }
  x.count_consumer();
  if (!recording({&x.raw(), 1})) return y;
  return record(op, y, {x.raw()}, [p, x = SavedActivation(x)](const Tensor& dy, Grads& grads) {
    const Activation from = x.get(op);
    TraceScope trace(op, "backward", dy.shape(), from.shape());
    const auto& table = kernels::fused_conv.at(dy.device());
    if (Tensor* before = grads.collected(0); before && before->unique()) {
      table.max_pool_backward(p, from.kernel_view(), dy.raw(), before->raw(), true);
      before->touch();
      return;
    }
    Tensor da = empty_like(from.raw());
    table.max_pool_backward(p, from.kernel_view(), dy.raw(), da.raw(), false);
    grads.set(0, da);
  });
}

}  // namespace voxgrad
