// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Layers of a planned network: each call adds the steps of a forward pass to a program and remembers how its backward
// pass goes; backward() then adds those in reverse. Nothing is computed here, only planned.
//
// Convolutions (conv_steps.hpp) leave their raw output z; batch norm, bias and activation are done by finish(), in one pass
// that also pools and places the result into a joined tensor. gradient_steps.hpp has what gradients are made of.

#include <functional>
#include <utility>
#include <vector>

#include "voxgrad/cuda/gradient_steps.hpp"
#include "voxgrad/cuda/kernels/channel_moments.hpp"
#include "voxgrad/cuda/kernels/dropout.hpp"
#include "voxgrad/cuda/kernels/finish_norm.hpp"
#include "voxgrad/cuda/kernels/head_logits.hpp"
#include "voxgrad/cuda/kernels/max_pool.hpp"
#include "voxgrad/cuda/kernels/norm_act.hpp"
#include "voxgrad/cuda/kernels/norm_act_pool.hpp"
#include "voxgrad/cuda/kernels/norm_backward_apply.hpp"
#include "voxgrad/cuda/kernels/norm_backward_sums.hpp"
#include "voxgrad/cuda/kernels/pointwise.hpp"
#include "voxgrad/cuda/kernels/upsample.hpp"

namespace voxgrad::cuda {

template <class Device, class E>
class NetworkTape : private GradientSteps<Device, E> {
  using Base = GradientSteps<Device, E>;
  using typename Base::Gradient, typename Base::Pooled, typename Base::Rows, typename Base::Saved, typename Base::Source;
  using Base::program_, Base::parameters_, Base::training_, Base::gradients_, Base::rows_of, Base::slice,
      Base::bias_of, Base::padded, Base::out_extent, Base::adjoint_of, Base::convolve, Base::weight_gradient,
      Base::is_first, Base::first_conv, Base::first_conv_gradient, Base::own, Base::hand_out, Base::source_of,
      Base::is_dense, Base::one_part, Base::dense_gradient, Base::act_backward, Base::bias_backward,
      Base::gradient_from;

 public:
  /// A convolution whose raw output still waits for batch norm or bias, and for its activation.
  struct Unfinished {
    FeatureMap x;  ///< what the convolution reads
    ConvLayer conv;
    NormLayer norm;
    Activation act;
    Value z;  ///< raw output [rows, Co]
    int64_t N;
    Extent extent;
    Value mean, inv_std, scale, shift;  ///< [Co] each, of a batch norm
    int64_t rows() const { return N * extent[0] * extent[1] * extent[2]; }
    bool normed() const { return norm.gamma >= 0; }
  };

  NetworkTape(Program<Device>& program, Parameters<Device, E>& parameters, NormMode mode, Math math)
      : Base(program, parameters, math, mode == NormMode::training), mode_(mode) {}

  Program<Device>& program() { return program_; }
  bool training() const { return training_; }

  // ---- maps

  /// Memory for a layer's output.
  FeatureMap dense(int64_t N, const Extent& extent, int64_t C) {
    FeatureMap m = joined(N, extent, C);
    own(m, 0);
    return m;
  }
  /// The same in memory that is given.
  FeatureMap over(Value data, int64_t N, const Extent& extent, int64_t C) {
    FeatureMap m = input(data, N, extent, C);
    own(m, 0);
    return m;
  }
  /// Memory for several outputs side by side: part() gives each its channels.
  FeatureMap joined(int64_t N, const Extent& extent, int64_t C) {
    FeatureMap m{.N = N, .extent = extent, .C = C, .stride = C};
    m.data = program_.transient("activation", size_t(m.rows() * C) * sizeof(E));
    return m;
  }
  /// Channels [first, first + C) of a joined tensor, for one producer.
  FeatureMap part(FeatureMap& whole, int64_t first, int64_t C) {
    FeatureMap m = whole;
    m.first = whole.first + first;
    m.C = C;
    m.owners.clear();
    own(m, 0);
    if (training()) whole.owners.push_back({m.owners[0].gradient, first});
    return m;
  }
  /// The network's input [N, extent, C], which is given and wants no gradient.
  FeatureMap input(Value data, int64_t N, const Extent& extent, int64_t C) const {
    return {.data = data, .N = N, .extent = extent, .C = C, .stride = C};
  }

