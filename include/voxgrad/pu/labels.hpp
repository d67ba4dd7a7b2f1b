// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Which voxels are labelled positive, unlabeled, known negative or to be ignored, and how much each weighs.

#include <array>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "voxgrad/core/tensor.hpp"

namespace voxgrad::pu {

/// A set of voxels as a union of classes: P, U, N, P | N, population ...
struct Set {
  uint8_t bits = 0;
  friend constexpr Set operator|(Set a, Set b) { return {uint8_t(a.bits | b.bits)}; }
  friend constexpr bool operator==(Set a, Set b) = default;
};
inline constexpr Set in_population{1}, out_of_population{8};  // the two kinds of labelled voxels
inline constexpr Set P = in_population | out_of_population;   ///< labelled positive
inline constexpr Set U{2};                                    ///< unlabeled
inline constexpr Set N{4};                                    ///< known negative
/// P and U together, without positives that only stand for their own class (label 3): what "everything" means when one sample
/// was drawn and some of its positives were labelled (scenario ss).
inline constexpr Set population = in_population | U;

/// What the numbers of a label volume mean. Other programs use 1 and -1, or 1 and 2: say so, nothing is guessed.
struct LabelCodes {
  double positive = 1, unlabeled = 0, negative = 2, ignore = 255;
  double positive_only = 3;  ///< labelled positive, but not part of the population (event-centred crops)
};

/// Labels of a batch of volumes. Cheap to copy, never changed. The leading axis counts volumes when there are two axes or more.
class Labels {
 public:
  /// codes: one per voxel, in row-major order. Errors: ShapeError for another number of codes; UsageError names the first voxel
  /// whose code is not declared.
  template <class T>
  Labels(std::span<const T> codes, const Shape& shape, const LabelCodes& meaning = {}) : shape_(shape) {
    check<ShapeError>(int64_t(codes.size()) == shape.size(), "labels: ", codes.size(), " codes for shape ", shape);
    classes_ = std::make_shared<std::vector<uint8_t>>(codes.size());
    for (size_t i = 0; i < codes.size(); ++i) (*classes_)[i] = class_of(double(codes[i]), i, meaning);
    add_up();
  }
  template <class T>
  Labels(const std::vector<T>& codes, const Shape& shape, const LabelCodes& meaning = {})
      : Labels(std::span<const T>(codes), shape, meaning) {}
  /// From a tensor of codes, f32 or f64.
  explicit Labels(const Tensor& codes, const LabelCodes& meaning = {})
      : Labels(visit(codes.dtype(), [&](auto zero) { return Labels(codes.span<decltype(zero)>(), codes.shape(), meaning); })) {}

  /// The same labels with one weight per voxel, in the labels' shape. Errors: ShapeError; UsageError names the first weight that is
  /// negative or not finite.
  Labels weighted(const Tensor& weight) const {
    check<ShapeError>(weight.shape() == shape_, "weight: is ", weight.shape(), ", the labels are ", shape_);
    Labels l = *this;
    l.weight_ = weight.to(DType::f64);
    const auto w = l.weight_.span<double>();
    for (size_t i = 0; i < w.size(); ++i)
      check<UsageError>(std::isfinite(w[i]) && w[i] >= 0, "weight: ", w[i], " at voxel ", i, " (expected a number, 0 or above)");
    l.weight_ = weight.detach();
    l.add_up();
    return l;
  }

  /// Each volume marked in `centred` was cut around an annotated event: its positives stand for their class, but neither they nor
  /// its unlabeled voxels are a sample of the population, which the other volumes are. So positives turn into label 3 and unlabeled
  /// voxels into ignored ones, and the prior is that of random crops whatever the mixture. Errors: UsageError for another length.
  Labels with_centred(const std::vector<bool>& centred) const {
    check<UsageError>(int64_t(centred.size()) == volumes(), "centred: ", centred.size(), " marks for ", volumes(), " volumes");
    return changed([&](size_t i, uint8_t c) {
      if (!centred[i / size_t(volume_size())]) return c;
      return c == in_population.bits ? out_of_population.bits : c == U.bits ? uint8_t(0) : c;
    });
  }

  /// The same labels with class(i, old) in place of each voxel's class.
  template <class F>
  Labels changed(F&& class_at) const {
    Labels l = *this;
    l.classes_ = std::make_shared<std::vector<uint8_t>>(*classes_);
    for (size_t i = 0; i < l.classes_->size(); ++i) (*l.classes_)[i] = class_at(i, (*l.classes_)[i]);
    l.add_up();
    return l;
  }

  const Shape& shape() const { return shape_; }
  int64_t size() const { return int64_t(classes_->size()); }
  int64_t volumes() const { return shape_.rank() < 2 ? 1 : shape_[0]; }
  int64_t volume_size() const { return volumes() == 0 ? 0 : size() / volumes(); }
  const std::vector<uint8_t>& classes() const { return *classes_; }
  bool has(int64_t voxel, Set s) const { return ((*classes_)[size_t(voxel)] & s.bits) != 0; }
  /// Undefined when every voxel weighs 1.
  const Tensor& weight() const { return weight_; }

  /// Voxels of a set, and the sum of their weights; of one volume, or of all (-1).
  int64_t count(Set s, int64_t volume = -1) const { return int64_t(total(*counts_, s, volume)); }
  double weight(Set s, int64_t volume = -1) const { return total(*weights_, s, volume); }

 private:
  using Totals = std::vector<std::array<double, 16>>;  ///< per volume and class bits; counts are exact below 2^53

  static uint8_t class_of(double code, size_t voxel, const LabelCodes& m) {
    if (code == m.unlabeled) return U.bits;
    if (code == m.positive) return in_population.bits;
    if (code == m.ignore) return 0;
    if (code == m.negative) return N.bits;
    if (code == m.positive_only) return out_of_population.bits;
    throw UsageError(text("labels: ", code, " at voxel ", voxel, " is none of the declared codes (unlabeled ", m.unlabeled, ", positive ",
                          m.positive, ", negative ", m.negative, ", positive outside the population ", m.positive_only, ", ignore ",
                          m.ignore, ")"));
  }

  void add_up() {
    counts_ = totals([](size_t) { return 1.0; });
    weights_ = counts_;
    if (weight_.defined())
      visit(weight_.dtype(), [&](auto zero) {
        const auto w = weight_.span<decltype(zero)>();
        weights_ = totals([&](size_t i) { return double(w[i]); });
      });
  }
  template <class F>
  std::shared_ptr<const Totals> totals(F&& weight_at) const {
    auto t = std::make_shared<Totals>(size_t(volumes()));
    const size_t each = size_t(volume_size());
    for (size_t v = 0; v < t->size(); ++v)
      for (size_t i = v * each; i < (v + 1) * each; ++i) (*t)[v][(*classes_)[i]] += weight_at(i);
    return t;
  }

  static double total(const Totals& t, Set s, int64_t volume) {
    double sum = 0;
    for (int64_t v = volume < 0 ? 0 : volume; v < (volume < 0 ? int64_t(t.size()) : volume + 1); ++v)
      for (Set one : {in_population, U, N, out_of_population})
        if (s.bits & one.bits) sum += t[size_t(v)][one.bits];
    return sum;
  }

  Shape shape_;
  std::shared_ptr<std::vector<uint8_t>> classes_;
  Tensor weight_;
  std::shared_ptr<const Totals> counts_, weights_;
};

}  // namespace voxgrad::pu
