// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Where the gradient of an activated tensor comes from: the sum of what its consumers left, in their own form. A pooled
// gradient is spread and a head's is multiplied out while reading, so that neither exists at full size.

#include "voxgrad/cuda/kernels/divider.hpp"
#include "voxgrad/cuda/kernels/slice.hpp"

namespace voxgrad::cuda {

/// From a row of a volume [N, D, H, W] to the row and the position in the window of a pooling whose windows do not overlap.
struct PoolWindows {
  Divider extent[3], window[3];
  uint32_t out[3];

  struct Place {
    uint32_t row, position;
    bool inside;  ///< false: left over at the end of an odd extent
  };
  PoolWindows() = default;
  PoolWindows(int64_t D, int64_t H, int64_t W, int64_t kD, int64_t kH, int64_t kW)
      : extent{Divider(D), Divider(H), Divider(W)}, window{Divider(kD), Divider(kH), Divider(kW)},
        out{uint32_t(D / kD), uint32_t(H / kH), uint32_t(W / kW)} {}

  VOXGRAD_HD Place place(uint32_t row) const {
    uint32_t x = extent[2].split(row), y = extent[1].split(row), z = extent[0].split(row);
    const uint32_t kx = window[2].split(x), ky = window[1].split(y), kz = window[0].split(z);
    return {((row * out[0] + z) * out[1] + y) * out[2] + x, (kz * window[1].divisor + ky) * window[2].divisor + kx,
            z < out[0] && y < out[1] && x < out[2]};
  }
};

/// Through a max-pooling: the pooled gradient [rows of the pooled volume, C] and the winners that the forward pass kept.
template <class E>
struct PooledGradient {
  const E* gradient;  ///< null: absent
  const uint8_t* argmax;
  PoolWindows windows;
};

/// Through a 1x1x1 convolution to a few outputs: dlogit [rows, Co] times weight [C, Co].
struct HeadGradient {
  const float* dlogit;  ///< null: absent
  const float* weight;
  int Co;
};

template <class E>
struct GradientSource {
  Slice<const E> first{}, second{};
  PooledGradient<E> pooled{};
  HeadGradient head{};

  VOXGRAD_HD bool fit(int width, int64_t C) const {
    return fits(width, first) && fits(width, second) && fits(width, pooled.gradient, C) &&
           (pooled.argmax == nullptr || reinterpret_cast<uintptr_t>(pooled.argmax) % uintptr_t(width) == 0) &&
           (head.weight == nullptr || reinterpret_cast<uintptr_t>(head.weight) % 16 == 0);
  }

  /// g = the gradient of V channels of a row of [rows, C].
  template <int V>
  VOXGRAD_HD void load(uint32_t row, uint32_t channel, int64_t C, float (&g)[V]) const {
    if (first) {
      cuda::load<V>(first.at(row, channel), g);
    } else {
      for (int i = 0; i < V; ++i) g[i] = 0;
    }
    if (second) {
      float other[V];
      cuda::load<V>(second.at(row, channel), other);
      for (int i = 0; i < V; ++i) g[i] += other[i];
    }
    if (pooled.gradient) add_pooled(row, channel, C, g);
    if (head.dlogit) add_head(row, channel, g);
  }

 private:
  template <int V>
  VOXGRAD_HD void add_pooled(uint32_t row, uint32_t channel, int64_t C, float (&g)[V]) const {
    const PoolWindows::Place p = pooled.windows.place(row);
    if (!p.inside) return;
    float value[V];
    cuda::load<V>(pooled.gradient + p.row * C + channel, value);
    const auto winner = *reinterpret_cast<const Pack<uint8_t, V>*>(pooled.argmax + p.row * C + channel);
    for (int i = 0; i < V; ++i) g[i] += winner.v[i] == p.position ? value[i] : 0;
  }
  template <int V>
  VOXGRAD_HD void add_head(uint32_t row, uint32_t channel, float (&g)[V]) const {
    if (head.Co == 1) {
      const float d = head.dlogit[row];
      float w[V];
      cuda::load<V>(head.weight + channel, w);
      for (int i = 0; i < V; ++i) g[i] += d * w[i];
      return;
    }
#ifdef __CUDACC__
#pragma unroll 1  // rare, and unrolled it would take the registers that the rest needs
#endif
    for (int co = 0; co < head.Co; ++co) {
      const float d = head.dlogit[int64_t(row) * head.Co + co];
      for (int i = 0; i < V; ++i) g[i] += d * head.weight[int64_t(channel + uint32_t(i)) * head.Co + co];
    }
  }
};

}  // namespace voxgrad::cuda
