// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Pointwise ops of kernels/pointwise.hpp, one element after the other: what runs outside of fused networks.

#include "voxgrad/cuda/element.hpp"
#include "voxgrad/cuda/phases.hpp"
#include "voxgrad/kernels/pointwise.hpp"

namespace voxgrad::cuda {

/// Calls f(first, last) for a thread's share: `width` elements, fewer at the end.
struct Flat {
  static constexpr int threads = 256, width = 8;
  static int64_t blocks(int64_t n) { return (n + threads * width - 1) / (threads * width); }
  VOXGRAD_HD static int64_t first(At at) { return (at.block * threads + at.thread) * width; }
};

/// y[i] = f(x[i]); y may be x.
template <class F, class E>
struct Unary {
  static constexpr const char* name = F::name;
  static constexpr int threads = Flat::threads, phases = 1, width = Flat::width;
  struct Args {
    int64_t n;
    kernels::Params params;
    const E* x;  ///< 16-byte aligned, as all arrays here
    E* y;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  static int64_t blocks(const Args& a) { return Flat::blocks(a.n); }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    const int64_t first = Flat::first(at);
    if (first + width <= a.n) {
      float v[width];
      load<width>(a.x + first, v);
      for (float& e : v) e = F::f(e, a.params);
      store<width>(a.y + first, v);
    } else {
      for (int64_t i = first; i < a.n; ++i) a.y[i] = E(F::f(float(a.x[i]), a.params));
    }
  }
};

/// dx[i] = dy[i] * df(x[i], y[i]); dx may be dy. Of x and y only what df reads is read; the other may be null.
template <class F, class E>
struct UnaryBackward {
  static constexpr const char* name = F::name;
  static constexpr int threads = 256, phases = 1, width = 4;
  struct Args {
    int64_t n;
    kernels::Params params;
    const E *x, *y, *dy;  ///< 16-byte aligned, as all arrays here
    E* dx;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  static int64_t blocks(const Args& a) { return (a.n + threads * width - 1) / (threads * width); }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    const int64_t first = (at.block * threads + at.thread) * width;
    const E* const read = F::reads == kernels::Reads::x ? a.x : a.y;
    if (first + width <= a.n) {
      float v[width] = {}, d[width];
      if constexpr (F::reads != kernels::Reads::nothing) load<width>(read + first, v);
      load<width>(a.dy + first, d);
      for (int i = 0; i < width; ++i) d[i] *= F::df(v[i], v[i], a.params);
      store<width>(a.dx + first, d);
    } else {
      for (int64_t i = first; i < a.n; ++i) {
        const float v = F::reads == kernels::Reads::nothing ? 0.0f : float(read[i]);
        a.dx[i] = E(float(a.dy[i]) * F::df(v, v, a.params));
      }
    }
  }
};

/// y = f(a, b) with broadcasting: stride 0 repeats (kernels::BinaryProblem).
template <class F>
struct Binary {
  static constexpr const char* name = F::name;
  static constexpr int threads = 256, phases = 1;
  static constexpr int max_rank = 6;
  struct Args {
    int64_t n;  ///< elements of y
    int rank;
    int64_t extent[max_rank], a_stride[max_rank], b_stride[max_rank];  ///< of y; in elements
    const float *a, *b;
    float* y;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  static Args args(const kernels::BinaryProblem& p, const float* a, const float* b, float* y) {
    static_assert(max_rank == Shape::max_rank);
    Args r{p.out.size(), p.out.rank(), {}, {}, {}, a, b, y};
    if (p.same_shape) {
      r.rank = 1;
      r.extent[0] = r.n;
      r.a_stride[0] = r.b_stride[0] = 1;
      return r;
    }
    for (int i = 0; i < r.rank; ++i) r.extent[i] = p.out[i], r.a_stride[i] = p.a_stride[i], r.b_stride[i] = p.b_stride[i];
    return r;
  }

  static int64_t blocks(const Args& a) { return (a.n + threads - 1) / threads; }

  template <int>
  VOXGRAD_HD static void run(const Args& p, At at, Shared&, Thread&) {
    const int64_t i = at.block * threads + at.thread;
    if (i >= p.n) return;
    int64_t rest = i, of_a = 0, of_b = 0;
    for (int k = p.rank - 1; k >= 0; --k) {
      const int64_t place = rest % p.extent[k];
      rest /= p.extent[k];
      of_a += place * p.a_stride[k];
      of_b += place * p.b_stride[k];
    }
    p.y[i] = F::f(p.a[of_a], p.b[of_b]);
  }
};

/// y[i] = value.
template <class E>
struct Fill {
  static constexpr const char* name = "fill";
  static constexpr int threads = Flat::threads, phases = 1, width = Flat::width;
  struct Args {
    int64_t n;
    float value;
    E* y;  ///< 16-byte aligned
  };
  using Shared = Nothing;
  using Thread = Nothing;

  static int64_t blocks(const Args& a) { return Flat::blocks(a.n); }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    const int64_t first = Flat::first(at);
    if (first + width <= a.n) {
      float v[width];
      for (float& e : v) e = a.value;
      store<width>(a.y + first, v);
    } else {
      for (int64_t i = first; i < a.n; ++i) a.y[i] = E(a.value);
    }
  }
};

/// y[i] += a x[i]: gradients that meet.
template <class E>
struct Axpy {
  static constexpr const char* name = "axpy";
  static constexpr int threads = Flat::threads, phases = 1, width = Flat::width;
  struct Args {
    int64_t n;
    float a;
    const E* x;  ///< 16-byte aligned, as y is
    E* y;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  static int64_t blocks(const Args& a) { return Flat::blocks(a.n); }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    const int64_t first = Flat::first(at);
    if (first + width <= a.n) {
      float x[width], y[width];
      load<width>(a.x + first, x);
      load<width>(a.y + first, y);
      for (int i = 0; i < width; ++i) y[i] += a.a * x[i];
      store<width>(a.y + first, y);
    } else {
      for (int64_t i = first; i < a.n; ++i) a.y[i] = E(float(a.y[i]) + a.a * float(a.x[i]));
    }
  }
};

}  // namespace voxgrad::cuda
