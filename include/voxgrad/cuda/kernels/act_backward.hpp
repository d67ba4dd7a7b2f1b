// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The gradient of y = act(v), v = scale z + bias + second (BiasAct): dv = da act'(v), and its sum over rows, which is the
// bias gradient. With `head`, where da comes through a 1x1x1 convolution to a few outputs, also that one's gradients.

#include "voxgrad/cuda/kernels/bias_act.hpp"
#include "voxgrad/cuda/kernels/gradient_source.hpp"
#include "voxgrad/cuda/kernels/partial_sums.hpp"

namespace voxgrad::cuda {

template <class E, bool head = false>
struct ActBackward {
  using Sums = PartialSums<1, head, width_of<E>>;
  static constexpr const char* name = head ? "act_backward_head" : "act_backward";
  static constexpr int threads = tile_threads, phases = Sums::phases, width = width_of<E>;
  struct Args {
    int64_t rows, C;
    Slice<const E> saved;         ///< z, or y with saved_output; may be absent where there is no activation and no head
    bool saved_output;
    const float *scale, *bias;    ///< of v; null: 1 and 0. Not looked at with saved_output
    Slice<const E> second;        ///< of v
    Activation activation;
    GradientSource<E> from;
    Slice<E> dv;                  ///< absent: not wanted. May be saved, second, from.first or from.second
    float* partials;              ///< workspace(), or null: sums not wanted
  };
  using Shared = typename Sums::Shared;
  using Thread = typename Sums::Thread;

  static int64_t parts(int64_t rows, int64_t C) { return sum_parts(rows, C, width); }
  static int64_t workspace(int64_t rows, int64_t C, int Co = 0) { return parts(rows, C) * partial_size(1, C, Co) * int64_t(sizeof(float)); }
  VOXGRAD_HD static bool wide(const Args& a) {
    return a.C % width == 0 && is_cheap(a.activation) && fits(width, a.saved) && fits(width, a.second) && fits(width, a.dv) && a.from.fit(width, a.C) &&
           fit(width, a.scale, a.bias);
  }
  static int64_t blocks(const Args& a) {
    check_head(name, head, a.from.head);
    check<DeviceError>(!a.saved_output || derivative_from_output(a.activation), name, ": the derivative of activation ",
                       int(a.activation.kind), " cannot be told from its output");
    check<DeviceError>(a.saved || (!head && a.activation.kind == ActivationKind::none), name, ": nothing was saved to take the derivative from");
    return tile_blocks(a.partials ? parts(a.rows, a.C) : stream_parts(a.rows, a.C, width), a.C, wide(a) ? width : 1);
  }

  template <int phase>
  VOXGRAD_HD static void run(const Args& a, At at, Shared& s, Thread& t) {
    if (wide(a)) step<phase, width>(a, at, s, t);
    else step<phase, 1>(a, at, s, t);
  }

 private:
  template <int phase, int V>
  VOXGRAD_HD static void step(const Args& a, At at, Shared& s, Thread& t) {
    if constexpr (phase == 0) {
      t.tile = ChannelTile(at, a.rows, a.C, V);
      rows<V>(a, t);
    }
    if (a.partials) Sums::template run<phase, V>(s, t, at.thread, a.C, head ? a.from.head.Co : 0, a.partials);
  }
  template <int V>
  VOXGRAD_HD static void rows(const Args& a, Thread& t) {
    const ChannelTile& tile = t.tile;
    float sum[Sums::quantities][V];
    for (auto& s : sum)
      for (float& v : s) v = 0;
    for (float& v : t.dlogit) v = 0;
    if (tile.row < tile.last) {
      const Preactivation<E, V> before(a.saved_output ? nullptr : a.scale, a.saved_output ? nullptr : a.bias, tile.channel);
      const Slice<const E> second = a.saved_output ? Slice<const E>{} : a.second;
      for (uint32_t row = tile.row; row < tile.last; row += tile.step) {
        float v[V], g[V];
        for (float& e : v) e = 0;
        if (a.saved) before.read(a.saved, second, row, tile.channel, v);
        a.from.load(row, tile.channel, a.C, g);
        if constexpr (head) add_head<V>(a, t, row, v, sum);
        if (a.saved) activate_backward(a.activation, a.saved_output, v, g);
        for (int i = 0; i < V; ++i) sum[0][i] += g[i];
        if (a.dv) store<V>(a.dv.at(row, tile.channel), g);
      }
    }
    for (int q = 0; q < Sums::quantities; ++q)
      for (int i = 0; i < V; ++i) t.sum[q][i] = sum[q][i];
  }
  template <int V>
  VOXGRAD_HD static void add_head(const Args& a, Thread& t, uint32_t row, const float (&v)[V], float (&sum)[Sums::quantities][V]) {
    float y[V];
    for (int i = 0; i < V; ++i) y[i] = v[i];
    if (!a.saved_output) activate(a.activation, y);
    for (int co = 0; co < most_head_outputs; ++co) {
      if (co >= a.from.head.Co) break;
      const float d = a.from.head.dlogit[int64_t(row) * a.from.head.Co + co];
      t.dlogit[co] += d;
      for (int i = 0; i < V; ++i) sum[1 + co][i] += d * y[i];
    }
  }
};

/// Merges the sums of ActBackward.
struct FinishActBackward {
  static constexpr const char* name = "finish_act_backward";
  static constexpr int threads = ChannelLanes::threads, phases = 2;
  struct Args {
    int64_t C, parts;
    const float* partials;
    int Co;                    ///< outputs of the head whose sums are among the partials; 0: none
    float* dbias;              ///< [C]; null: not wanted, as with all below
    float *head_dw, *head_db;  ///< [C, Co], [Co]
  };
  using Shared = MergedSums<1>;
  using Thread = Nothing;

  static int64_t blocks(const Args& a) { return Shared::blocks(a.C, a.Co); }

  template <int phase>
  VOXGRAD_HD static void run(const Args& a, At at, Shared& s, Thread&) {
    const ChannelLanes lane(at);
    if constexpr (phase == 0) {
      s.gather(lane, a.partials, a.parts, a.C, a.Co);
    } else {
      s.write_head(lane, a.C, a.Co, a.head_dw, a.head_db);
      if (lane.lane == 0 && lane.channel < a.C && a.dbias) a.dbias[lane.channel] = float(lane.total(s.sums[0]));
    }
  }
};

}  // namespace voxgrad::cuda