  // ---- layers

  /// The convolution alone; norm.gamma < 0: no batch norm, the bias is added when it is finished.
  Unfinished conv(const FeatureMap& x, const ConvLayer& layer, const NormLayer& norm, const Activation& act) {
    Unfinished u{.x = x, .conv = padded(layer, x.extent), .norm = norm, .act = act, .z = {}, .N = x.N, .extent = out_extent(x.extent, layer),
                 .mean = {}, .inv_std = {}, .scale = {}, .shift = {}};
    u.z = program_.transient("z", size_t(u.rows() * layer.Co) * sizeof(E));
    if (is_first(x, u.conv)) first_conv(x, u.conv, u.z);
    else convolve(ConvOp::forward, u.conv, x, {u.z, layer.Co}, u.extent);
    if (norm.gamma >= 0) norm_numbers(u);
    return u;
  }

  /// Activated values into `to`.
  FeatureMap finish(const Unfinished& u, const FeatureMap& to) {
    finish_into(u, to, nullptr);
    return to;
  }
  /// The same and the max-pooled values, which are returned; windows of 1 or 2 per axis.
  FeatureMap finish_and_pool(const Unfinished& u, const FeatureMap& to, const Extent& window = {2, 2, 2}) {
    Pooled p{.window = window, .full = u.extent};
    p.map = dense(u.N, {u.extent[0] / window[0], u.extent[1] / window[1], u.extent[2] / window[2]}, u.conv.Co);
    if (training()) p.argmax = program_.transient("argmax", size_t(p.map.rows() * p.map.C));
    finish_into(u, to, &p);
    return p.map;
  }

  /// act(u + other), the end of a residual block; u has no activation of its own.
  FeatureMap add(const Unfinished& u, const FeatureMap& other, const Activation& act) {
    check(u.act.kind == ActivationKind::none, "a sum of an activated layer");
    const FeatureMap y = dense(u.N, u.extent, u.conv.Co);
    auto* const p = &program_;
    auto* const w = &parameters_;
    program_.template launch<BiasAct<E>>({u.z, u.scale, u.shift, other.data, y.data}, [=] {
      const auto [scale, shift] = affine(p, w, u);
      return typename BiasAct<E>::Args{u.rows(), u.conv.Co, {p->template at<E>(u.z), u.conv.Co}, scale, shift, slice(p, rows_of(other)), act,
                                       {p->template at<E>(y.data), y.C}};
    });
    if (training()) backward_.push_back([this, u, other, act, y] { add_backward(u, other, act, y); });
    return y;
  }

  /// Max-pooling of any window without overlap; where finish_and_pool() can do it, that saves a pass.
  FeatureMap pool(const FeatureMap& x, const Extent& window) {
    const PoolShape shape = pool_shape(x, window);
    check_pool("max_pool", shape);
    const FeatureMap y = dense(x.N, {shape.out(0), shape.out(1), shape.out(2)}, x.C);
    const Value argmax = training() ? program_.transient("argmax", size_t(y.rows() * y.C)) : Value{};
    auto* const p = &program_;
    program_.template launch<MaxPool<E>>({x.data, y.data, argmax}, [=] {
      return typename MaxPool<E>::Args{shape, slice(p, rows_of(x)), {p->template at<E>(y.data), y.C}, p->template at<uint8_t>(argmax)};
    });
    if (!training()) return y;
    backward_.push_back([this, x, y, shape, argmax, p] {
      const Value dy = dense_gradient(y), dx = program_.transient("dx", size_t(x.rows() * x.C) * sizeof(E));
      program_.template launch<MaxPoolBackward<E>>({dy, argmax, dx}, [=] {
        return typename MaxPoolBackward<E>::Args{shape, {p->template at<E>(dy), y.C}, p->template at<uint8_t>(argmax), {p->template at<E>(dx), x.C}};
      });
      hand_out(x, dx, x.C);
    });
    return y;
  }

