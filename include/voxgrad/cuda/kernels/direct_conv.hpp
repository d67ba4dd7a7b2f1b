// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The convolution as its definition says, for any kernel, stride, padding and dilation: what library convolutions are
// checked against, and what runs where they refuse. Weights lie as [Co, taps, Ci], taps = kD kH kW.

#include "voxgrad/core/error.hpp"
#include "voxgrad/cuda/kernels/slice.hpp"
#include "voxgrad/cuda/kernels/voxel_place.hpp"
#include "voxgrad/cuda/phases.hpp"

namespace voxgrad::cuda {

/// y[n, o, co] = bias[co] + sum over k, ci of x[n, o stride + k dilation - padding, ci] w[co, k, ci].
struct ConvShape {
  int64_t N, in[3], Ci, out[3], Co;
  int64_t kernel[3], stride[3], padding[3], dilation[3];

  VOXGRAD_HD int64_t rows_in() const { return N * in[0] * in[1] * in[2]; }
  VOXGRAD_HD int64_t rows_out() const { return N * out[0] * out[1] * out[2]; }
  VOXGRAD_HD int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
  /// The input row that tap k of the output at `p` reads, or -1.
  VOXGRAD_HD int64_t reached(const VoxelPlace& p, int64_t kz, int64_t ky, int64_t kx) const {
    const int64_t z = p.at[0] * stride[0] + kz * dilation[0] - padding[0], y = p.at[1] * stride[1] + ky * dilation[1] - padding[1],
                  x = p.at[2] * stride[2] + kx * dilation[2] - padding[2];
    if (z < 0 || z >= in[0] || y < 0 || y >= in[1] || x < 0 || x >= in[2]) return -1;
    return ((p.n * in[0] + z) * in[1] + y) * in[2] + x;
  }
  /// The output coordinate whose tap k reads coordinate i of an axis, or -1.
  VOXGRAD_HD int64_t reading(int axis, int64_t i, int64_t k) const {
    const int64_t o = i + padding[axis] - k * dilation[axis];
    return o < 0 || o % stride[axis] != 0 || o / stride[axis] >= out[axis] ? -1 : o / stride[axis];
  }
};

inline void check_conv(const char* kernel, const ConvShape& s) {
  const bool counted = s.rows_in() < int64_t(1) << 31 && s.rows_out() < int64_t(1) << 31;
  check<DeviceError>(counted, kernel, ": ", s.rows_in(), " voxels to ", s.rows_out(), " (expected less than 2^31)");
}

template <class E>
struct DirectConv {
  static constexpr const char* name = "direct_conv";
  static constexpr int threads = 256, phases = 1;
  struct Args {
    ConvShape shape;
    Slice<const E> x;
    const E* w;
    const float* bias;  ///< [Co] or null
    Slice<E> y;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  static int64_t blocks(const Args& a) {
    check_conv(name, a.shape);
    return (a.shape.rows_out() * a.shape.Co + threads - 1) / threads;
  }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    const ConvShape& s = a.shape;
    const int64_t i = at.block * threads + at.thread, row = i / s.Co, co = i - row * s.Co;
    if (row >= s.rows_out()) return;
    const VoxelPlace place(uint32_t(row), s.out[0], s.out[1], s.out[2]);
    float sum = a.bias ? a.bias[co] : 0;
    const E* w = a.w + co * s.taps() * s.Ci;
    for (int64_t kz = 0; kz < s.kernel[0]; ++kz)
      for (int64_t ky = 0; ky < s.kernel[1]; ++ky)
        for (int64_t kx = 0; kx < s.kernel[2]; ++kx, w += s.Ci) {
          const int64_t from = s.reached(place, kz, ky, kx);
          if (from < 0) continue;
          const E* x = a.x.at(from, 0);
          for (int64_t ci = 0; ci < s.Ci; ++ci) sum += float(x[ci]) * float(w[ci]);
        }
    *a.y.at(row, co) = E(sum);
  }
};

/// dx, which is also the transposed convolution: there x is dy, and the outputs' bias and place are dx's.
template <class E>
struct DirectConvBackwardData {
  static constexpr const char* name = "direct_conv_backward_data";
  static constexpr int threads = 256, phases = 1;
  struct Args {
    ConvShape shape;
    Slice<const E> dy;
    const E* w;
    Slice<E> dx;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  static int64_t blocks(const Args& a) {
    check_conv(name, a.shape);
    return (a.shape.rows_in() * a.shape.Ci + threads - 1) / threads;
  }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    const ConvShape& s = a.shape;
    const int64_t i = at.block * threads + at.thread, row = i / s.Ci, ci = i - row * s.Ci;
    if (row >= s.rows_in()) return;
    const VoxelPlace place(uint32_t(row), s.in[0], s.in[1], s.in[2]);
    float sum = 0;
    int64_t tap = 0;
    for (int64_t kz = 0; kz < s.kernel[0]; ++kz)
      for (int64_t ky = 0; ky < s.kernel[1]; ++ky)
        for (int64_t kx = 0; kx < s.kernel[2]; ++kx, ++tap) {
          const int64_t z = s.reading(0, place.at[0], kz), y = s.reading(1, place.at[1], ky), x = s.reading(2, place.at[2], kx);
          if (z < 0 || y < 0 || x < 0) continue;
          const E* dy = a.dy.at(((place.n * s.out[0] + z) * s.out[1] + y) * s.out[2] + x, 0);
          for (int64_t co = 0; co < s.Co; ++co) sum += float(dy[co]) * float(a.w[(co * s.taps() + tap) * s.Ci + ci]);
        }
    *a.dx.at(row, ci) = E(sum);
  }
};

/// dw [Co, taps, Ci] in f32: a block per element, whose threads take every 256th output voxel. Sums are compensated
/// (Kahan 1965), since there may be millions of terms.
template <class E>
struct DirectConvBackwardWeight {
  static constexpr const char* name = "direct_conv_backward_weight";
  static constexpr int threads = 256, phases = 2;
  struct Args {
    ConvShape shape;
    Slice<const E> x, dy;
    float* dw;
  };
  struct Shared {
    float sum[threads];
  };
  using Thread = Nothing;

  static int64_t blocks(const Args& a) {
    check_conv(name, a.shape);
    return a.shape.Co * a.shape.taps() * a.shape.Ci;
  }

  template <int phase>
  VOXGRAD_HD static void run(const Args& a, At at, Shared& shared, Thread&) {
    if constexpr (phase == 0) {
      shared.sum[at.thread] = sum(a, at);
    } else {
      if (at.thread != 0) return;
      double all = 0;
      for (const float s : shared.sum) all += double(s);
      a.dw[at.block] = float(all);
    }
  }

 private:
  VOXGRAD_HD static float sum(const Args& a, At at) {
    const ConvShape& s = a.shape;
    const int64_t ci = at.block % s.Ci, k = at.block / s.Ci % s.taps(), co = at.block / s.Ci / s.taps();
    const int64_t kx = k % s.kernel[2], ky = k / s.kernel[2] % s.kernel[1], kz = k / s.kernel[2] / s.kernel[1];
    float total = 0, lost = 0;
    for (int64_t row = at.thread; row < s.rows_out(); row += threads) {
      const int64_t from = s.reached(VoxelPlace(uint32_t(row), s.out[0], s.out[1], s.out[2]), kz, ky, kx);
      if (from < 0) continue;
      const float term = float(*a.x.at(from, ci)) * float(*a.dy.at(row, co)) - lost, next = total + term;
      lost = (next - total) - term;
      total = next;
    }
    return total;
  }
};

}  // namespace voxgrad::cuda
