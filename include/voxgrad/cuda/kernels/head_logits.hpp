// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A 1x1x1 convolution to a few outputs, in f32, of values that are finished while they are read:
// logit[row, co] = bias[co] + sum over c of act(scale z + shift)[row, c] weight[c, co].

#include "voxgrad/cuda/kernels/activation.hpp"
#include "voxgrad/cuda/kernels/partial_sums.hpp"
#include "voxgrad/cuda/kernels/slice.hpp"

namespace voxgrad::cuda {

template <class E>
struct HeadLogits {
  static constexpr const char* name = "head_logits";
  static constexpr int threads = 256, phases = 1, width = width_of<E>;
  struct Args {
    int64_t rows, C;
    Slice<const E> z;
    const float *scale, *shift;  ///< null: z is taken as it is
    float slope;                 ///< 1: no activation
    int Co;
    const float *weight, *bias;  ///< [C, Co], [Co]; bias may be null
    float *logits, *sigmoid;     ///< [rows, Co], each null where not wanted
  };
  using Shared = Nothing;
  using Thread = Nothing;

  VOXGRAD_HD static bool wide(const Args& a) {
    return a.C % width == 0 && fits(width, a.z) && fit(width, a.scale, a.shift) && (a.Co > 1 || fit(width, a.weight));
  }
  static int64_t blocks(const Args& a) {
    check<DeviceError>(a.Co >= 1 && a.Co <= most_head_outputs, name, ": the head has ", a.Co, " outputs (expected 1 to ", most_head_outputs, ")");
    return (a.rows + threads - 1) / threads;
  }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    const int64_t row = at.block * threads + at.thread;
    if (row >= a.rows) return;
    if (wide(a)) logits<width>(a, row);
    else logits<1>(a, row);
  }

 private:
  template <int V>
  VOXGRAD_HD static void logits(const Args& a, int64_t row) {
    float sum[most_head_outputs];
    for (float& s : sum) s = 0;
    for (int64_t c = 0; c < a.C; c += V) {
      float v[V];
      load<V>(a.z.at(row, c), v);
      if (a.scale) {
        float scale[V], shift[V];
        load<V>(a.scale + c, scale);
        load<V>(a.shift + c, shift);
        for (int i = 0; i < V; ++i) v[i] = scale[i] * v[i] + shift[i];
      }
      for (int i = 0; i < V; ++i) v[i] = leaky(v[i], a.slope);
      add<V>(a, c, v, sum);
    }
    for (int co = 0; co < most_head_outputs; ++co) {
      if (co >= a.Co) break;
      const float logit = sum[co] + (a.bias ? a.bias[co] : 0);
      if (a.logits) a.logits[row * a.Co + co] = logit;
      if (a.sigmoid) a.sigmoid[row * a.Co + co] = kernels::Sigmoid::f(logit, {});
    }
  }
  template <int V>
  VOXGRAD_HD static void add(const Args& a, int64_t c, const float (&v)[V], float (&sum)[most_head_outputs]) {
    if (a.Co == 1) {
      float w[V];
      load<V>(a.weight + c, w);
      for (int i = 0; i < V; ++i) sum[0] += v[i] * w[i];
      return;
    }
    for (int co = 0; co < most_head_outputs; ++co)
      if (co < a.Co)
        for (int i = 0; i < V; ++i) sum[co] += v[i] * a.weight[(c + i) * a.Co + co];
  }
};

}  // namespace voxgrad::cuda
