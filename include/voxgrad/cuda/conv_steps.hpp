// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Convolutions as steps of a program: forward and both gradients through the device's library, or, for the few channels of a
// network's input, by kernels of our own.

#include <algorithm>
#include <utility>

#include "voxgrad/cuda/conv_spec.hpp"
#include "voxgrad/cuda/feature_map.hpp"
#include "voxgrad/cuda/kernels/convert.hpp"
#include "voxgrad/cuda/kernels/first_conv_weight.hpp"
#include "voxgrad/cuda/parameters.hpp"

namespace voxgrad::cuda {

template <class Device, class E>
class ConvSteps {
 protected:
  /// Dense values, or a run of channels of wider ones.
  struct Rows {
    Value data;
    int64_t stride, first = 0;
  };

  ConvSteps(Program<Device>& program, Parameters<Device, E>& parameters, Math math)
      : program_(program), parameters_(parameters), math_(math) {}

  static Rows rows_of(const FeatureMap& m) { return {m.data, m.stride, m.first}; }
  static Slice<const E> slice(const Program<Device>* p, const Rows& r) {
    return r.data ? Slice<const E>{p->template at<E>(r.data) + r.first, r.stride} : Slice<const E>{};
  }
  static const float* bias_of(const Parameters<Device, E>* w, const ConvLayer& c) { return c.bias < 0 ? nullptr : w->value(c.bias); }

  /// Padding "same" in numbers.
  static ConvLayer padded(ConvLayer c, const Extent& in) {
    if (!c.same) return c;
    const Extent out = out_extent(in, c);
    for (size_t a = 0; a < 3; ++a)
      c.padding[a] = std::max<int64_t>((out[a] - 1) * c.stride[a] + c.dilation[a] * (c.kernel[a] - 1) + 1 - in[a], 0) / 2;
    return c;
  }
  static Extent out_extent(const Extent& in, const ConvLayer& c) {
    Extent out;
    for (size_t a = 0; a < 3; ++a)
      out[a] = c.same ? (in[a] + c.stride[a] - 1) / c.stride[a] : (in[a] + 2 * c.padding[a] - c.dilation[a] * (c.kernel[a] - 1) - 1) / c.stride[a] + 1;
    return out;
  }
  /// The convolution whose gradient a transposed one is.
  static ConvLayer adjoint_of(ConvLayer layer) {
    std::swap(layer.Ci, layer.Co);
    return layer;
  }

  ConvSpec spec_of(ConvOp op, const ConvLayer& c, const FeatureMap& x, int64_t y_stride, const Extent& y_extent) const {
    ConvSpec s;
    s.op = op;
    s.io = element_of<E>;
    s.math = math_;
    s.N = int(x.N), s.Ci = int(c.Ci), s.Co = int(c.Co);
    for (size_t a = 0; a < 3; ++a) {
      s.in[a] = int(x.extent[a]), s.out[a] = int(y_extent[a]);
      s.kernel[a] = int(c.kernel[a]), s.stride[a] = int(c.stride[a]);
      s.padding[a] = int(c.padding[a]), s.dilation[a] = int(c.dilation[a]);
    }
    s.x_row_stride = x.stride == c.Ci ? 0 : x.stride;
    s.y_row_stride = y_stride == c.Co ? 0 : y_stride;
    return s;
  }
  /// forward: y from x; backward_data: x from y.
  void convolve(ConvOp op, const ConvLayer& c, const FeatureMap& x, const Rows& y, const Extent& y_extent) {
    const ConvSpec spec = spec_of(op, c, x, y.stride, y_extent);
    const Value workspace = workspace_for(spec);
    auto* const p = &program_;
    auto* const w = &parameters_;
    program_.step(name(op), {x.data, y.data, workspace}, [p, w, spec, c, x, y, workspace] {
      E *const xs = p->template at<E>(x.data) + x.first, *const ys = p->template at<E>(y.data) + y.first;
      const bool forward = spec.op == ConvOp::forward;
      p->device().convolve(spec, forward ? xs : ys, w->working(c.weight), forward ? ys : xs, p->at(workspace));
    });
  }
  /// The gradient of `weight` of the convolution c from x to y, given dy, into the parameters' gradient.
  void weight_gradient(const ConvLayer& c, const FeatureMap& x, const Rows& dy, const Extent& y_extent, int weight) {
    const ConvSpec spec = spec_of(ConvOp::backward_weight, c, x, dy.stride, y_extent);
    const Value workspace = workspace_for(spec);
    constexpr bool direct = std::is_same_v<E, float>;
    const Value dw = direct ? Value{} : program_.transient("dw", size_t(w_span(spec)) * sizeof(E));
    auto* const p = &program_;
    auto* const w = &parameters_;
    program_.step(name(spec.op), {x.data, dy.data, dw, workspace}, [p, w, spec, x, dy, dw, weight, workspace] {
      void* to = w->gradient(weight);
      if constexpr (!direct) to = p->at(dw);
      p->device().convolve(spec, p->template at<E>(x.data) + x.first, p->template at<E>(dy.data) + dy.first, to, p->at(workspace));
    });
    if constexpr (!direct)
      program_.template launch<Convert<E, float>>({dw}, [p, w, dw, weight, n = w_span(spec)] {
        return typename Convert<E, float>::Args{n, p->template at<E>(dw), w->gradient(weight), 1};
      });
  }
  /// Whether FirstConv takes a layer: few channels of the network's input, odd kernels, "same" extents.
  bool is_first(const FeatureMap& x, const ConvLayer& c) const {
    bool same = x.C <= 4 && x.stride == x.C && x.owners.empty();
    for (size_t a = 0; a < 3; ++a)
      same = same && c.kernel[a] % 2 == 1 && c.stride[a] == 1 && c.dilation[a] == 1 && c.padding[a] == c.kernel[a] / 2;
    return same;
  }
  static FirstConvShape first_shape(const FeatureMap& x, const ConvLayer& c) {
    return {x.N, {x.extent[0], x.extent[1], x.extent[2]}, c.Ci, c.Co, {c.kernel[0], c.kernel[1], c.kernel[2]}};
  }
  void first_conv(const FeatureMap& x, const ConvLayer& c, Value z) {
    auto* const p = &program_;
    auto* const w = &parameters_;
    program_.template launch<FirstConv<E>>({x.data, z}, [=] {
      return typename FirstConv<E>::Args{first_shape(x, c), p->template at<E>(x.data), w->value(c.weight), nullptr, 1,
                                         {p->template at<E>(z), c.Co}};
    });
  }
  void first_conv_gradient(const FeatureMap& x, const ConvLayer& c, Value dz) {
    const Value partials = program_.transient("sums", size_t(FirstConvWeight<E>::workspace(first_shape(x, c))));
    auto* const p = &program_;
    auto* const w = &parameters_;
    program_.template launch<FirstConvWeight<E>>({x.data, dz, partials}, [=] {
      return typename FirstConvWeight<E>::Args{first_shape(x, c), p->template at<E>(x.data), {p->template at<E>(dz), c.Co},
                                               p->template at<float>(partials)};
    });
    program_.template launch<FinishFirstConvWeight>({partials}, [=] {
      return FinishFirstConvWeight::Args{first_shape(x, c), p->template at<float>(partials), w->gradient(c.weight), nullptr};
    });
  }
  Value workspace_for(const ConvSpec& spec) {
    const size_t bytes = program_.device().conv_workspace(spec);
    return bytes == 0 ? Value{} : program_.transient("convolution workspace", bytes);
  }

  Program<Device>& program_;
  Parameters<Device, E>& parameters_;
  Math math_;
};

}  // namespace voxgrad::cuda
