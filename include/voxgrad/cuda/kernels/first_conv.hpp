// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The first convolution, of few input channels, which libraries serve badly: stride 1, padding "same", odd kernels, weights
// [Co, taps, Ci] and all sums in f32. A block computes 8 output channels of 4 x 8 x 32 voxels (z, y, x); it keeps the inputs
// with their halo and the weights in shared memory, and a thread has a column of 4 voxels, so that a weight and an input are
// each used often per load.

#include "voxgrad/core/error.hpp"
#include "voxgrad/cuda/kernels/activation.hpp"
#include "voxgrad/cuda/kernels/slice.hpp"
#include "voxgrad/cuda/phases.hpp"

namespace voxgrad::cuda {

struct FirstConvShape {
  int64_t N, extent[3], Ci, Co, kernel[3];

  VOXGRAD_HD int64_t rows() const { return N * extent[0] * extent[1] * extent[2]; }
  VOXGRAD_HD int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
};

inline void check_first_conv(const char* kernel, const FirstConvShape& s) {
  check<DeviceError>(s.Ci >= 1 && s.Ci <= 4, kernel, ": ", s.Ci, " input channels (expected 1 to 4)");
  for (const int64_t k : s.kernel) check<DeviceError>(k > 0 && k % 2 == 1, kernel, ": a kernel of ", k, " (expected an odd number)");
  check<DeviceError>(s.rows() < int64_t(1) << 31, kernel, ": ", s.rows(), " voxels (expected less than 2^31)");
}

/// The voxels and the 8 output channels of a block.
struct FirstConvTile {
  static constexpr int z = 4, y = 8, x = 32, outputs = 8;

  int64_t n;
  int at[3], output;

  VOXGRAD_HD static int64_t count(const FirstConvShape& s) {
    return s.N * ((s.extent[0] + z - 1) / z) * ((s.extent[1] + y - 1) / y) * ((s.extent[2] + x - 1) / x);
  }
  static int64_t groups(const FirstConvShape& s) { return (s.Co + outputs - 1) / outputs; }

  /// Tile `tile` of count(), group `group` of groups().
  VOXGRAD_HD FirstConvTile(const FirstConvShape& s, uint32_t tile, uint32_t group) : output(int(group) * outputs) {
    const uint32_t nx = uint32_t(s.extent[2] + x - 1) / x, ny = uint32_t(s.extent[1] + y - 1) / y, nz = uint32_t(s.extent[0] + z - 1) / z;
    const uint32_t row = tile / nx, plane = row / ny, volume = plane / nz;
    at[2] = int(tile - row * nx) * x;
    at[1] = int(row - plane * ny) * y;
    at[0] = int(plane - volume * nz) * z;
    n = volume;
  }
};

template <class E>
struct FirstConv {
  static constexpr const char* name = "first_conv";
  static constexpr int threads = 256, phases = 2, outputs = FirstConvTile::outputs;
  struct Args {
    FirstConvShape shape;
    const E* x;                  ///< [N, extent, Ci]
    const float *weight, *bias;  ///< [Co, taps, Ci], [Co] or null
    float slope;                 ///< act(v) = v > 0 ? v : slope v; 1: none
    Slice<E> y;                  ///< [N extent, Co]
  };
  static constexpr int most_inputs = 6 * 10 * 34 * 4, most_weights = 343 * outputs;  // 3x3x3 of 4 channels, 7x7x7 of 1
  struct Shared {
    float x[most_inputs];  ///< [channel, z, y, x] with the halo
    alignas(16) float weight[most_weights];  ///< [channel, tap, output]
  };
  using Thread = Nothing;

  static int64_t blocks(const Args& a) {
    check_first_conv(name, a.shape);
    return FirstConvTile::count(a.shape) * FirstConvTile::groups(a.shape);
  }

  template <int phase>
  VOXGRAD_HD static void run(const Args& a, At at, Shared& shared, Thread&) {
    const FirstConvShape& s = a.shape;
    const auto groups = uint32_t(s.Co + outputs - 1) / outputs, tile = uint32_t(at.block) / groups;
    const FirstConvTile t(s, tile, uint32_t(at.block) - tile * groups);
    const bool staged = halo(s) * s.Ci <= most_inputs && s.taps() * s.Ci * outputs <= most_weights;
    if constexpr (phase == 0) {
      if (staged) stage(a, t, at.thread, shared);
    } else {
      const int x = at.thread % FirstConvTile::x, y = at.thread / FirstConvTile::x;
      if (t.at[1] + y >= s.extent[1] || t.at[2] + x >= s.extent[2]) return;
      if (!staged) return from_memory(a, t, t.at[1] + y, t.at[2] + x);
      float sum[FirstConvTile::z][outputs];
      for (int j = 0; j < outputs; ++j) {
        const float b = a.bias && t.output + j < s.Co ? a.bias[t.output + j] : 0;
        for (auto& v : sum) v[j] = b;
      }
      from_shared(s, shared, y, x, sum);
      write(a, t, t.at[1] + y, t.at[2] + x, sum);
    }
  }

