// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Gradients of activated values as steps of a program. They are never summed up in memory: every consumer leaves its part
// (a dense tensor, a run of channels, a pooled gradient, a head's outer product), and the pass that needs the gradient reads
// them all (GradientSource).

#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "voxgrad/cuda/conv_steps.hpp"
#include "voxgrad/cuda/kernels/act_backward.hpp"
#include "voxgrad/cuda/kernels/bias_act.hpp"
#include "voxgrad/cuda/kernels/copy_slice.hpp"

namespace voxgrad::cuda {

template <class Device, class E>
class GradientSteps : protected ConvSteps<Device, E> {
 protected:
  using Base = ConvSteps<Device, E>;
  using typename Base::Rows;
  using Base::program_, Base::parameters_, Base::rows_of, Base::slice;

  struct Pooled {
    Extent window, full;  ///< of a window; of the volume that is pooled
    FeatureMap map{};
    Value argmax{};
  };
  /// What consumers left for the gradient of one producer's output.
  struct Gradient {
    std::vector<Rows> parts;
    std::optional<Pooled> pooled;
    Value dlogit;  ///< [rows, head_outputs]
    int head_weight = -1, head_bias = -1, head_outputs = 0;
  };
  /// What a derivative is taken from: v = scale z + bias + second before the activation, or the activated value.
  struct Saved {
    Rows z{};  ///< absent where there is no activation and no head
    bool output = false;
    Activation act{};
    int bias = -1;           ///< of the convolution
    Value scale{}, shift{};  ///< of a batch norm, instead
    Rows second{};
  };

  GradientSteps(Program<Device>& program, Parameters<Device, E>& parameters, Math math, bool training)
      : Base(program, parameters, math), training_(training) {}

  void own(FeatureMap& m, int64_t channel) {
    if (!training_) return;
    gradients_.emplace_back();
    m.owners.push_back({int(gradients_.size()) - 1, channel});
  }
  int gradient_from(Value data, int64_t C) {
    gradients_.emplace_back().parts.push_back({data, C});
    return int(gradients_.size()) - 1;
  }
  /// The input gradient of a consumer: dense [rows, x.C], each owner takes its channels.
  void hand_out(const FeatureMap& x, Value dx, int64_t stride) {
    for (const typename FeatureMap::Owner& o : x.owners)
      if (o.gradient >= 0) gradients_[size_t(o.gradient)].parts.push_back({dx, stride, o.channel});
  }

  /// All parts of a gradient as kernels read them, and the values they lie in.
  struct Source {
    std::vector<Value> uses;
    std::function<GradientSource<E>()> make;
    bool head = false;
    int outputs = 0;
  };
  Source source_of(int gradient, int64_t rows, int64_t C) {
    Gradient& g = gradients_[size_t(gradient)];
    while (g.parts.size() > 2) add_last(g, rows, C);
    Value pooled;
    if (g.pooled) pooled = dense_gradient(g.pooled->map);
    Source s;
    for (const Rows& r : g.parts) s.uses.push_back(r.data);
    if (g.pooled) s.uses.insert(s.uses.end(), {pooled, g.pooled->argmax});
    if (g.dlogit) s.uses.push_back(g.dlogit);
    s.head = bool(g.dlogit);
    s.outputs = g.head_outputs;
    s.make = [p = &program_, w = &parameters_, g, pooled] {
      GradientSource<E> from;
      Slice<const E>* const places[] = {&from.first, &from.second};
      for (size_t i = 0; i < g.parts.size(); ++i) *places[i] = {p->template at<E>(g.parts[i].data) + g.parts[i].first, g.parts[i].stride};
      if (g.pooled) {
        const Extent &e = g.pooled->full, &k = g.pooled->window;
        from.pooled = {p->template at<E>(pooled), p->template at<uint8_t>(g.pooled->argmax), PoolWindows(e[0], e[1], e[2], k[0], k[1], k[2])};
      }
      if (g.dlogit) from.head = {p->template at<float>(g.dlogit), w->value(g.head_weight), g.head_outputs};
      return from;
    };
    return s;
  }
  /// Adds the last part into a new dense tensor together with the one before it.
  void add_last(Gradient& g, int64_t rows, int64_t C) {
    const Rows a = g.parts[g.parts.size() - 2], b = g.parts.back();
    const Value sum = program_.transient("gradient", size_t(rows * C) * sizeof(E));
    auto* const p = &program_;
    program_.template launch<BiasAct<E>>({a.data, b.data, sum}, [=] {
      return typename BiasAct<E>::Args{rows, C, {p->template at<E>(a.data) + a.first, a.stride}, nullptr, nullptr,
                                       {p->template at<E>(b.data) + b.first, b.stride}, {}, {p->template at<E>(sum), C}};
    });
    g.parts.pop_back();
    g.parts.back() = {sum, C};
  }
  static bool is_dense(const Gradient& g, int64_t C) {
    return g.parts.size() == 1 && g.parts[0].stride == C && g.parts[0].first == 0 && !g.pooled && !g.dlogit;
  }
  /// The whole gradient of a map of its own in one place, be it among the channels of a wider one.
  Rows one_part(const FeatureMap& m) {
    const int gradient = m.owners.at(0).gradient;
    Gradient& g = gradients_[size_t(gradient)];
    check(!g.parts.empty() && !g.pooled, "a tensor is read by no layer");
    if (g.dlogit) {
      const Value dense = program_.transient("gradient", size_t(m.rows() * m.C) * sizeof(E));
      act_backward(gradient, m.rows(), m.C, {.z = rows_of(m), .output = true}, -1, dense);
      g = {};
      g.parts.push_back({dense, m.C});
    }
    while (g.parts.size() > 1) add_last(g, m.rows(), m.C);
    return g.parts[0];
  }
  /// The same as one dense tensor.
  Value dense_gradient(const FeatureMap& m) {
    const Rows part = one_part(m);
    Gradient& g = gradients_[size_t(m.owners[0].gradient)];
    if (is_dense(g, m.C)) return part.data;
    const Value dense = program_.transient("gradient", size_t(m.rows() * m.C) * sizeof(E));
    auto* const p = &program_;
    program_.template launch<CopySlice<E>>({part.data, dense}, [=, rows = m.rows(), C = m.C] {
      return typename CopySlice<E>::Args{rows, C, slice(p, part), {p->template at<E>(dense), C}};
    });
    g.parts[0] = {dense, m.C};
    return dense;
  }

