// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The numbers of a batch norm per channel: a = scale z + shift, from the moments of this batch (FinishNorm) or from the
// running statistics (RunningNorm). z never has the convolution's bias: it cancels against the mean, of which only the
// running one needs it.

#include <cmath>

#include "voxgrad/cuda/kernels/channel_lanes.hpp"

namespace voxgrad::cuda {

/// Merges the partials of ChannelMoments in double and in fixed order, and moves the running statistics.
struct FinishNorm {
  static constexpr const char* name = "finish_norm";
  static constexpr int threads = ChannelLanes::threads, phases = 4;
  struct Args {
    int64_t C, parts;
    const float* partials;                                ///< [parts, 4, C]
    const float *gamma, *beta, *conv_bias;                ///< conv_bias: null, or the bias that z is without
    double eps, momentum;                                 ///< running = (1 - momentum) running + momentum batch
    bool unbiased;                                        ///< the running variance takes the unbiased one
    float *running_mean, *running_var;                    ///< null: kept by nobody
    float *mean, *inv_std, *scale, *shift;
  };
  struct Shared {
    ChannelLanes::Sums count, sum, squares;
  };
  struct Thread {
    double count, mean;
  };

  static int64_t blocks(const Args& a) { return ChannelLanes::blocks(a.C); }

  template <int phase>
  VOXGRAD_HD static void run(const Args& a, At at, Shared& s, Thread& t) {
    const ChannelLanes lane(at);
    if (lane.channel >= a.C) return;
    const float* const from = a.partials + lane.channel;
    const int64_t stride = 4 * a.C;
    if constexpr (phase == 0) {
      double count = 0, sum = 0;
      for (int64_t p = lane.lane; p < a.parts; p += ChannelLanes::lanes) {
        const double n = double(from[p * stride]);
        count += n;
        sum += n * mean_of(a, from + p * stride);
      }
      lane.put(s.count, count);
      lane.put(s.sum, sum);
    } else if constexpr (phase == 1) {
      t.count = lane.total(s.count);
      t.mean = lane.total(s.sum) / t.count;
    } else if constexpr (phase == 2) {
      double squares = 0;
      for (int64_t p = lane.lane; p < a.parts; p += ChannelLanes::lanes) {
        const double d = mean_of(a, from + p * stride) - t.mean;
        squares += double(from[p * stride + 3 * a.C]) + double(from[p * stride]) * d * d;
      }
      lane.put(s.squares, squares);
    } else if (lane.lane == 0) {
      write(a, lane.channel, t.count, t.mean, lane.total(s.squares) / t.count);
    }
  }

 private:
  VOXGRAD_HD static double mean_of(const Args& a, const float* partial) { return double(partial[a.C]) + double(partial[2 * a.C]); }
  VOXGRAD_HD static void write(const Args& a, int64_t c, double count, double mean, double variance) {
    const double inv_std = 1 / std::sqrt(variance + a.eps), scale = double(a.gamma[c]) * inv_std;
    a.mean[c] = float(mean);
    a.inv_std[c] = float(inv_std);
    a.scale[c] = float(scale);
    a.shift[c] = float(double(a.beta[c]) - scale * mean);
    if (a.running_mean) {
      const double whole = mean + (a.conv_bias ? double(a.conv_bias[c]) : 0);
      a.running_mean[c] = float((1 - a.momentum) * double(a.running_mean[c]) + a.momentum * whole);
    }
    if (a.running_var) {
      const double unbias = a.unbiased ? count / (count - 1) : 1;
      a.running_var[c] = float((1 - a.momentum) * double(a.running_var[c]) + a.momentum * variance * unbias);
    }
  }
};

/// The same numbers for inference, and for training with frozen statistics.
struct RunningNorm {
  static constexpr const char* name = "running_norm";
  static constexpr int threads = 128, phases = 1;
  struct Args {
    int64_t C;
    const float *gamma, *beta, *conv_bias;   ///< conv_bias: null, or the bias that z is without
    const float *running_mean, *running_var;
    double eps;
    float *mean, *inv_std, *scale, *shift;
  };
  using Shared = Nothing;
  using Thread = Nothing;

  static int64_t blocks(const Args& a) { return (a.C + threads - 1) / threads; }

  template <int>
  VOXGRAD_HD static void run(const Args& a, At at, Shared&, Thread&) {
    const int64_t c = at.block * threads + at.thread;
    if (c >= a.C) return;
    const double mean = double(a.running_mean[c]) - (a.conv_bias ? double(a.conv_bias[c]) : 0);
    const double inv_std = 1 / std::sqrt(double(a.running_var[c]) + a.eps), scale = double(a.gamma[c]) * inv_std;
    a.mean[c] = float(mean);
    a.inv_std[c] = float(inv_std);
    a.scale[c] = float(scale);
    a.shift[c] = float(double(a.beta[c]) - scale * mean);
  }
};

}  // namespace voxgrad::cuda
