// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The convolutions as loops: the definition, for any float type, summed in double. A convolution places its
// kernel at every point o of one grid (y's, or x's for the transposed convolution) and reaches i = o stride +
// k dilation - padding on the other; the three sums over that relation serve both ops.

#include <algorithm>

#include "voxgrad/core/parallel.hpp"
#include "voxgrad/kernels/conv3d.hpp"

namespace voxgrad::cpu {

/// The relation of one axis: point i = o stride + k dilation - padding, 0 <= o < placed, 0 <= i < reached.
struct ConvAxis {
  int64_t placed, reached, kernel, stride, padding, dilation;

  int64_t reach(int64_t o, int64_t k) const { return o * stride + k * dilation - padding; }
  /// The o that reaches i through tap k, or -1.
  int64_t place(int64_t i, int64_t k) const {
    const int64_t s = i + padding - k * dilation;
    return s >= 0 && s % stride == 0 && s / stride < placed ? s / stride : -1;
  }
  /// Taps k that o reaches inside the grid: [first, last).
  int64_t first_tap(int64_t o) const {
    const int64_t missing = padding - o * stride;
    return missing <= 0 ? 0 : std::min(kernel, (missing + dilation - 1) / dilation);
  }
  int64_t last_tap(int64_t o) const {
    const int64_t room = reached - 1 + padding - o * stride;
    return room < 0 ? 0 : std::min(kernel, room / dilation + 1);
  }
  /// Points o whose tap k lies inside the grid: [first, last).
  int64_t first_point(int64_t k) const {
    const int64_t missing = padding - k * dilation;
    return missing <= 0 ? 0 : std::min(placed, (missing + stride - 1) / stride);
  }
  int64_t last_point(int64_t k) const {
    const int64_t room = reached - 1 + padding - k * dilation;
    return room < 0 ? 0 : std::min(placed, room / stride + 1);
  }
};

/// Axis a of a problem; `transposed`: the kernel is placed at x's points and reaches y's.
inline ConvAxis conv_axis(const kernels::Conv3dProblem& p, int a, bool transposed) {
  return {transposed ? p.in[a] : p.out[a],
          transposed ? p.out[a] : p.in[a],
          p.kernel[a],
          p.stride[a],
          p.padding[a],
          p.dilation[a]};
}

/// out[n,o,b] = bias[b] + sum over k, a of in[n, reach(o,k), a] w[k,a,b].
template <class T>
void conv_gather_ref(const ConvAxis (&axis)[3], int64_t N, int64_t A, int64_t B, const T* in, const T* w,
                     const T* bias, T* out) {
  parallel_for(N * axis[0].placed, 1, [&](int64_t begin, int64_t end) {
    double* sum = static_cast<double*>(scratch(0, size_t(B) * sizeof(double)));
    T* y = out + begin * axis[1].placed * axis[2].placed * B;
    for (int64_t slab = begin; slab < end; ++slab) {
      const int64_t n = slab / axis[0].placed, od = slab % axis[0].placed;
      for (int64_t oh = 0; oh < axis[1].placed; ++oh)
        for (int64_t ow = 0; ow < axis[2].placed; ++ow, y += B) {
          for (int64_t b = 0; b < B; ++b) sum[b] = bias ? double(bias[b]) : 0.0;
          for (int64_t kd = axis[0].first_tap(od); kd < axis[0].last_tap(od); ++kd)
            for (int64_t kh = axis[1].first_tap(oh); kh < axis[1].last_tap(oh); ++kh)
              for (int64_t kw = axis[2].first_tap(ow); kw < axis[2].last_tap(ow); ++kw) {
                const T* x = in + (((n * axis[0].reached + axis[0].reach(od, kd)) * axis[1].reached +
                                    axis[1].reach(oh, kh)) *
                                       axis[2].reached +
                                   axis[2].reach(ow, kw)) *
                                      A;
                const T* row = w + ((kd * axis[1].kernel + kh) * axis[2].kernel + kw) * A * B;
                for (int64_t a = 0; a < A; ++a, row += B)
                  for (int64_t b = 0; b < B; ++b) sum[b] += double(x[a]) * double(row[b]);
              }
          for (int64_t b = 0; b < B; ++b) y[b] = T(sum[b]);
        }
    }
  });
}

/// out[n,i,b] = bias[b] + sum over k, a of in[n, place(i,k), a] w[k,a,b]: the adjoint relation.
template <class T>
void conv_scatter_ref(const ConvAxis (&axis)[3], int64_t N, int64_t A, int64_t B, const T* in, const T* w,
                      const T* bias, T* out) {
  parallel_for(N * axis[0].reached, 1, [&](int64_t begin, int64_t end) {
    double* sum = static_cast<double*>(scratch(0, size_t(B) * sizeof(double)));
    T* y = out + begin * axis[1].reached * axis[2].reached * B;
    for (int64_t slab = begin; slab < end; ++slab) {
      const int64_t n = slab / axis[0].reached, id = slab % axis[0].reached;
      for (int64_t ih = 0; ih < axis[1].reached; ++ih)
        for (int64_t iw = 0; iw < axis[2].reached; ++iw, y += B) {
          for (int64_t b = 0; b < B; ++b) sum[b] = bias ? double(bias[b]) : 0.0;
          for (int64_t kd = 0; kd < axis[0].kernel; ++kd) {
            const int64_t od = axis[0].place(id, kd);
            for (int64_t kh = 0; od >= 0 && kh < axis[1].kernel; ++kh) {
              const int64_t oh = axis[1].place(ih, kh);
              for (int64_t kw = 0; oh >= 0 && kw < axis[2].kernel; ++kw) {
                const int64_t ow = axis[2].place(iw, kw);
                if (ow < 0) continue;
                const T* x =
                    in + (((n * axis[0].placed + od) * axis[1].placed + oh) * axis[2].placed + ow) * A;
                const T* row = w + ((kd * axis[1].kernel + kh) * axis[2].kernel + kw) * A * B;
                for (int64_t a = 0; a < A; ++a, row += B)
                  for (int64_t b = 0; b < B; ++b) sum[b] += double(x[a]) * double(row[b]);
              }
            }
          }
          for (int64_t b = 0; b < B; ++b) y[b] = T(sum[b]);
        }
    }
  });
}

/// dw[k,ci,co] = sum over n, o of x dy, one of them at o and the other at reach(o,k); `transposed`: x is at
/// o.
template <class T>
void conv_weight_ref(const ConvAxis (&axis)[3], bool transposed, int64_t N, int64_t Ci, int64_t Co,
                     const T* x, const T* dy, T* dw) {
  parallel_for(axis[0].kernel * axis[1].kernel * axis[2].kernel, 1, [&](int64_t begin, int64_t end) {
    double* sum = static_cast<double*>(scratch(0, size_t(Ci * Co) * sizeof(double)));
    for (int64_t tap = begin; tap < end; ++tap) {
      const int64_t kw = tap % axis[2].kernel, kh = tap / axis[2].kernel % axis[1].kernel,
                    kd = tap / axis[2].kernel / axis[1].kernel;
      std::fill(sum, sum + Ci * Co, 0.0);
      for (int64_t n = 0; n < N; ++n)
        for (int64_t od = axis[0].first_point(kd); od < axis[0].last_point(kd); ++od)
          for (int64_t oh = axis[1].first_point(kh); oh < axis[1].last_point(kh); ++oh)
            for (int64_t ow = axis[2].first_point(kw); ow < axis[2].last_point(kw); ++ow) {
              const int64_t o = ((n * axis[0].placed + od) * axis[1].placed + oh) * axis[2].placed + ow;
              const int64_t i =
                  ((n * axis[0].reached + axis[0].reach(od, kd)) * axis[1].reached + axis[1].reach(oh, kh)) *
                      axis[2].reached +
                  axis[2].reach(ow, kw);
              const T* a = x + (transposed ? o : i) * Ci;
              const T* b = dy + (transposed ? i : o) * Co;
              for (int64_t ci = 0; ci < Ci; ++ci)
                for (int64_t co = 0; co < Co; ++co) sum[ci * Co + co] += double(a[ci]) * double(b[co]);
            }
      for (int64_t c = 0; c < Ci * Co; ++c) dw[tap * Ci * Co + c] = T(sum[c]);
    }
  });
}

/// db[co] = sum over all points of dy.
template <class T>
void conv_bias_ref(int64_t points, int64_t Co, const T* dy, T* db) {
  double* sum = static_cast<double*>(scratch(0, size_t(Co) * sizeof(double)));
  std::fill(sum, sum + Co, 0.0);
  for (int64_t o = 0; o < points; ++o)
    for (int64_t co = 0; co < Co; ++co) sum[co] += double(dy[o * Co + co]);
  for (int64_t co = 0; co < Co; ++co) db[co] = T(sum[co]);
}

/// w [k,Ci,Co] as [k,Co,Ci], in the caller's scratch slot 1.
template <class T>
const T* conv_transposed_weight(int64_t taps, int64_t Ci, int64_t Co, const T* w) {
  T* t = static_cast<T*>(scratch(1, size_t(taps * Ci * Co) * sizeof(T)));
  for (int64_t k = 0; k < taps; ++k)
    for (int64_t ci = 0; ci < Ci; ++ci)
      for (int64_t co = 0; co < Co; ++co) t[(k * Co + co) * Ci + ci] = w[(k * Ci + ci) * Co + co];
  return t;
}

inline int64_t conv_taps(const kernels::Conv3dProblem& p) { return p.kernel[0] * p.kernel[1] * p.kernel[2]; }

template <class T>
void conv3d_forward_ref(const kernels::Conv3dProblem& p, const T* x, const T* w, const T* bias, T* y) {
  const ConvAxis axis[3] = {conv_axis(p, 0, false), conv_axis(p, 1, false), conv_axis(p, 2, false)};
  conv_gather_ref(axis, p.N, p.Ci, p.Co, x, w, bias, y);
}

template <class T>
void conv3d_backward_data_ref(const kernels::Conv3dProblem& p, const T* dy, const T* w, T* dx) {
  const ConvAxis axis[3] = {conv_axis(p, 0, false), conv_axis(p, 1, false), conv_axis(p, 2, false)};
  const T* no_bias = nullptr;
  conv_scatter_ref(axis, p.N, p.Co, p.Ci, dy, conv_transposed_weight(conv_taps(p), p.Ci, p.Co, w), no_bias,
                   dx);
}

template <class T>
void conv3d_backward_weight_ref(const kernels::Conv3dProblem& p, const T* x, const T* dy, T* dw, T* db) {
  const ConvAxis axis[3] = {conv_axis(p, 0, false), conv_axis(p, 1, false), conv_axis(p, 2, false)};
  conv_weight_ref(axis, false, p.N, p.Ci, p.Co, x, dy, dw);
  if (db) conv_bias_ref(p.N * p.out[0] * p.out[1] * p.out[2], p.Co, dy, db);
}

}  // namespace voxgrad::cpu
