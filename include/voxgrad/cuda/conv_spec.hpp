// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A 3-D convolution as the GPU is asked for it: plain data, comparable and hashable, the key of plans.

#include <cstdint>
#include <functional>
#include <string>

#include "voxgrad/core/error.hpp"
#include "voxgrad/cuda/element.hpp"

namespace voxgrad::cuda {

enum class ConvOp : uint8_t { forward, backward_data, backward_weight };
/// What the multiplications may be: tensor cores on 16-bit storage, TF32 on f32 storage, or nothing below f32.
enum class Math : uint8_t { tensor_core, tf32, strict };
enum class Epilogue : uint8_t { none, bias, bias_leaky };

constexpr const char* name(ConvOp op) {
  return op == ConvOp::forward ? "forward" : op == ConvOp::backward_data ? "backward_data" : "backward_weight";
}
constexpr const char* name(Math math) { return math == Math::tensor_core ? "tensor_core" : math == Math::tf32 ? "tf32" : "strict"; }
constexpr const char* name(Epilogue e) { return e == Epilogue::none ? "none" : e == Epilogue::bias ? "bias" : "bias_leaky"; }

/// x [N, in, Ci], w [Co, kernel, Ci], y [N, out, Co]; activations with channels innermost, extents in order z, y, x.
/// forward: y from x and w. backward_data: x (dx) from y (dy) and w. backward_weight: w (dw) from x and y (dy).
///
/// A transposed convolution is the adjoint of the convolution that goes from its output to its input: its forward is that
/// one's backward_data, its backward_data that one's forward, its backward_weight that one's with x and y exchanged.
///
/// Zeros before are `padding`; zeros after follow from `out` (end_padding()), so that uneven "same" padding needs no field.
struct ConvSpec {
  ConvOp op = ConvOp::forward;
  Element io = Element::f32;  ///< of x, w and y; sums are f32
  Math math = Math::strict;
  Epilogue epilogue = Epilogue::none;  ///< forward only; the bias is f32 [Co]
  bool deterministic = true;
  float slope = 0;  ///< of the leaky relu for negative values
  int N = 1, Ci = 1, Co = 1;
  int in[3] = {1, 1, 1}, out[3] = {1, 1, 1}, kernel[3] = {1, 1, 1};
  int stride[3] = {1, 1, 1}, padding[3] = {0, 0, 0}, dilation[3] = {1, 1, 1};
  int64_t x_row_stride = 0, y_row_stride = 0;  ///< elements from voxel to voxel, for slices of wider tensors; 0: dense

