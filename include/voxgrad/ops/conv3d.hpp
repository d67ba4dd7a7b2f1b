// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// 3-D convolution and its transpose. Activations [N,D,H,W,C], weights [kD,kH,kW,Ci,Co].

#include "voxgrad/autograd/record.hpp"
#include "voxgrad/core/trace.hpp"
#include "voxgrad/kernels/conv3d.hpp"
#include "voxgrad/kernels/conv_transpose3d.hpp"

namespace voxgrad {

struct Conv3dOptions {
  std::array<int64_t, 3> stride{1, 1, 1}, padding{0, 0, 0}, dilation{1, 1, 1};
  std::array<int64_t, 3> extra_end{0, 0, 0};  ///< zeros at the end of each axis beyond `padding`, fewer than the kernel spans
};
struct ConvTranspose3dOptions {
  std::array<int64_t, 3> stride{1, 1, 1}, padding{0, 0, 0}, output_padding{0, 0, 0}, dilation{1, 1, 1};
};

/// Checks what both convolutions ask of x's shape, weight and bias, and fills the common part of the problem.
inline void conv_problem(const char* op, const Shape& x, DType dtype, const Tensor& weight, const Tensor& bias,
                         const std::array<int64_t, 3>& stride, const std::array<int64_t, 3>& padding,
                         const std::array<int64_t, 3>& dilation, kernels::Conv3dProblem& p) {
  check<ShapeError>(x.rank() == 5, op, ": x must be [N,D,H,W,C], got ", x);
  check<ShapeError>(weight.shape().rank() == 5, op, ": weight must be [kD,kH,kW,Ci,Co], got ", weight.shape());
  check<ShapeError>(weight.shape()[3] == x[4], op, ": weight has ", weight.shape()[3], " input channels, x has ",
                    x[4], " (weight ", weight.shape(), ", x ", x, ")");
  check<DTypeError>(weight.dtype() == dtype, op, ": x is ", name(dtype), ", weight is ", name(weight.dtype()));
  if (bias.defined())
    check<ShapeError>(bias.shape() == Shape{weight.shape()[4]} && bias.dtype() == dtype, op, ": bias must be [",
                      weight.shape()[4], "] ", name(dtype), ", got ", bias.shape(), " ", name(bias.dtype()));
  p.dtype = dtype;
  p.N = x[0];
  p.Ci = x[4];
  p.Co = weight.shape()[4];
  for (int i = 0; i < 3; ++i) {
    const size_t k = size_t(i);
    check<ShapeError>(stride[k] >= 1 && dilation[k] >= 1 && padding[k] >= 0, op, ": stride and dilation start at 1, ",
                      "padding at 0; got ", stride[k], ", ", dilation[k], ", ", padding[k]);
    p.in[i] = x[i + 1];
    p.kernel[i] = weight.shape()[i];
    p.stride[i] = stride[k];
    p.padding[i] = padding[k];
    p.dilation[i] = dilation[k];
    check<ShapeError>(p.kernel[i] >= 1, op, ": weight ", weight.shape(), " has an empty kernel");
  }
}

/// Records a convolution whose table has forward, backward_data and backward_weight.
template <class Problem, class Table>
Tensor conv_recorded(const char* op, const Kernels<Table>& slot, const Problem& p, const Tensor& x, const Tensor& weight,
                     const Tensor& bias) {
  Tensor y(Shape{p.N, p.out[0], p.out[1], p.out[2], p.Co}, x.dtype(), x.device());
  const int64_t* positions = std::is_same_v<Problem, kernels::Conv3dProblem> ? p.out : p.in;  // where the kernel is placed
  const double flop = 2.0 * double(weight.size()) * double(p.N * positions[0] * positions[1] * positions[2]);
  {
    TraceScope trace(op, "forward", x.shape(), y.shape(), flop);
    slot.at(x.device()).forward(p, x.raw(), weight.raw(), bias.defined() ? bias.raw() : nullptr, y.raw());
  }
  const Tensor all[] = {x, weight, bias};
  const std::span<const Tensor> inputs(all, bias.defined() ? 3 : 2);
  if (!recording(inputs)) return y;
  return record(op, y, inputs, [op, p, flop, &slot, x = Saved(x), w = Saved(weight)](const Tensor& dy, Grads& grads) {
    const Tensor &xv = x.get(op), &wv = w.get(op);
    const Table& table = slot.at(dy.device());
    if (grads.wanted(0)) {
      Tensor dx = empty_like(xv);
      TraceScope trace(op, "backward_data", dy.shape(), dx.shape(), flop);
      table.backward_data(p, dy.raw(), wv.raw(), dx.raw());
      grads.set(0, dx);
    }
    const bool bias_wanted = grads.size() == 3 && grads.wanted(2);
    if (grads.wanted(1) || bias_wanted) {
      Tensor dw = empty_like(wv), db;
      if (bias_wanted) db = Tensor(Shape{p.Co}, dy.dtype(), dy.device());
      TraceScope trace(op, "backward_weight", xv.shape(), dy.shape(), flop);
      table.backward_weight(p, xv.raw(), dy.raw(), dw.raw(), bias_wanted ? db.raw() : nullptr);
      if (grads.wanted(1)) grads.set(1, dw);
      if (bias_wanted) grads.set(2, db);
    }
  });
}

/// The problem of conv3d for x of this shape.
inline kernels::Conv3dProblem conv3d_problem(const char* op, const Shape& x, DType dtype, const Tensor& weight,
                                             const Tensor& bias, const Conv3dOptions& options) {
  kernels::Conv3dProblem p{};
  conv_problem(op, x, dtype, weight, bias, options.stride, options.padding, options.dilation, p);
  for (int i = 0; i < 3; ++i) {
    const int64_t extra = options.extra_end[size_t(i)];  // the kernels see it as outputs that reach past the end
    check<ShapeError>(extra >= 0 && extra <= p.dilation[i] * (p.kernel[i] - 1), op, ": extra_end is ", extra,
                      " (expected 0 to ", p.dilation[i] * (p.kernel[i] - 1), ", what the kernel reaches over)");
    p.out[i] = conv_extent(p.in[i] + extra, p.kernel[i], p.stride[i], p.padding[i], p.dilation[i]);
    check<ShapeError>(p.out[i] > 0, op, ": the kernel ", weight.shape(), " does not fit into x ", x, " with padding ",
                      p.padding[i]);
  }
  return p;
}

/// Keras' and TensorFlow's padding="same": ceil(in / stride) outputs, the odd zero at the end.
inline Conv3dOptions same_padding(const Shape& x, const std::array<int64_t, 3>& kernel, const std::array<int64_t, 3>& stride) {
  Conv3dOptions o;
  o.stride = stride;
  for (size_t a = 0; a < 3; ++a) {
    const int64_t in = x[int(a) + 1], out = (in + stride[a] - 1) / stride[a];
    const int64_t total = std::max<int64_t>((out - 1) * stride[a] + kernel[a] - in, 0);
    o.padding[a] = total / 2;
    o.extra_end[a] = total % 2;
  }
  return o;
}

/// y[n,o,co] = bias[co] + sum over k, ci of x[n, o stride + k dilation - padding, ci] weight[k,ci,co], as PyTorch's
/// Conv3d. x [N,D,H,W,Ci]; bias [Co] or undefined; f32 or f64.
inline Tensor conv3d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv3dOptions& options = {}) {
  return conv_recorded("conv3d", kernels::conv3d, conv3d_problem("conv3d", x.shape(), x.dtype(), weight, bias, options), x,
                       weight, bias);
}

