// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Mixup (Zhang et al. 2018) of dense volumes: whole inputs are mixed, and every voxel of a mixture is held to the mixture of what is said of
// its two voxels. For Dist-PU with pseudo-labels (Zhao et al. 2022), for VPU as its regulariser (Chen et al. 2020, eq. 8).

#include <numeric>

#include "voxgrad/core/random.hpp"
#include "voxgrad/pu/objective.hpp"

namespace voxgrad::pu {

/// Volume i becomes lambda x[i] + (1 - lambda) x[partner[i]].
struct Mixture {
  double lambda = 1;
  std::vector<int64_t> partner;
};

/// A draw of the gamma distribution with scale 1 (Marsaglia and Tsang 2000). shape: above 0.
inline double random_gamma(double shape, Random& random) {
  if (shape < 1) {
    const double larger = random_gamma(shape + 1, random);
    return larger * std::pow(1 - random.uniform(), 1 / shape);
  }
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = random.normal(), v = std::pow(1 + c * x, 3);
    if (v > 0 && std::log(1 - random.uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

/// lambda of Beta(alpha, alpha) and a random permutation as partners. Errors: UsageError for an alpha that is not above 0.
inline Mixture draw_mixture(int64_t volumes, double alpha, Random& random) {
  check<UsageError>(std::isfinite(alpha) && alpha > 0, "draw_mixture: alpha is ", alpha, " (expected above 0)");
  const double a = random_gamma(alpha, random), b = random_gamma(alpha, random);
  Mixture m{a + b > 0 ? a / (a + b) : 0.5, std::vector<int64_t>(size_t(volumes))};
  std::iota(m.partner.begin(), m.partner.end(), int64_t(0));
  for (size_t i = m.partner.size(); i > 1; --i) std::swap(m.partner[i - 1], m.partner[size_t(random.below(i))]);
  return m;
}

/// The mixed inputs, outside any graph. x: [N, ...], f32 or f64. Errors: ShapeError for another number of volumes.
inline Tensor mix(const Tensor& x, const Mixture& m) {
  check<ShapeError>(x.shape().rank() > 0 && x.shape()[0] == int64_t(m.partner.size()), "mix: x is ", x.shape(), ", the mixture has ",
                    m.partner.size(), " volumes");
  Tensor y(x.shape(), x.dtype());
  visit(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const auto from = x.span<T>();
    const auto to = y.mutable_span<T>();
    const size_t each = m.partner.empty() ? 0 : from.size() / m.partner.size();
    for (size_t i = 0; i < to.size(); ++i)
      to[i] = T(m.lambda * double(from[i]) + (1 - m.lambda) * double(from[size_t(m.partner[i / each]) * each + i % each]));
  });
  return y;
}

/// What the voxels of mixtures are held to.
struct MixedTargets {
  Tensor target;                ///< one number per voxel; 0 where it does not count
  std::vector<uint8_t> codes;   ///< 0 where a voxel counts, 255 elsewhere
  double total = 0;             ///< voxels that count

  /// Those of `count` volumes from `first` on, relative to the whole: their objectives add up to that of all.
  MixedTargets part(int64_t first, int64_t count) const {
    Shape shape = target.shape();
    const int64_t each = shape[0] == 0 ? 0 : target.size() / shape[0];
    shape.set(0, count);
    const auto from = codes.begin() + std::ptrdiff_t(first * each);
    return {target.view(shape, first * each), {from, from + std::ptrdiff_t(count * each)}, total};
  }
  Labels labels() const { return {codes, target.shape()}; }
};

/// For each voxel of a mixture target_of(i, j), given its own and its partner's place, where counts(i, j).
template <class Counts, class Target>
MixedTargets mixed_targets(const char* what, const Tensor& logits, const Labels& labels, const Mixture& m, Counts&& counts, Target&& target_of) {
  check<ShapeError>(logits.shape() == labels.shape() && labels.volumes() == int64_t(m.partner.size()), what, ": logits are ", logits.shape(),
                    ", labels are ", labels.shape(), ", the mixture has ", m.partner.size(), " volumes");
  MixedTargets t{Tensor::zeros(logits.shape(), logits.dtype()), std::vector<uint8_t>(size_t(labels.size()), 255)};
  visit(logits.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const auto z = logits.detach().template span<T>();
    const auto to = t.target.template mutable_span<T>();
    const size_t each = size_t(labels.volume_size());
    for (size_t i = 0; i < to.size(); ++i) {
      const size_t j = size_t(m.partner[i / each]) * each + i % each;
      if (!counts(i, j)) continue;
      t.codes[i] = 0;
      t.total += 1;
      to[i] = T(target_of(double(z[i]), double(z[j]), i, j));
    }
  });
  return t;
}

/// Dist-PU: pseudo-labels, 1 for labelled voxels, 0 for known negatives and sigmoid(z) for unlabeled ones, mixed as the inputs are. Voxels of
/// which one is ignored do not count. logits: of the unmixed batch; no gradient goes through them. Errors: ShapeError.
inline MixedTargets dist_pu_targets(const Tensor& logits, const Labels& labels, const Mixture& m) {
  const auto pseudo = [&](double z, size_t i) {
    return labels.has(int64_t(i), P) ? 1.0 : labels.has(int64_t(i), N) ? 0.0 : sigmoid(Dual(z)).v;
  };
  return mixed_targets("dist_pu_targets", logits, labels, m,
                       [&](size_t i, size_t j) { return labels.has(int64_t(i), P | U | N) && labels.has(int64_t(j), P | U | N); },
                       [&](double a, double b, size_t i, size_t j) { return m.lambda * pseudo(a, i) + (1 - m.lambda) * pseudo(b, j); });
}

/// VPU: log t with t = lambda sigmoid(z_u) + (1 - lambda), where an unlabeled voxel meets a labelled one of the partner. Errors: ShapeError.
inline MixedTargets vpu_targets(const Tensor& logits, const Labels& labels, const Mixture& m) {
  return mixed_targets("vpu_targets", logits, labels, m,
                       [&](size_t i, size_t j) { return labels.has(int64_t(i), U) && labels.has(int64_t(j), P); },
                       [&](double z, double, size_t, size_t) { return std::log(std::max(1e-30, m.lambda * sigmoid(Dual(z)).v + 1 - m.lambda)); });
}

inline ObjectiveOptions mixup_options() {
  ObjectiveOptions how;
  how.allow_all_ignored = true;  // few pairs may count
  return how;
}

/// weight <BCE(z, target)> + entropy_weight <H(sigmoid z)> over the voxels that count, z: logits of the mixed inputs, to be given with
/// targets.labels(). Published: 5 and 0.04. Noted: mixup, mixup_entropy.
inline Objective dist_pu_mixup(const MixedTargets& targets, double weight, double entropy_weight) {
  return objective("dist_pu_mixup", [t = targets.target, total = std::max(1.0, targets.total), weight, entropy_weight](Stats& s) {
    // BCE(z, t) = softplus(z) - t z
    const Value bce = (s.sum(U, neg(logistic_loss)) - s.sum(U, logit, t)) * (1 / total), h = s.sum(U, entropy) * (1 / total);
    s.note("mixup", bce);
    s.note("mixup_entropy", h);
    return Step(weight * bce + entropy_weight * h);
  }, mixup_options());
}

/// weight <(log t - log sigmoid(z))^2> over the voxels that count, with vpu_targets. Published: 1e-4 to 0.3. Noted: mixup.
inline Objective vpu_mixup(const MixedTargets& targets, double weight) {
  double squares = 0;
  visit(targets.target.dtype(), [&](auto zero) {
    for (const auto v : targets.target.span<decltype(zero)>()) squares += double(v) * double(v);
  });
  const Function square_nll([](const Dual& z) {
    const Dual nll = softplus(-z);
    return nll * nll;
  });
  return objective("vpu_mixup", [t = targets.target, total = std::max(1.0, targets.total), squares, square_nll, weight](Stats& s) {
    const Value miss = (squares + 2 * s.sum(U, logistic_loss, t) + s.sum(U, square_nll)) * (1 / total);
    s.note("mixup", miss);
    return Step(weight * miss);
  }, mixup_options());
}

}  // namespace voxgrad::pu