  /// Of layers without batch norm: dz, and the gradients of a bias (-1: none) and of a head.
  void act_backward(int gradient, int64_t rows, int64_t C, const Saved& saved, int bias, Value dz) {
    if (gradients_[size_t(gradient)].dlogit) act_sums<true>(gradient, rows, C, saved, bias, dz);
    else act_sums<false>(gradient, rows, C, saved, bias, dz);
  }
  /// Of a place without activation; dy absent: only the sum is wanted.
  void bias_backward(int gradient, int64_t rows, int64_t C, int bias, Value dy) { act_sums<false>(gradient, rows, C, {}, bias, dy); }
  template <bool head>
  void act_sums(int gradient, int64_t rows, int64_t C, const Saved& saved, int bias, Value dz) {
    using Sums = ActBackward<E, head>;
    const Source source = source_of(gradient, rows, C);
    const Value partials = bias < 0 && !head ? Value{} : program_.transient("sums", size_t(Sums::workspace(rows, C, source.outputs)));
    auto* const p = &program_;
    auto* const w = &parameters_;
    std::vector<Value> uses{saved.z.data, saved.second.data, saved.scale, saved.shift, dz, partials};
    uses.insert(uses.end(), source.uses.begin(), source.uses.end());
    program_.template launch<Sums>(uses, [=, from = source.make] {
      typename Sums::Args a{};
      a.rows = rows, a.C = C;
      a.saved = slice(p, saved.z), a.second = slice(p, saved.second);
      a.saved_output = saved.output;
      a.scale = p->template at<float>(saved.scale);
      a.bias = saved.shift ? p->template at<float>(saved.shift) : saved.bias < 0 ? nullptr : w->value(saved.bias);
      a.activation = saved.act;
      a.from = from();
      a.dv = {p->template at<E>(dz), C};
      a.partials = p->template at<float>(partials);
      return a;
    });
    if (!partials) return;
    const Gradient& g = gradients_[size_t(gradient)];
    program_.template launch<FinishActBackward>({partials}, [=, weight = g.head_weight, head_bias = g.head_bias] {
      return FinishActBackward::Args{C, Sums::parts(rows, C), p->template at<float>(partials), source.outputs,
                                     bias < 0 ? nullptr : w->gradient(bias), head ? w->gradient(weight) : nullptr,
                                     head && head_bias >= 0 ? w->gradient(head_bias) : nullptr};
    });
  }

  bool training_;  ///< whether gradients are planned at all
  std::vector<Gradient> gradients_;
};

}  // namespace voxgrad::cuda
