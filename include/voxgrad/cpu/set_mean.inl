// SPDX-License-Identifier: BSD-3-Clause
// Functions of a logit on vectors, their sums over a set and their slopes.

namespace flat {

typedef uint8_t Bytes __attribute__((vector_size(VOXGRAD_LANES)));

[[gnu::always_inline]] inline Vec set_value(kernels::SigmoidLoss, Vec z, float) { return sigmoid(-z); }
[[gnu::always_inline]] inline Vec set_slope(kernels::SigmoidLoss, Vec z, float) { return -sigmoid(z) * sigmoid(-z); }
[[gnu::always_inline]] inline Vec set_value(kernels::RampLoss, Vec z, float) {
  const Vec v = 0.5f - 0.5f * z;
  return select(v < 0.f, splat(0.f), select(v > 1.f, splat(1.f), v));
}
[[gnu::always_inline]] inline Vec set_slope(kernels::RampLoss, Vec z, float) {
  return select((z > -1.f) & (z < 1.f), splat(-0.5f), splat(0.f));
}
[[gnu::always_inline]] inline Vec set_value(kernels::ZeroOneLoss, Vec z, float) {
  return select(z < 0.f, splat(1.f), select(z > 0.f, splat(0.f), splat(0.5f)));
}
[[gnu::always_inline]] inline Vec set_slope(kernels::ZeroOneLoss, Vec, float) { return splat(0.f); }
[[gnu::always_inline]] inline Vec set_value(kernels::LogisticLoss, Vec z, float) { return softplus(-z); }
[[gnu::always_inline]] inline Vec set_slope(kernels::LogisticLoss, Vec z, float) { return -sigmoid(-z); }
[[gnu::always_inline]] inline Vec set_value(kernels::SquaredLoss, Vec z, float) { return 0.25f * (z - 1.f) * (z - 1.f); }
[[gnu::always_inline]] inline Vec set_slope(kernels::SquaredLoss, Vec z, float) { return 0.5f * (z - 1.f); }
[[gnu::always_inline]] inline Vec set_value(kernels::DoubleHingeLoss, Vec z, float) {
  return select(z < -1.f, -z, select(z < 1.f, 0.5f - 0.5f * z, splat(0.f)));
}
[[gnu::always_inline]] inline Vec set_slope(kernels::DoubleHingeLoss, Vec z, float) {
  return select(z < -1.f, splat(-1.f), select(z < 1.f, splat(-0.5f), splat(0.f)));
}
[[gnu::always_inline]] inline Vec set_value(kernels::HingeLoss, Vec z, float) { return select(z < 1.f, 1.f - z, splat(0.f)); }
[[gnu::always_inline]] inline Vec set_slope(kernels::HingeLoss, Vec z, float) {
  return select(z < 1.f, splat(-1.f), splat(0.f));
}
[[gnu::always_inline]] inline Vec set_value(kernels::BrierLoss, Vec z, float) {
  const Vec s = sigmoid(-z);
  return s * s;
}
[[gnu::always_inline]] inline Vec set_slope(kernels::BrierLoss, Vec z, float) {
  const Vec s = sigmoid(-z);
  return -2.f * sigmoid(z) * s * s;
}
[[gnu::always_inline]] inline Vec set_value(kernels::SavageLoss, Vec z, float a) {
  return set_value(kernels::BrierLoss{}, z + z, a);
}
[[gnu::always_inline]] inline Vec set_slope(kernels::SavageLoss, Vec z, float a) {
  return 2.f * set_slope(kernels::BrierLoss{}, z + z, a);
}
[[gnu::always_inline]] inline Vec set_value(kernels::FocalLoss, Vec z, float a) { return exp(-a * softplus(z)) * softplus(-z); }
[[gnu::always_inline]] inline Vec set_slope(kernels::FocalLoss, Vec z, float a) {
  return -exp(-a * softplus(z)) * (a * sigmoid(z) * softplus(-z) + sigmoid(-z));
}
[[gnu::always_inline]] inline Vec set_value(kernels::Score, Vec z, float) { return sigmoid(z); }
[[gnu::always_inline]] inline Vec set_slope(kernels::Score, Vec z, float) { return sigmoid(z) * sigmoid(-z); }
[[gnu::always_inline]] inline Vec set_value(kernels::ScoreVariance, Vec z, float) { return sigmoid(z) * sigmoid(-z); }
[[gnu::always_inline]] inline Vec set_slope(kernels::ScoreVariance, Vec z, float) {
  const Vec s = sigmoid(z), t = sigmoid(-z);
  return s * t * (t - s);
}
[[gnu::always_inline]] inline Vec set_value(kernels::Entropy, Vec z, float) {
  const Vec m = abs(z);
  return softplus(-m) + m * sigmoid(-m);
}
[[gnu::always_inline]] inline Vec set_slope(kernels::Entropy, Vec z, float) { return -z * sigmoid(z) * sigmoid(-z); }
[[gnu::always_inline]] inline Vec set_value(kernels::Logit, Vec z, float) { return z; }
[[gnu::always_inline]] inline Vec set_slope(kernels::Logit, Vec, float) { return splat(1.f); }
[[gnu::always_inline]] inline Vec set_value(kernels::ShiftedScore, Vec z, float a) { return exp(-softplus(-z) - a); }
[[gnu::always_inline]] inline Vec set_slope(kernels::ShiftedScore, Vec z, float a) {
  return exp(-softplus(-z) - a) * sigmoid(-z);
}

/// Lanes whose class is in the set; of n < lanes classes, the missing lanes are not.
[[gnu::always_inline]] inline Ints in_set(const uint8_t* classes, uint8_t set) {
  Bytes b;
  __builtin_memcpy(&b, classes, sizeof b);
  return (__builtin_convertvector(b, Ints) & int32_t(set)) != 0;
}
[[gnu::always_inline]] inline Ints part_in_set(const uint8_t* classes, uint8_t set, int64_t n) {
  uint8_t buffer[lanes] = {};
  for (int64_t i = 0; i < n; ++i) buffer[i] = classes[i];
  return in_set(buffer, set);
}

/// The logits at i with the run's sign, and v times weight and factor; n < lanes of them in the part forms.
[[gnu::always_inline]] inline Vec set_logit(const SetRun<float>& r, int64_t i) {
  const Vec z = load(r.z + i);
  return r.negated ? -z : z;
}
[[gnu::always_inline]] inline Vec part_logit(const SetRun<float>& r, int64_t i, int64_t n) {
  const Vec z = load_part(r.z + i, n);
  return r.negated ? -z : z;
}
[[gnu::always_inline]] inline Vec set_scale(const SetRun<float>& r, int64_t i, Vec v) {
  if (r.weight) v *= load(r.weight + i);
  if (r.factor) v *= load(r.factor + i);
  return v;
}
[[gnu::always_inline]] inline Vec part_scale(const SetRun<float>& r, int64_t i, int64_t n, Vec v) {
  if (r.weight) v *= load_part(r.weight + i, n);
  if (r.factor) v *= load_part(r.factor + i, n);
  return v;
}

/// Float sums of at most 16 terms per lane, the rest in double.
template <class F>
double set_sum(const SetRun<float>& r) {
  double sum = 0;
  int64_t i = 0;
  while (i + lanes <= r.n) {
    Vec part{};
    for (int k = 0; k < 16 && i + lanes <= r.n; ++k, i += lanes)
      part += select(in_set(r.classes + i, r.set), set_scale(r, i, set_value(F{}, set_logit(r, i), r.a)), splat(0.f));
    sum += total(part);
  }
  if (const int64_t n = r.n - i; n > 0) {
    const Vec v = part_scale(r, i, n, set_value(F{}, part_logit(r, i, n), r.a));
    sum += total(select(part_in_set(r.classes + i, r.set, n), v, splat(0.f)));
  }
  return sum;
}

template <class F>
void set_slopes(const SetRun<float>& r, float coefficient, float* dz) {
  const float c = r.negated ? -coefficient : coefficient;
  int64_t i = 0;
  for (; i + lanes <= r.n; i += lanes) {
    const Vec slope = set_scale(r, i, c * set_slope(F{}, set_logit(r, i), r.a));
    store(dz + i, load(dz + i) + select(in_set(r.classes + i, r.set), slope, splat(0.f)));
  }
  if (const int64_t n = r.n - i; n > 0) {
    const Vec slope = part_scale(r, i, n, c * set_slope(F{}, part_logit(r, i, n), r.a));
    store_part(dz + i, load_part(dz + i, n) + select(part_in_set(r.classes + i, r.set, n), slope, splat(0.f)), n);
  }
}

/// Whether all are finite: a number times 0 is 0, infinity or NaN times 0 is not.
inline bool all_finite(int64_t n, const float* x) {
  Ints bad{};
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) bad |= (load(x + i) * 0.f != 0.f);
  if (i < n) bad |= (load_part(x + i, n - i) * 0.f != 0.f);
  int32_t any = 0;
  for (int k = 0; k < lanes; ++k) any |= bad[k];
  return any == 0;
}

}  // namespace flat