 private:
  VOXGRAD_HD static int64_t halo(const FirstConvShape& s) {
    return (FirstConvTile::z + s.kernel[0] - 1) * (FirstConvTile::y + s.kernel[1] - 1) * (FirstConvTile::x + s.kernel[2] - 1);
  }
  VOXGRAD_HD static float input(const Args& a, const FirstConvTile& t, int z, int y, int x, int ci) {
    const FirstConvShape& s = a.shape;
    if (z < 0 || z >= s.extent[0] || y < 0 || y >= s.extent[1] || x < 0 || x >= s.extent[2]) return 0;
    return float(a.x[(((t.n * s.extent[0] + z) * s.extent[1] + y) * s.extent[2] + x) * s.Ci + ci]);
  }
  VOXGRAD_HD static void stage(const Args& a, const FirstConvTile& t, int thread, Shared& shared) {
    const FirstConvShape& s = a.shape;
    const auto hx = uint32_t(FirstConvTile::x + s.kernel[2] - 1), hy = uint32_t(FirstConvTile::y + s.kernel[1] - 1);
    const auto Ci = int(s.Ci), volume = int(halo(s));
    for (int i = thread; i < volume; i += threads) {
      const uint32_t row = uint32_t(i) / hx, plane = row / hy;
      const int x = t.at[2] + i - int(row * hx) - int(s.kernel[2] / 2), y = t.at[1] + int(row - plane * hy) - int(s.kernel[1] / 2),
                z = t.at[0] + int(plane) - int(s.kernel[0] / 2);
      for (int ci = 0; ci < Ci; ++ci) shared.x[ci * volume + i] = input(a, t, z, y, x, ci);
    }
    const auto taps = int(s.taps());
    for (int i = thread; i < taps * Ci * outputs; i += threads) {
      const int j = i % outputs, tap = i / outputs % taps, ci = i / outputs / taps;
      shared.weight[i] = t.output + j < s.Co ? a.weight[(int64_t(t.output + j) * taps + tap) * Ci + ci] : 0;
    }
  }
  VOXGRAD_HD static void from_shared(const FirstConvShape& s, const Shared& shared, int y, int x, float (&sum)[FirstConvTile::z][outputs]) {
    const auto hx = int(FirstConvTile::x + s.kernel[2] - 1), plane = int(FirstConvTile::y + s.kernel[1] - 1) * hx;
    const float* w = shared.weight;
    const float* channel = shared.x + y * hx + x;
    for (int ci = 0; ci < int(s.Ci); ++ci, channel += int(halo(s)))
      for (int kz = 0; kz < int(s.kernel[0]); ++kz)
        for (int ky = 0; ky < int(s.kernel[1]); ++ky) {
          const float* in = channel + kz * plane + ky * hx;
          for (int kx = 0; kx < int(s.kernel[2]); ++kx, ++in, w += outputs) {
            float weight[outputs];
            load<outputs>(w, weight);
            for (int z = 0; z < FirstConvTile::z; ++z) {
              const float v = in[z * plane];
              for (int j = 0; j < outputs; ++j) sum[z][j] += v * weight[j];
            }
          }
        }
  }
  /// Kernels whose halo or weights do not fit: one sum at a time, everything from the caches.
  VOXGRAD_HD static void from_memory(const Args& a, const FirstConvTile& t, int y, int x) {
    const FirstConvShape& s = a.shape;
    for (int z = t.at[0]; z < t.at[0] + FirstConvTile::z && z < s.extent[0]; ++z) {
      E* const to = a.y.at(((t.n * s.extent[0] + z) * s.extent[1] + y) * s.extent[2] + x, 0);
      for (int co = t.output; co < t.output + outputs && co < s.Co; ++co) to[co] = E(leaky(one(a, t, z, y, x, co), a.slope));
    }
  }
  VOXGRAD_HD static float one(const Args& a, const FirstConvTile& t, int z, int y, int x, int co) {
    const FirstConvShape& s = a.shape;
    const int pz = int(s.kernel[0] / 2), py = int(s.kernel[1] / 2), px = int(s.kernel[2] / 2);
    const float* w = a.weight + co * s.taps() * s.Ci;
    float sum = a.bias ? a.bias[co] : 0;
    for (int kz = -pz; kz <= pz; ++kz)
      for (int ky = -py; ky <= py; ++ky)
        for (int kx = -px; kx <= px; ++kx)
          for (int ci = 0; ci < int(s.Ci); ++ci, ++w) sum += input(a, t, z + kz, y + ky, x + kx, ci) * *w;
    return sum;
  }
  VOXGRAD_HD static void write(const Args& a, const FirstConvTile& t, int y, int x, float (&sum)[FirstConvTile::z][outputs]) {
    const FirstConvShape& s = a.shape;
    const bool whole = t.output + outputs <= s.Co && fits(width_of<E>, a.y);
    for (int z = 0; z < FirstConvTile::z; ++z) {
      if (t.at[0] + z >= s.extent[0]) break;
      for (float& v : sum[z]) v = leaky(v, a.slope);
      E* const to = a.y.at(((t.n * s.extent[0] + t.at[0] + z) * s.extent[1] + y) * s.extent[2] + x, t.output);
      if (whole) {
        store<outputs>(to, sum[z]);
      } else {
        for (int j = 0; j < outputs; ++j)
          if (t.output + j < s.Co) to[j] = E(sum[z][j]);
      }
    }
  }
};

}  // namespace voxgrad::cuda