  /// Nearest-neighbour up-sampling into `to`.
  void upsample(const FeatureMap& x, const Extent& factor, const FeatureMap& to) {
    const UpsampleShape shape{x.N, {x.extent[0], x.extent[1], x.extent[2]}, x.C, {factor[0], factor[1], factor[2]}};
    auto* const p = &program_;
    program_.template launch<Upsample<E>>({x.data, to.data}, [=] {
      return typename Upsample<E>::Args{shape, slice(p, rows_of(x)), {p->template at<E>(to.data) + to.first, to.stride}};
    });
    if (!training()) return;
    backward_.push_back([this, x, to, shape, p] {
      const Rows dy = one_part(to);
      const Value dx = program_.transient("dx", size_t(x.rows() * x.C) * sizeof(E));
      program_.template launch<UpsampleBackward<E>>({dy.data, dx}, [=] {
        return typename UpsampleBackward<E>::Args{shape, slice(p, dy), {p->template at<E>(dx), x.C}};
      });
      hand_out(x, dx, x.C);
    });
  }

  /// Dropout of a dense map, in its place; for training only.
  FeatureMap drop(const FeatureMap& x, const DropoutLayer& layer) {
    FeatureMap y = x;
    y.owners.clear();
    own(y, 0);
    add_dropout(layer, x.rows() * x.C, x.data, y.data);
    backward_.push_back([this, x, y, layer] {
      const Value dy = dense_gradient(y), dx = program_.transient("dx", size_t(x.rows() * x.C) * sizeof(E));
      add_dropout(layer, x.rows() * x.C, dy, dx);
      hand_out(x, dx, x.C);
    });
    return y;
  }

  /// x into its place in a joined tensor, for layers whose last pass cannot write there.
  void copy(const FeatureMap& x, const FeatureMap& to) {
    auto* const p = &program_;
    program_.template launch<CopySlice<E>>({x.data, to.data}, [=] {
      return typename CopySlice<E>::Args{x.rows(), x.C, slice(p, rows_of(x)), {p->template at<E>(to.data) + to.first, to.stride}};
    });
    if (!training()) return;
    backward_.push_back([this, x, to] {
      const Rows part = one_part(to);
      for (const typename FeatureMap::Owner& o : x.owners)
        gradients_[size_t(o.gradient)].parts.push_back({part.data, part.stride, part.first + o.channel});
    });
  }

  /// A transposed convolution with its bias, into `to`: the adjoint of the convolution that `layer` describes from to's
  /// space to x's, with layer.Ci channels of x and layer.Co of `to`.
  void conv_transpose(const FeatureMap& x, const ConvLayer& layer, const FeatureMap& to) {
    const ConvLayer adjoint = adjoint_of(layer);
    const Value y = program_.transient("up", size_t(to.rows() * to.C) * sizeof(E));
    FeatureMap dense_y{.data = y, .N = to.N, .extent = to.extent, .C = to.C, .stride = to.C};
    convolve(ConvOp::backward_data, adjoint, dense_y, {x.data, x.stride, x.first}, x.extent);
    place_with_bias(y, layer.bias, to);
    if (!training()) return;
    const int gradient = to.owners[0].gradient;
    backward_.push_back([this, x, layer, adjoint, to, gradient] {
      const Value dy = program_.transient("dup", size_t(to.rows() * to.C) * sizeof(E));
      bias_backward(gradient, to.rows(), to.C, layer.bias, dy);
      FeatureMap dmap{.data = dy, .N = to.N, .extent = to.extent, .C = to.C, .stride = to.C};
      weight_gradient(adjoint, dmap, {x.data, x.stride, x.first}, x.extent, layer.weight);
      if (!x.wants_gradient()) return;
      const Value dx = program_.transient("dx", size_t(x.rows() * x.C) * sizeof(E));
      convolve(ConvOp::forward, adjoint, dmap, {dx, x.C}, x.extent);
      hand_out(x, dx, x.C);
    });
  }