/// The adjoint of conv3d: x[n,i,ci] weight[k,ci,co] is added to y[n, i stride + k dilation - padding, co].
/// Output extent (i-1) stride - 2 padding + dilation (k-1) + output_padding + 1, as PyTorch's ConvTranspose3d.
inline Tensor conv_transpose3d(const Tensor& x, const Tensor& weight, const Tensor& bias,
                               const ConvTranspose3dOptions& options = {}) {
  kernels::ConvTranspose3dProblem p{};
  conv_problem("conv_transpose3d", x.shape(), x.dtype(), weight, bias, options.stride, options.padding, options.dilation, p);
  for (int i = 0; i < 3; ++i) {
    const int64_t extra = options.output_padding[size_t(i)];
    check<ShapeError>(extra >= 0 && extra < std::max(p.stride[i], p.dilation[i]), "conv_transpose3d: output_padding ", extra,
                      " must be below stride or dilation");
    p.out[i] = (p.in[i] - 1) * p.stride[i] - 2 * p.padding[i] + p.dilation[i] * (p.kernel[i] - 1) + extra + 1;
    check<ShapeError>(p.out[i] > 0, "conv_transpose3d: the output of x ", x.shape(), " would be empty");
  }
  return conv_recorded("conv_transpose3d", kernels::conv_transpose3d, p, x, weight, bias);
}

}  // namespace voxgrad
