// SPDX-License-Identifier: BSD-3-Clause
// Max-pooling of windows side by side: one vector of channels (or one channel) of all voxels of a window at a time.

namespace flat {

/// Channels per step where C is a multiple of 8: a vector of at most 8 floats, in registers and in memory.
constexpr int pool_width = lanes < 8 ? lanes : 8;
struct PoolVector {
  typedef float Value __attribute__((vector_size(4 * pool_width)));
  typedef int32_t Index __attribute__((vector_size(4 * pool_width)));
  typedef float Memory __attribute__((vector_size(4 * pool_width), aligned(4), may_alias));
};
struct PoolOne {
  typedef float Value;
  typedef int32_t Index;
  typedef float Memory;
};

/// The finished value of channels c.. at `p`.
template <class Kind, bool raw>
[[gnu::always_inline]] inline void pool_load(const float* p, int64_t c, const RawAct& act, typename Kind::Value& v) {
  typedef typename Kind::Memory M;
  v = *reinterpret_cast<const M*>(p);
  if constexpr (raw) {
    v = (v - *reinterpret_cast<const M*>(act.centre + c)) * *reinterpret_cast<const M*>(act.scale + c) +
        *reinterpret_cast<const M*>(act.offset + c);
    v = v > 0.0f ? v : v * act.slope;
  }
}

/// One output row of oW voxels. tap[k] is the first voxel of tap k of the row's first window, windows are `step`
/// floats apart. A voxel replaces the maximum so far where it is larger, or NaN as in PyTorch. `fixed`: the number of
/// taps where the compiler shall know it, else 0.
template <class Kind, int width, int fixed, bool raw>
void pool_row(int64_t oW, int64_t C, int64_t step, int count, const RawAct& act, const float* const* tap, float* y) {
  typedef typename Kind::Value V;
  typedef typename Kind::Memory M;
  const int taps = fixed > 0 ? fixed : count;
  for (int64_t w = 0; w < oW; ++w)
    for (int64_t c = 0; c < C; c += width) {
      const int64_t at = w * step + c;
      V best, v;
      pool_load<Kind, raw>(tap[0] + at, c, act, best);
#pragma GCC unroll 8
      for (int k = 0; k < taps; ++k) {
        pool_load<Kind, raw>(tap[k] + at, c, act, v);
        best = ((v > best) | (v != v)) ? v : best;
      }
      *reinterpret_cast<M*>(y + w * C + c) = best;
    }
}

/// Writes all voxels of dx under the row's windows: dy where the maximum is, 0 elsewhere. Raw: adds instead where `add`.
template <class Kind, int width, int fixed, bool raw>
void pool_row_backward(int64_t oW, int64_t C, int64_t step, int count, const RawAct& act, bool add, const float* const* tap,
                       const float* dy, float* const* dtap) {
  typedef typename Kind::Value V;
  typedef typename Kind::Memory M;
  typedef typename Kind::Index Index;
  const int taps = fixed > 0 ? fixed : count;
  for (int64_t w = 0; w < oW; ++w)
    for (int64_t c = 0; c < C; c += width) {
      const int64_t at = w * step + c;
      const V g = *reinterpret_cast<const M*>(dy + w * C + c);
      V best, v;
      pool_load<Kind, raw>(tap[0] + at, c, act, best);
      Index where{};
#pragma GCC unroll 8
      for (int k = 1; k < taps; ++k) {
        pool_load<Kind, raw>(tap[k] + at, c, act, v);
        const auto m = (v > best) | (v != v);
        best = m ? v : best;
        where = m ? Index{} + k : where;
      }
#pragma GCC unroll 8
      for (int k = 0; k < taps; ++k) {
        M* const to = reinterpret_cast<M*>(dtap[k] + at);
        const V here = where == k ? g : V{};
        if (raw && add) *to += here;
        else *to = here;
      }
    }
}

template <int fixed, bool raw>
void pool_rows_of(int64_t oW, int64_t C, int64_t step, int taps, const RawAct& act, const float* const* tap, float* y) {
  if (C % 8 == 0) pool_row<PoolVector, pool_width, fixed, raw>(oW, C, step, taps, act, tap, y);
  else pool_row<PoolOne, 1, fixed, raw>(oW, C, step, taps, act, tap, y);
}
template <int fixed, bool raw>
void pool_rows_backward_of(int64_t oW, int64_t C, int64_t step, int taps, const RawAct& act, bool add,
                           const float* const* tap, const float* dy, float* const* dtap) {
  if (C % 8 == 0) pool_row_backward<PoolVector, pool_width, fixed, raw>(oW, C, step, taps, act, add, tap, dy, dtap);
  else pool_row_backward<PoolOne, 1, fixed, raw>(oW, C, step, taps, act, add, tap, dy, dtap);
}

inline void pool_rows(int64_t oW, int64_t C, int64_t step, int taps, const RawAct& act, const float* const* tap, float* y) {
  const auto run = act.centre    ? taps == 8 ? pool_rows_of<8, true> : taps == 4 ? pool_rows_of<4, true> : pool_rows_of<0, true>
                   : taps == 8 ? pool_rows_of<8, false>
                   : taps == 4 ? pool_rows_of<4, false>
                               : pool_rows_of<0, false>;
  run(oW, C, step, taps, act, tap, y);
}
inline void pool_rows_backward(int64_t oW, int64_t C, int64_t step, int taps, const RawAct& act, bool add,
                               const float* const* tap, const float* dy, float* const* dtap) {
  const auto run = act.centre  ? taps == 8   ? pool_rows_backward_of<8, true>
                                 : taps == 4 ? pool_rows_backward_of<4, true>
                                             : pool_rows_backward_of<0, true>
                   : taps == 8 ? pool_rows_backward_of<8, false>
                   : taps == 4 ? pool_rows_backward_of<4, false>
                               : pool_rows_backward_of<0, false>;
  run(oW, C, step, taps, act, add, tap, dy, dtap);
}

}  // namespace flat