  /// A 1x1x1 convolution to a few outputs of unfinished values: logits [rows, head.Co] in f32 and, where wanted, their
  /// sigmoid. In training the gradient of the logits must be in `dlogits` when the backward steps run.
  void head(const Unfinished& u, const ConvLayer& head, Value logits, Value probability, Value dlogits) {
    check<DeviceError>(is_leaky(u.act), "a head after another activation than leaky relu has no fused kernel");
    auto* const p = &program_;
    auto* const w = &parameters_;
    const Value ones = u.normed() ? Value{} : ones_of(u.conv.Co);
    program_.template launch<HeadLogits<E>>({u.z, u.scale, u.shift, ones, logits, probability}, [=] {
      auto [scale, shift] = affine(p, w, u);
      if (!scale) scale = p->template at<float>(ones);
      return typename HeadLogits<E>::Args{u.rows(), u.conv.Co, {p->template at<E>(u.z), u.conv.Co}, scale, shift, slope_of(u.act),
                                          int(head.Co), w->value(head.weight), bias_of(w, head), p->template at<float>(logits),
                                          p->template at<float>(probability)};
    });
    if (!training()) return;
    gradients_.emplace_back();
    Gradient& g = gradients_.back();
    g.dlogit = dlogits, g.head_weight = head.weight, g.head_bias = head.bias, g.head_outputs = int(head.Co);
    backward_.push_back([this, u, gradient = int(gradients_.size()) - 1] { unfinished_backward(u, gradient); });
  }

  /// The same of a finished map, where other layers read it too; one head per map.
  void head(const FeatureMap& x, const ConvLayer& head, Value logits, Value probability, Value dlogits) {
    auto* const p = &program_;
    auto* const w = &parameters_;
    program_.template launch<HeadLogits<E>>({x.data, logits, probability}, [=] {
      return typename HeadLogits<E>::Args{x.rows(), x.C, slice(p, rows_of(x)), nullptr, nullptr, 1, int(head.Co), w->value(head.weight),
                                          bias_of(w, head), p->template at<float>(logits), p->template at<float>(probability)};
    });
    if (!training()) return;
    Gradient& g = gradients_[size_t(x.owners.at(0).gradient)];
    check(!g.dlogit, "two heads read one map");
    g.dlogit = dlogits, g.head_weight = head.weight, g.head_bias = head.bias, g.head_outputs = int(head.Co);
  }

  /// The gradient of a map comes from outside: dense, in working precision, there when the backward steps run.
  void give_gradient(const FeatureMap& m, Value gradient) { gradients_[size_t(m.owners.at(0).gradient)].parts.push_back({gradient, m.C}); }

  /// A map's values in f32; in training their gradient, f32 too, must be in `gradient` when the backward steps run.
  void values_of(const FeatureMap& m, Value values, Value gradient) {
    if constexpr (std::is_same_v<E, float>) {
      check(m.data == values, "an f32 map is made where it is wanted");
      if (training()) give_gradient(m, gradient);
    } else {
      auto* const p = &program_;
      const int64_t n = m.rows() * m.C;
      program_.template launch<Convert<E, float>>({m.data, values}, [=] {
        return typename Convert<E, float>::Args{n, p->template at<E>(m.data), p->template at<float>(values), 1};
      });
      if (!training()) return;
      backward_.push_back([this, m, gradient, n, p] {
        const Value rounded = program_.transient("gradient in working precision", size_t(n) * sizeof(E));
        program_.template launch<Convert<float, E>>({gradient, rounded}, [=] {
          return typename Convert<float, E>::Args{n, p->template at<float>(gradient), p->template at<E>(rounded), 1};
        });
        give_gradient(m, rounded);
      });
    }
  }

  // ---- backward

  /// Adds the steps of the backward pass, layer by layer in reverse.
  void backward() {
    for (size_t i = backward_.size(); i-- > 0;) backward_[i]();
    backward_.clear();
  }

 private:
  static PoolShape pool_shape(const FeatureMap& x, const Extent& window) {
    PoolShape s{.N = x.N, .in = {}, .C = x.C, .kernel = {}, .stride = {}};
    for (size_t a = 0; a < 3; ++a) s.in[a] = x.extent[a], s.kernel[a] = s.stride[a] = window[a];
    return s;
  }

  // ---- what follows a convolution

  Value channels(const char* what, int64_t C) { return program_.transient(what, size_t(C) * sizeof(float)); }

