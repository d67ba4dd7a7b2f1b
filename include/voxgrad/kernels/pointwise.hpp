// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Pointwise functors, shared by CPU and CUDA, and their contracts. A unary functor has f(x, p) and
// df(x, y, p), the derivative given input and output; `reads` says which of the two that looks at, so that only it
// is kept for backward; p holds up to two parameters. Adding one to UnaryList is all that a new pointwise op needs.

#include <cmath>
#include <cstdint>

#include "voxgrad/core/dtype.hpp"
#include "voxgrad/core/host_device.hpp"
#include "voxgrad/core/kernels.hpp"
#include "voxgrad/core/shape.hpp"

namespace voxgrad::kernels {

/// Parameters of a pointwise op: slope, exponent, factor, offset ... each functor says what a and b are.
struct Params {
  double a = 0, b = 0;
};

enum class Reads : unsigned char { nothing, x, y };  ///< what a derivative looks at

struct LeakyRelu {  // a: slope below zero; 0 gives relu
  static constexpr const char* name = "leaky_relu";
  static constexpr Reads reads = Reads::x;
  template <class T> VOXGRAD_HD static constexpr T f(T x, Params p) { return x > T(0) ? x : x * T(p.a); }
  template <class T> VOXGRAD_HD static constexpr T df(T x, T, Params p) { return x > T(0) ? T(1) : T(p.a); }
};
struct Sigmoid {
  static constexpr const char* name = "sigmoid";
  static constexpr Reads reads = Reads::y;
  template <class T> VOXGRAD_HD static T f(T x, Params) {  // e^-|x| never overflows
    const T e = std::exp(x < T(0) ? x : -x);
    return (x < T(0) ? e : T(1)) / (T(1) + e);
  }
  template <class T> VOXGRAD_HD static constexpr T df(T, T y, Params) { return y * (T(1) - y); }
};
struct Softplus {
  static constexpr const char* name = "softplus";
  static constexpr Reads reads = Reads::x;
  template <class T> VOXGRAD_HD static T f(T x, Params) {
    return (x > T(0) ? x : T(0)) + std::log1p(std::exp(x < T(0) ? x : -x));
  }
  template <class T> VOXGRAD_HD static T df(T x, T, Params p) { return Sigmoid::f(x, p); }
};
struct Tanh {
  static constexpr const char* name = "tanh";
  static constexpr Reads reads = Reads::y;
  template <class T> VOXGRAD_HD static T f(T x, Params) { return std::tanh(x); }
  template <class T> VOXGRAD_HD static constexpr T df(T, T y, Params) { return T(1) - y * y; }
};
struct Elu {  // a: scale below zero, b: scale of the whole; 1 and 1 is ELU
  static constexpr const char* name = "elu";
  static constexpr Reads reads = Reads::y;
  template <class T> VOXGRAD_HD static T f(T x, Params p) { return T(p.b) * (x > T(0) ? x : T(p.a) * std::expm1(x)); }
  template <class T> VOXGRAD_HD static constexpr T df(T, T y, Params p) { return y > T(0) ? T(p.b) : y + T(p.a * p.b); }
};
struct Exp {
  static constexpr const char* name = "exp";
  static constexpr Reads reads = Reads::y;
  template <class T> VOXGRAD_HD static T f(T x, Params) { return std::exp(x); }
  template <class T> VOXGRAD_HD static constexpr T df(T, T y, Params) { return y; }
};
struct Log {
  static constexpr const char* name = "log";
  static constexpr Reads reads = Reads::x;
  template <class T> VOXGRAD_HD static T f(T x, Params) { return std::log(x); }
  template <class T> VOXGRAD_HD static constexpr T df(T x, T, Params) { return T(1) / x; }
};
struct Sqrt {
  static constexpr const char* name = "sqrt";
  static constexpr Reads reads = Reads::y;
  template <class T> VOXGRAD_HD static T f(T x, Params) { return std::sqrt(x); }
  template <class T> VOXGRAD_HD static constexpr T df(T, T y, Params) { return T(0.5) / y; }
};
struct Square {
  static constexpr const char* name = "square";
  static constexpr Reads reads = Reads::x;
  template <class T> VOXGRAD_HD static constexpr T f(T x, Params) { return x * x; }
  template <class T> VOXGRAD_HD static constexpr T df(T x, T, Params) { return T(2) * x; }
};
struct Abs {
  static constexpr const char* name = "abs";
  static constexpr Reads reads = Reads::x;
  template <class T> VOXGRAD_HD static constexpr T f(T x, Params) { return x < T(0) ? -x : x; }
  template <class T> VOXGRAD_HD static constexpr T df(T x, T, Params) { return x > T(0) ? T(1) : x < T(0) ? T(-1) : T(0); }
};
struct Affine {  // a x + b
  static constexpr const char* name = "affine";
  static constexpr Reads reads = Reads::nothing;
  template <class T> VOXGRAD_HD static constexpr T f(T x, Params p) { return x * T(p.a) + T(p.b); }
  template <class T> VOXGRAD_HD static constexpr T df(T, T, Params p) { return T(p.a); }
};
struct Clamp {  // to [a, b]
  static constexpr const char* name = "clamp";
  static constexpr Reads reads = Reads::x;
  template <class T> VOXGRAD_HD static constexpr T f(T x, Params p) { return x < T(p.a) ? T(p.a) : x > T(p.b) ? T(p.b) : x; }
  template <class T> VOXGRAD_HD static constexpr T df(T x, T, Params p) { return x < T(p.a) || x > T(p.b) ? T(0) : T(1); }
};

template <class... Fs>
struct List {};
using UnaryList = List<LeakyRelu, Sigmoid, Softplus, Tanh, Elu, Exp, Log, Sqrt, Square, Abs, Affine, Clamp>;

struct UnaryTable {
  /// y[i] = f(x[i]); y may be x.
  void (*forward)(DType, int64_t n, Params, const void* x, void* y);
  /// dx[i] = dy[i] * df(x[i], y[i]); dx may be dy. What df does not read may be any n elements.
  void (*backward)(DType, int64_t n, Params, const void* x, const void* y, const void* dy, void* dx);
};
template <class F>
inline constinit Kernels<UnaryTable> unary{F::name};

struct Add {
  static constexpr const char* name = "add";
  template <class T> VOXGRAD_HD static constexpr T f(T a, T b) { return a + b; }
};
struct Sub {
  static constexpr const char* name = "sub";
  template <class T> VOXGRAD_HD static constexpr T f(T a, T b) { return a - b; }
};
struct Mul {
  static constexpr const char* name = "mul";
  template <class T> VOXGRAD_HD static constexpr T f(T a, T b) { return a * b; }
};
struct Div {
  static constexpr const char* name = "div";
  template <class T> VOXGRAD_HD static constexpr T f(T a, T b) { return a / b; }
};
using BinaryList = List<Add, Sub, Mul, Div>;

/// Broadcast operands: stride 0 repeats. Axes as in `out`; strides in elements.
struct BinaryProblem {
  DType dtype;
  Shape out;
  int64_t a_stride[Shape::max_rank], b_stride[Shape::max_rank];
  bool same_shape;  ///< neither operand is repeated: one flat loop
};
struct BinaryTable {
  void (*forward)(const BinaryProblem&, const void* a, const void* b, void* y);
};
template <class F>
inline constinit Kernels<BinaryTable> binary{F::name};

}  // namespace voxgrad::kernels
