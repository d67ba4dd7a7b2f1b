// SPDX-License-Identifier: BSD-3-Clause
// One vector of floats and the functions on it that C++ has no operator for. Compiled per instruction set.

namespace flat {

constexpr int lanes = VOXGRAD_LANES;
typedef float Vec __attribute__((vector_size(4 * VOXGRAD_LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * VOXGRAD_LANES)));
typedef float UnalignedVec __attribute__((vector_size(4 * VOXGRAD_LANES), aligned(4), may_alias));
typedef float Half __attribute__((vector_size(2 * VOXGRAD_LANES), aligned(4), may_alias));
typedef double Wide __attribute__((vector_size(4 * VOXGRAD_LANES)));  ///< lanes / 2 doubles

[[gnu::always_inline]] inline Vec load(const float* p) { return *reinterpret_cast<const UnalignedVec*>(p); }
[[gnu::always_inline]] inline void store(float* p, Vec v) { *reinterpret_cast<UnalignedVec*>(p) = v; }
[[gnu::always_inline]] inline Vec splat(float v) { return v - Vec{}; }
/// lanes / 2 floats as doubles.
[[gnu::always_inline]] inline Wide load_wide(const float* p) {
  return __builtin_convertvector(*reinterpret_cast<const Half*>(p), Wide);
}

/// The first n < lanes floats; the other lanes are 1, harmless to every function here.
[[gnu::always_inline]] inline Vec load_part(const float* p, int64_t n) {
  Vec v = splat(1);
  float buffer[lanes];
  __builtin_memcpy(buffer, &v, sizeof v);
  for (int64_t i = 0; i < n; ++i) buffer[i] = p[i];
  __builtin_memcpy(&v, buffer, sizeof v);
  return v;
}
[[gnu::always_inline]] inline void store_part(float* p, Vec v, int64_t n) {
  float buffer[lanes];
  __builtin_memcpy(buffer, &v, sizeof v);
  for (int64_t i = 0; i < n; ++i) p[i] = buffer[i];
}

[[gnu::always_inline]] inline Vec as_floats(Ints v) { return (Vec)v; }
[[gnu::always_inline]] inline Ints as_ints(Vec v) { return (Ints)v; }
/// m ? a : b by lane; m is the result of a comparison.
[[gnu::always_inline]] inline Vec select(Ints m, Vec a, Vec b) { return m ? a : b; }
[[gnu::always_inline]] inline Vec abs(Vec v) { return as_floats(as_ints(v) & 0x7fffffff); }

[[gnu::always_inline]] inline Vec sqrt(Vec v) {
#if defined(__x86_64__) && VOXGRAD_LANES == 16
  return _mm512_maskz_sqrt_ps(0xffff, v);  // the unmasked one warns in GCC 12
#elif defined(__x86_64__) && VOXGRAD_LANES == 8
  return _mm256_sqrt_ps(v);
#elif defined(__x86_64__)
  return _mm_sqrt_ps(v);
#else
  for (int i = 0; i < lanes; ++i) v[i] = __builtin_sqrtf(v[i]);
  return v;
#endif
}

/// e^x to about 1 ulp: e^x = 2^n e^r with |r| <= ln2 / 2, a Taylor polynomial for e^r and 2^n in two factors, so
/// that results below the normal range and overflow to infinity come out right. NaN stays NaN.
[[gnu::always_inline]] inline Vec exp(Vec x) {
  x = select(x > 89.f, splat(89.f), x);
  x = select(x < -104.f, splat(-104.f), x);
  const Vec shifted = x * 1.44269504f + 12582912.f;  // 1.5 * 2^23: the low bits of the sum are round(x / ln2)
  const Ints n = as_ints(shifted) - 0x4b400000;
  const Vec whole = shifted - 12582912.f;
  const Vec r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;  // ln2 in two parts; the first product is exact
  Vec p = r * (1 / 5040.f) + (1 / 720.f);
  p = p * r + (1 / 120.f);
  p = p * r + (1 / 24.f);
  p = p * r + (1 / 6.f);
  p = p * r + 0.5f;
  p = (r * r) * p + r + 1.f;
  const Ints half = n >> 1;
  return p * as_floats((half + 127) << 23) * as_floats((n - half + 127) << 23);
}

/// 2 atanh(s) for |s| <= 1/3, the odd series.
[[gnu::always_inline]] inline Vec twice_atanh(Vec s) {
  const Vec q = s * s;
  Vec p = q * (2 / 15.f) + (2 / 13.f);
  p = p * q + (2 / 11.f);
  p = p * q + (2 / 9.f);
  p = p * q + (2 / 7.f);
  p = p * q + (2 / 5.f);
  p = p * q + (2 / 3.f);
  return (s * q) * p + 2.f * s;
}

/// log(1 + e) for e in [0, 1], to about 1 ulp also where e is tiny.
[[gnu::always_inline]] inline Vec log1p_unit(Vec e) { return twice_atanh(e / (2.f + e)); }

/// log x to about 1 ulp: x = 2^n m with m in [sqrt(1/2), sqrt 2). -inf at 0, NaN below, infinity kept.
[[gnu::always_inline]] inline Vec log(Vec x) {
  const Ints tiny = x < 1.17549435e-38f;
  const Vec scaled = select(tiny, x * 8388608.f, x);
  Ints n = ((as_ints(scaled) - 0x3f3504f3) >> 23);
  const Vec m = as_floats(as_ints(scaled) - (n << 23));
  const Vec whole = __builtin_convertvector(n, Vec) - select(tiny, splat(23.f), splat(0.f));
  const Vec y = whole * 0.693359375f + (twice_atanh((m - 1.f) / (m + 1.f)) - whole * 2.12194440e-4f);
  const Vec infinity = splat(__builtin_inff());
  const Vec finite = select(x < infinity, y, x);  // infinity and NaN stay
  return select(x > 0.f, finite, select(x == 0.f, -infinity, splat(__builtin_nanf(""))));
}

/// 1 / (1 + e^-x) without overflow.
[[gnu::always_inline]] inline Vec sigmoid(Vec x) {
  const Vec e = exp(-abs(x));
  return select(x < 0.f, e, splat(1.f)) / (1.f + e);
}
/// log(1 + e^x) without overflow.
[[gnu::always_inline]] inline Vec softplus(Vec x) {
  const Vec positive = select(x < 0.f, splat(0.f), x);  // NaN stays
  return positive + log1p_unit(exp(-abs(x)));
}

/// The sum of all lanes, in double and lane order.
[[gnu::always_inline]] inline double total(Vec v) {
  double sum = 0;
  for (int i = 0; i < lanes; ++i) sum += double(v[i]);
  return sum;
}

}  // namespace flat