  /// Mean, 1/std, scale and shift of a batch norm over u.z.
  void norm_numbers(Unfinished& u) {
    const int64_t C = u.conv.Co, rows = u.rows();
    u.mean = channels("mean", C), u.inv_std = channels("inv_std", C), u.scale = channels("scale", C), u.shift = channels("shift", C);
    auto* const p = &program_;
    auto* const w = &parameters_;
    if (mode_ == NormMode::running_statistics) {
      program_.template launch<RunningNorm>({u.mean, u.inv_std, u.scale, u.shift}, [p, w, u, C] {
        return RunningNorm::Args{C, w->value(u.norm.gamma), w->value(u.norm.beta), bias_of(w, u.conv), w->buffer(u.norm.mean),
                                 w->buffer(u.norm.variance), u.norm.eps, p->template at<float>(u.mean), p->template at<float>(u.inv_std),
                                 p->template at<float>(u.scale), p->template at<float>(u.shift)};
      });
      return;
    }
    const Value partials = program_.transient("moments", size_t(ChannelMoments<E>::workspace(rows, C)));
    program_.template launch<ChannelMoments<E>>({u.z, partials}, [p, u, rows, C, partials] {
      return typename ChannelMoments<E>::Args{rows, C, {p->template at<E>(u.z), C}, p->template at<float>(partials)};
    });
    program_.template launch<FinishNorm>({partials, u.mean, u.inv_std, u.scale, u.shift}, [p, w, u, rows, C, partials, moves = training()] {
      return FinishNorm::Args{C, ChannelMoments<E>::parts(rows, C), p->template at<float>(partials), w->value(u.norm.gamma),
                              w->value(u.norm.beta), bias_of(w, u.conv), u.norm.eps, u.norm.momentum, u.norm.unbiased,
                              moves ? w->buffer(u.norm.mean) : nullptr, moves ? w->buffer(u.norm.variance) : nullptr,
                              p->template at<float>(u.mean), p->template at<float>(u.inv_std), p->template at<float>(u.scale),
                              p->template at<float>(u.shift)};
    });
  }
  static bool is_leaky(const Activation& act) { return act.kind == ActivationKind::leaky_relu || act.kind == ActivationKind::none; }
  static float slope_of(const Activation& act) { return act.kind == ActivationKind::none ? 1 : act.a; }

  /// scale and shift of what is left to do before the activation; without norm: null and the bias.
  static std::pair<const float*, const float*> affine(const Program<Device>* p, const Parameters<Device, E>* w, const Unfinished& u) {
    if (u.normed()) return {p->template at<float>(u.scale), p->template at<float>(u.shift)};
    return {nullptr, bias_of(w, u.conv)};
  }

  void add_dropout(const DropoutLayer& layer, int64_t n, Value x, Value y) {
    auto* const p = &program_;
    program_.template launch<Dropout<E>>({x, y, layer.position}, [=] {
      return typename Dropout<E>::Args{n, layer.seed, layer.stream, 0, p->template at<uint64_t>(layer.position), layer.rate,
                                       p->template at<E>(x), p->template at<E>(y)};
    });
  }

