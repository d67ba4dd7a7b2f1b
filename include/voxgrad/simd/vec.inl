// SPDX-License-Identifier: BSD-3-Clause
// Vec: `lanes` floats in one register, on the compilers' vector types. Half: 8 floats where a Vec holds 16.

inline constexpr int lanes = VOXGRAD_LANES;
typedef float Vec __attribute__((vector_size(VOXGRAD_LANES * 4)));
typedef float VecMemory __attribute__((vector_size(VOXGRAD_LANES * 4), aligned(4), may_alias));

[[gnu::always_inline]] inline Vec load(const float* p) { return *reinterpret_cast<const VecMemory*>(p); }
[[gnu::always_inline]] inline void store(float* p, Vec v) { *reinterpret_cast<VecMemory*>(p) = v; }
/// x - 0 is x for every x, so this is one broadcast.
[[gnu::always_inline]] inline Vec splat(float x) { return x - Vec{}; }
/// a b + c in one expression, which both compilers contract to a fused multiply-add.
[[gnu::always_inline]] inline Vec fma(Vec a, Vec b, Vec c) { return a * b + c; }

/// Asks for n lines of 64 bytes from p on. The address is hidden from the compiler: it would keep one
/// register for every line.
template <int n>
[[gnu::always_inline]] inline void fetch_lines(const float* p) {
  asm("" : "+r"(p));
#pragma GCC unroll 32
  for (int i = 0; i < n; ++i) __builtin_prefetch(p + i * 16);
}

#if VOXGRAD_LANES == 16
/// The first n lanes from memory, the others zero. Touches no byte beyond.
[[gnu::always_inline]] inline Vec load_first(const float* p, int64_t n) {
  return Vec(_mm512_maskz_loadu_ps(n >= 16 ? __mmask16(0xffff) : __mmask16((1u << n) - 1), p));
}
[[gnu::always_inline]] inline void store_first(float* p, Vec v, int64_t n) {
  _mm512_mask_storeu_ps(p, n >= 16 ? __mmask16(0xffff) : __mmask16((1u << n) - 1), __m512(v));
}
#else
[[gnu::always_inline]] inline Vec load_first(const float* p, int64_t n) {
  if (n >= lanes) return load(p);
  Vec v{};
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
[[gnu::always_inline]] inline void store_first(float* p, Vec v, int64_t n) {
  if (n >= lanes) return store(p, v);
  for (int i = 0; i < n; ++i) p[i] = v[i];
}
#endif

// Quad: the 4 floats that every instruction set has.
typedef float Quad __attribute__((vector_size(16)));
typedef float QuadMemory __attribute__((vector_size(16), aligned(4), may_alias));
[[gnu::always_inline]] inline Quad load_quad(const float* p) {
  return *reinterpret_cast<const QuadMemory*>(p);
}
[[gnu::always_inline]] inline void store_quad(float* p, Quad v) { *reinterpret_cast<QuadMemory*>(p) = v; }

// Oct: 8 floats, a block of channels. Without AVX it is two registers, so it is loaded and stored by casts in place: a
// function's return type would forget that the memory is unaligned.
typedef float Oct __attribute__((vector_size(32)));
typedef float OctMemory __attribute__((vector_size(32), aligned(4), may_alias));

/// v = v > 0 ? v : slope v. Without AVX, a choice between vectors of 8 is made float by float, one of 4 is not.
[[gnu::always_inline]] inline void leaky(Oct& v, float slope) {
#if VOXGRAD_LANES == 4
  Quad low = __builtin_shufflevector(v, v, 0, 1, 2, 3), high = __builtin_shufflevector(v, v, 4, 5, 6, 7);
  low = low > 0.0f ? low : low * slope;
  high = high > 0.0f ? high : high * slope;
  v = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
#else
  v = v > 0.0f ? v : v * slope;
#endif
}

/// The lanes of v folded to four sums.
[[gnu::always_inline]] inline Quad fold(Vec v) {
#if VOXGRAD_LANES == 16
  return (__builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7)) +
         (__builtin_shufflevector(v, v, 8, 9, 10, 11) + __builtin_shufflevector(v, v, 12, 13, 14, 15));
#elif VOXGRAD_LANES == 8
  return __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
#else
  return v;
#endif
}

/// The sums of the lanes of a, b, c and d.
[[gnu::always_inline]] inline Quad sum_quads(Quad a, Quad b, Quad c, Quad d) {
  const Quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5) + __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Quad cd = __builtin_shufflevector(c, d, 0, 4, 1, 5) + __builtin_shufflevector(c, d, 2, 6, 3, 7);
  return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
}

/// p[i] = sum of the lanes of v[i].
[[gnu::always_inline]] inline void store_sums(float* p, const Vec (&v)[4]) {
  store_quad(p, sum_quads(fold(v[0]), fold(v[1]), fold(v[2]), fold(v[3])));
}
[[gnu::always_inline]] inline void store_sums(float* p, const Vec (&v)[2]) {
  for (int i = 0; i < 2; ++i) {
    const Quad q = fold(v[i]);
    p[i] = (q[0] + q[1]) + (q[2] + q[3]);
  }
}

#if VOXGRAD_LANES == 16
// Pairs: a Vec as 8 channels of two rows, lanes (channel 0 of row A, channel 0 of row B, channel 1 of row A,
// ...).
typedef float Half __attribute__((vector_size(32)));
typedef float HalfMemory __attribute__((vector_size(32), aligned(4), may_alias));
typedef double PairVec __attribute__((vector_size(64)));
typedef double PairMemory __attribute__((aligned(4), may_alias));

[[gnu::always_inline]] inline Half load_half_first(const float* p, int64_t n) {
  return Half(_mm256_maskz_loadu_ps(n >= 8 ? __mmask8(0xff) : __mmask8((1u << n) - 1), p));
}
[[gnu::always_inline]] inline void store_half_first(float* p, Half v, int64_t n) {
  // GCC folds the extraction of a half into the store (vextractf32x8 with a mask), which faults on masked lanes beyond a page.
  asm("" : "+v"(v));
  _mm256_mask_storeu_ps(p, n >= 8 ? __mmask8(0xff) : __mmask8((1u << n) - 1), __m256(v));
}
/// (p[0], p[1], p[0], p[1], ...): a value of each row, for all channels.
[[gnu::always_inline]] inline Vec splat_pair(const float* p) {
  const double pair = *reinterpret_cast<const PairMemory*>(p);  // moved, never computed with
  return Vec(PairVec{pair, pair, pair, pair, pair, pair, pair, pair});
}
[[gnu::always_inline]] inline Vec interleave(Half a, Half b) {
  return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
}
[[gnu::always_inline]] inline Half row_a(Vec v) {
  return __builtin_shufflevector(v, v, 0, 2, 4, 6, 8, 10, 12, 14);
}
[[gnu::always_inline]] inline Half row_b(Vec v) {
  return __builtin_shufflevector(v, v, 1, 3, 5, 7, 9, 11, 13, 15);
}
#endif