  friend bool operator==(const ConvSpec&, const ConvSpec&) = default;
};

inline int64_t voxels(const ConvSpec& s, const int (&extent)[3]) { return int64_t(s.N) * extent[0] * extent[1] * extent[2]; }
inline int64_t taps(const ConvSpec& s) { return int64_t(s.kernel[0]) * s.kernel[1] * s.kernel[2]; }
inline int64_t x_step(const ConvSpec& s) { return s.x_row_stride != 0 ? s.x_row_stride : s.Ci; }
inline int64_t y_step(const ConvSpec& s) { return s.y_row_stride != 0 ? s.y_row_stride : s.Co; }

/// Elements from the first to the last of each operand.
inline int64_t x_span(const ConvSpec& s) { return (voxels(s, s.in) - 1) * x_step(s) + s.Ci; }
inline int64_t y_span(const ConvSpec& s) { return (voxels(s, s.out) - 1) * y_step(s) + s.Co; }
inline int64_t w_span(const ConvSpec& s) { return taps(s) * s.Ci * s.Co; }

/// Multiplications and additions, padding counted.
inline double flop(const ConvSpec& s) { return 2.0 * double(voxels(s, s.out)) * double(taps(s)) * s.Ci * s.Co; }

/// Zeros after the last voxel of an axis: as many as before where that gives `out`, else the fewest that do; negative when
/// `out` cannot be.
inline int end_padding(const ConvSpec& s, int axis) {
  const int reach = s.dilation[axis] * (s.kernel[axis] - 1) + 1;
  const int even = s.in[axis] + 2 * s.padding[axis] - reach;
  if (even >= 0 && even / s.stride[axis] + 1 == s.out[axis]) return s.padding[axis];
  const int needed = (s.out[axis] - 1) * s.stride[axis] + reach - s.in[axis] - s.padding[axis];
  if (needed >= 0) return needed;
  return needed > -s.stride[axis] ? 0 : -1;  // the last voxels may stay unread, fewer than a stride
}

/// "forward bf16 tensor_core x 128x32x32x32x8 y 128x32x32x32x16 kernel 3x3x3 stride 1x1x1 padding 1x1x1": every field that
/// is not at its default, so that two specs have the same text only if they are equal.
inline std::string describe(const ConvSpec& s) {
  const auto three = [](const int (&v)[3]) { return text(v[0], "x", v[1], "x", v[2]); };
  const auto same = [](const int (&v)[3], int all) { return v[0] == all && v[1] == all && v[2] == all; };
  std::string out = text(name(s.op), " ", name(s.io), " ", name(s.math), " x ", s.N, "x", three(s.in), "x", s.Ci, " y ", s.N, "x",
                         three(s.out), "x", s.Co, " kernel ", three(s.kernel));
  if (!same(s.stride, 1)) out += " stride " + three(s.stride);
  if (!same(s.padding, 0)) out += " padding " + three(s.padding);
  if (!same(s.dilation, 1)) out += " dilation " + three(s.dilation);
  if (s.x_row_stride != 0) out += text(" x step ", s.x_row_stride);
  if (s.y_row_stride != 0) out += text(" y step ", s.y_row_stride);
  if (s.epilogue != Epilogue::none) out += text(" epilogue ", name(s.epilogue));
  if (s.slope != 0) out += text(" slope ", bits_of(s.slope), " (", s.slope, ")");
  if (!s.deterministic) out += " nondeterministic allowed";
  return out;
}

/// ShapeError or DTypeError when the fields contradict each other.
inline void validate(const ConvSpec& s) {
  const auto need = [&](bool ok, const char* what) { check<ShapeError>(ok, "conv plan: ", what, " (", describe(s), ")"); };
  need(s.N > 0 && s.Ci > 0 && s.Co > 0, "batch and channels must be positive");
  for (int a = 0; a < 3; ++a) {
    need(s.in[a] > 0 && s.out[a] > 0 && s.kernel[a] > 0, "extents must be positive");
    need(s.stride[a] > 0 && s.dilation[a] > 0 && s.padding[a] >= 0, "stride and dilation must be positive, padding not negative");
    need(end_padding(s, a) >= 0, "output and input extents do not fit kernel, stride and padding");
  }
  need(x_step(s) >= s.Ci && y_step(s) >= s.Co, "the step between voxels is smaller than the channels");
  need(s.epilogue == Epilogue::none || s.op == ConvOp::forward, "only a forward convolution takes an epilogue");
  need(s.epilogue == Epilogue::bias_leaky || s.slope == 0, "a slope needs the epilogue bias_leaky");
  check<DTypeError>((s.io == Element::f32) == (s.math != Math::tensor_core), "conv plan: ", name(s.io), " storage does not go with ",
                    name(s.math), " (16-bit storage is for tensor_core, f32 for tf32 and strict)");
}

}  // namespace voxgrad::cuda

/// FNV-1a over the fields.
template <>
struct std::hash<voxgrad::cuda::ConvSpec> {
  std::size_t operator()(const voxgrad::cuda::ConvSpec& s) const {
    uint64_t h = 14695981039346656037u;
    const auto mix = [&h](uint64_t v) { h = (h ^ v) * 1099511628211u; };
    for (const uint64_t v : {uint64_t(s.op), uint64_t(s.io), uint64_t(s.math), uint64_t(s.epilogue), uint64_t(s.deterministic),
                             uint64_t(voxgrad::cuda::bits_of(s.slope == 0 ? 0 : s.slope)), uint64_t(s.N), uint64_t(s.Ci), uint64_t(s.Co),
                             uint64_t(s.x_row_stride), uint64_t(s.y_row_stride)})
      mix(v);
    for (const int(*field)[3] : {&s.in, &s.out, &s.kernel, &s.stride, &s.padding, &s.dilation})
      for (const int v : *field) mix(uint64_t(v));
    return std::size_t(h);
  }
};