  void finish_into(const Unfinished& u, const FeatureMap& to, const Pooled* pooled) {
    auto* const p = &program_;
    auto* const w = &parameters_;
    const bool leaky = is_leaky(u.act);
    const float slope = slope_of(u.act);
    check<DeviceError>(leaky || !pooled, "a pooled layer with another activation than leaky relu has no fused kernel");
    const auto destination = [p, to] { return Slice<E>{p->template at<E>(to.data) + to.first, to.stride}; };
    if (pooled) {
      const Value ones = u.normed() ? Value{} : ones_of(u.conv.Co);
      program_.template launch<NormActPool<E>>({u.z, u.scale, u.shift, ones, to.data, pooled->map.data, pooled->argmax}, [=, pool = *pooled] {
        auto [scale, shift] = affine(p, w, u);
        if (!scale) scale = p->template at<float>(ones);
        typename NormActPool<E>::Args a{};
        a.N = u.N, a.D = u.extent[0], a.H = u.extent[1], a.W = u.extent[2], a.C = u.conv.Co;
        for (size_t i = 0; i < 3; ++i) a.window[i] = pool.window[i];
        a.z = {p->template at<E>(u.z), u.conv.Co};
        a.scale = scale, a.shift = shift, a.slope = slope;
        a.a = destination();
        a.pooled = p->template at<E>(pool.map.data);
        a.argmax = p->template at<uint8_t>(pool.argmax);
        return a;
      });
    } else if (u.normed() && leaky) {
      program_.template launch<NormAct<E>>({u.z, u.scale, u.shift, to.data}, [=] {
        const auto [scale, shift] = affine(p, w, u);
        return typename NormAct<E>::Args{u.rows(), u.conv.Co, {p->template at<E>(u.z), u.conv.Co}, scale, shift, slope, destination()};
      });
    } else {
      program_.template launch<BiasAct<E>>({u.z, u.scale, u.shift, to.data}, [=] {
        const auto [scale, shift] = affine(p, w, u);
        return typename BiasAct<E>::Args{u.rows(), u.conv.Co, {p->template at<E>(u.z), u.conv.Co}, scale, shift, {}, u.act, destination()};
      });
    }
    if (!training()) return;
    const int gradient = to.owners[0].gradient;
    if (pooled) gradients_[size_t(gradient)].pooled = *pooled;
    backward_.push_back([this, u, gradient] { unfinished_backward(u, gradient); });
  }
  Value ones_of(int64_t C) {
    const Value ones = channels("ones", C);
    auto* const p = &program_;
    program_.template launch<Fill<float>>({ones}, [p, ones, C] { return Fill<float>::Args{C, 1, p->template at<float>(ones)}; });
    return ones;
  }

  /// From the gradient of activated values to those of the convolution's parameters and input.
  void unfinished_backward(Unfinished u, int gradient) {
    const int64_t C = u.conv.Co;
    const Gradient& g = gradients_[size_t(gradient)];
    if (!u.normed() && u.act.kind == ActivationKind::none && is_dense(g, C)) {  // dz is at hand
      const Value dz = g.parts[0].data;
      if (u.conv.bias >= 0) bias_backward(gradient, u.rows(), C, u.conv.bias, {});
      conv_backward(u, dz);
      return;
    }
    if (u.normed() && !is_leaky(u.act)) {  // the norm's kernels know no other activation
      gradient = before_activation(u, gradient);
      u.act = {};
    }
    const Value dz = program_.transient("dz", size_t(u.rows() * C) * sizeof(E));
    if (u.normed()) norm_backward(u, gradient, dz);
    else act_backward(gradient, u.rows(), C, {.z = {u.z, C}, .act = u.act, .bias = u.conv.bias}, u.conv.bias, dz);
    conv_backward(u, dz);
  }
  void conv_backward(const Unfinished& u, Value dz) {
    if (is_first(u.x, u.conv)) first_conv_gradient(u.x, u.conv, dz);
    else weight_gradient(u.conv, u.x, {dz, u.conv.Co}, u.extent, u.conv.weight);
    if (!u.x.wants_gradient()) return;
    FeatureMap dx{.data = program_.transient("dx", size_t(u.x.rows() * u.x.C) * sizeof(E)), .N = u.x.N, .extent = u.x.extent,
                  .C = u.x.C, .stride = u.x.C};
    convolve(ConvOp::backward_data, u.conv, dx, {dz, u.conv.Co}, u.extent);
    hand_out(u.x, dx.data, u.x.C);
  }
  /// A gradient of its own for what a batch norm hands to an activation.
  int before_activation(const Unfinished& u, int gradient) {
    const int64_t C = u.conv.Co;
    const Value dv = program_.transient("dv", size_t(u.rows() * C) * sizeof(E));
    act_backward(gradient, u.rows(), C, {.z = {u.z, C}, .act = u.act, .scale = u.scale, .shift = u.shift}, -1, dv);
    return gradient_from(dv, C);
  }
  void add_backward(const Unfinished& u, const FeatureMap& other, const Activation& act, const FeatureMap& y) {
    const int64_t C = u.conv.Co;
    const Value dv = program_.transient("dv", size_t(u.rows() * C) * sizeof(E));
    Saved saved{.z = rows_of(y), .output = true, .act = act};
    if (!derivative_from_output(act))
      saved = {.z = {u.z, C}, .act = act, .bias = u.conv.bias, .scale = u.scale, .shift = u.shift, .second = rows_of(other)};
    act_backward(y.owners[0].gradient, u.rows(), C, saved, u.normed() ? -1 : u.conv.bias, dv);
    hand_out(other, dv, C);
    if (!u.normed()) return conv_backward(u, dv);
    const Value dz = program_.transient("dz", size_t(u.rows() * C) * sizeof(E));
    norm_backward(u, gradient_from(dv, C), dz);
    conv_backward(u, dz);
  }

