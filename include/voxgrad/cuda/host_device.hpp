// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The device of tests: programs written for a card run on the CPU, in its memory, kernel by kernel and thread by thread,
// convolutions as plain loops. It is slow and shows everything that is wrong before a card is there.

#include <cstdlib>
#include <cstring>
#include <functional>

#include "voxgrad/core/error.hpp"
#include "voxgrad/cuda/conv_spec.hpp"
#include "voxgrad/cuda/phases.hpp"

namespace voxgrad::cuda {

class HostDevice {
 public:
  /// Fresh memory is full of NaN, in every element type.
  void* allocate(size_t bytes) {
    void* p = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    check(p != nullptr, "out of memory: ", bytes, " bytes");
    std::memset(p, 0xff, bytes);
    return p;
  }
  void release(void* p) { std::free(p); }
  void forget(uint64_t) {}
  void clear(void* p, size_t bytes) { std::memset(p, 0, bytes); }
  void upload(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }
  void download(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }

  template <class K>
  void launch(const typename K::Args& args) {
    emulate<K>(args);
  }

  size_t conv_workspace(const ConvSpec&) { return 0; }
  /// forward: a = x, b = w, out = y; backward_data: a = dy, b = w, out = dx; backward_weight: a = x, b = dy, out = dw.
  void convolve(const ConvSpec& s, const void* a, const void* b, void* out, void* /*workspace*/) {
    visit(s.io, [&](auto zero) {
      using E = decltype(zero);
      convolve_as<E>(s, static_cast<const E*>(a), static_cast<const E*>(b), static_cast<E*>(out));
    });
  }

  /// Runs the steps of a range; a card would record them once and replay them.
  template <class Program>
  void run(Program& program, int first, int last) {
    program.run(first, last);
  }
  void synchronize() {}

 private:
  template <class E>
  static void convolve_as(const ConvSpec& s, const E* a, const E* b, E* out) {
    const int64_t taps = int64_t(s.kernel[0]) * s.kernel[1] * s.kernel[2];
    const int64_t xs = s.x_row_stride ? s.x_row_stride : s.Ci, ys = s.y_row_stride ? s.y_row_stride : s.Co;
    const int64_t in_rows = int64_t(s.N) * s.in[0] * s.in[1] * s.in[2];
    const bool data = s.op == ConvOp::backward_data, weight = s.op == ConvOp::backward_weight;
    std::vector<double> sum(size_t(data ? in_rows * s.Ci : weight ? s.Co * taps * s.Ci : 0));
    int64_t y_row = 0;
    for (int n = 0; n < s.N; ++n)
      for (int z = 0; z < s.out[0]; ++z)
        for (int y = 0; y < s.out[1]; ++y)
          for (int x = 0; x < s.out[2]; ++x, ++y_row)
            for (int64_t co = 0; co < s.Co; ++co) {
              double acc = 0;
              for (int64_t t = 0; t < taps; ++t) {
                const int kz = int(t / (s.kernel[1] * s.kernel[2])), ky = int(t / s.kernel[2] % s.kernel[1]), kx = int(t % s.kernel[2]);
                const int iz = z * s.stride[0] + kz * s.dilation[0] - s.padding[0], iy = y * s.stride[1] + ky * s.dilation[1] - s.padding[1],
                          ix = x * s.stride[2] + kx * s.dilation[2] - s.padding[2];
                if (iz < 0 || iy < 0 || ix < 0 || iz >= s.in[0] || iy >= s.in[1] || ix >= s.in[2]) continue;
                const int64_t x_row = ((int64_t(n) * s.in[0] + iz) * s.in[1] + iy) * s.in[2] + ix, w = (co * taps + t) * s.Ci;
                for (int64_t ci = 0; ci < s.Ci; ++ci) {
                  if (data) sum[size_t(x_row * s.Ci + ci)] += double(float(a[y_row * ys + co])) * double(float(b[w + ci]));
                  else if (weight) sum[size_t(w + ci)] += double(float(a[x_row * xs + ci])) * double(float(b[y_row * ys + co]));
                  else acc += double(float(a[x_row * xs + ci])) * double(float(b[w + ci]));
                }
              }
              if (!data && !weight) out[y_row * ys + co] = E(float(acc));
            }
    if (weight)
      for (size_t i = 0; i < sum.size(); ++i) out[i] = E(float(sum[i]));
    if (data)
      for (int64_t r = 0; r < in_rows; ++r)
        for (int64_t c = 0; c < s.Ci; ++c) out[r * xs + c] = E(float(sum[size_t(r * s.Ci + c)]));
  }
};

}  // namespace voxgrad::cuda