  void norm_backward(const Unfinished& u, int gradient, Value dz) {
    const int64_t rows = u.rows(), C = u.conv.Co;
    const Source source = source_of(gradient, rows, C);
    if (source.head) norm_sums<true>(u, gradient, source, dz);
    else norm_sums<false>(u, gradient, source, dz);
  }
  template <bool head>
  void norm_sums(const Unfinished& u, int gradient, const Source& source, Value dz) {
    using Sums = NormBackwardSums<E, head>;
    const int64_t rows = u.rows(), C = u.conv.Co;
    const float slope = slope_of(u.act);
    const Value partials = program_.transient("sums", size_t(Sums::workspace(rows, C, source.outputs)));
    const Value z_factor = channels("z_factor", C), offset = channels("offset", C);
    auto* const p = &program_;
    auto* const w = &parameters_;
    std::vector<Value> uses{u.z, u.mean, u.inv_std, u.scale, u.shift, partials};
    uses.insert(uses.end(), source.uses.begin(), source.uses.end());
    program_.template launch<Sums>(uses, [=, from = source.make] {
      return typename Sums::Args{rows, C, {p->template at<E>(u.z), C}, p->template at<float>(u.scale), p->template at<float>(u.shift),
                                 p->template at<float>(u.mean), p->template at<float>(u.inv_std), slope, from(), p->template at<float>(partials)};
    });
    const Gradient& g = gradients_[size_t(gradient)];
    program_.template launch<FinishNormBackward>({partials, u.mean, u.inv_std, u.scale, z_factor, offset}, [=, weight = g.head_weight, bias = g.head_bias] {
      FinishNormBackward::Args a{};
      a.C = C, a.rows = rows, a.parts = Sums::parts(rows, C);
      a.partials = p->template at<float>(partials);
      a.batch_statistics = true;
      a.scale = p->template at<float>(u.scale), a.mean = p->template at<float>(u.mean), a.inv_std = p->template at<float>(u.inv_std);
      a.dgamma = w->gradient(u.norm.gamma), a.dbeta = w->gradient(u.norm.beta);
      a.z_factor = p->template at<float>(z_factor), a.offset = p->template at<float>(offset);
      if (head) a.Co = source.outputs, a.head_dw = w->gradient(weight), a.head_db = bias < 0 ? nullptr : w->gradient(bias);
      return a;
    });
    uses = {u.z, u.scale, u.shift, z_factor, offset, dz};
    uses.insert(uses.end(), source.uses.begin(), source.uses.end());
    program_.template launch<NormBackwardApply<E>>(uses, [=, from = source.make] {
      return typename NormBackwardApply<E>::Args{rows, C, {p->template at<E>(u.z), C}, p->template at<float>(u.scale),
                                                 p->template at<float>(u.shift), slope, from(), p->template at<float>(z_factor),
                                                 p->template at<float>(offset), {p->template at<E>(dz), C}};
    });
  }

  /// y with its bias into `to`.
  void place_with_bias(Value y, int bias, const FeatureMap& to) {
    auto* const p = &program_;
    auto* const w = &parameters_;
    program_.template launch<BiasAct<E>>({y, to.data}, [=] {
      return typename BiasAct<E>::Args{to.rows(), to.C, {p->template at<E>(y), to.C}, nullptr, bias < 0 ? nullptr : w->value(bias), {}, {},
                                       {p->template at<E>(to.data) + to.first, to.stride}};
    });
  }

  NormMode mode_;
  std::vector<std::function<void()>> backward_;
};

}  // namespace voxgrad::cuda
