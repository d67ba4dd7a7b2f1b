// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The sums of a batch and the gradient that their coefficients give: each is one sweep over memory.

#include <algorithm>
#include <limits>

#include "voxgrad/pu/stats.hpp"

namespace voxgrad::pu {

/// The sums of one batch: terms are added as they are asked for, each in one sweep.
class Sweep : public SumSource {
 public:
  /// One unit for the whole batch, or one per volume.
  Sweep(std::string name, const Tensor& z, const Labels& labels, bool by_volume)
      : name_(std::move(name)), z_(z.detach()), labels_(labels), units_(by_volume ? labels.volumes() : 1), by_volume_(by_volume) {
    check<ShapeError>(z.shape() == labels.shape(), name_, ": logits are ", z.shape(), ", labels are ", labels.shape());
    if (labels.weight().defined()) weight_ = labels.weight().dtype() == z.dtype() ? labels.weight() : labels.weight().to(z.dtype());
  }

  /// Adds several terms in one sweep over memory.
  void add(const std::vector<Term>& terms) {
    std::vector<Term> fresh;
    for (const Term& t : terms)
      if (place(terms_, t) < 0 && place(fresh, t) < 0) fresh.push_back(t);
    if (fresh.empty() && swept_) return;
    check<UsageError>(int(terms_.size() + fresh.size()) <= max_terms, name_, ": asks for more than ", max_terms, " sums");
    for (const Term& t : fresh)
      if (t.factor.defined())
        check<ShapeError>( t.factor.shape() == z_.shape() && t.factor.dtype() == z_.dtype(), name_,
                        ": factor is ", t.factor.shape(), " ", voxgrad::name(t.factor.dtype()),
                        ", the logits are ", z_.shape(), " ", voxgrad::name(z_.dtype()));
    const std::vector<kernels::SetTerm> raw = raw_terms(fresh);
    std::vector<double> sums(size_t(units_) * fresh.size() + 1);
    const int64_t bad = kernels::set_mean.at(z_.device()).forward(problem(raw, z_), sums.data());
    if (bad >= 0) {
      const double value = visit(z_.dtype(), [&](auto zero) { return double(z_.span<decltype(zero)>()[size_t(bad)]); });
      throw Error(text(name_, ": logits: the value at voxel ", bad, " of ", z_.size(), " is ", value,
                       ". No gradient was computed; try a smaller learning rate, and check the input."));
    }
    for (size_t k = 0; k < fresh.size(); ++k) {
      terms_.push_back(fresh[k]);
      sums_.emplace_back();
      for (size_t u = 0; u < size_t(units_); ++u) sums_.back().push_back(sums[u * fresh.size() + k]);
    }
    swept_ = true;
  }

  int find(const Term& t) override {
    if (place(terms_, t) < 0) add({t});
    return place(terms_, t);
  }
  double sum(int64_t unit, int place) const override { return sums_[size_t(place)][size_t(unit)]; }
  double weight(int64_t unit, Set set) const override { return labels_.weight(set, by_volume_ ? unit : -1); }
  int64_t count(int64_t unit, Set set) const override { return labels_.count(set, by_volume_ ? unit : -1); }
  double largest_logit(int64_t unit, Set set, bool negated) const override {
    const int64_t n = units_ == 0 ? 0 : z_.size() / units_;
    return visit(z_.dtype(), [&](auto zero) {
      const auto z = z_.span<decltype(zero)>();
      double largest = -std::numeric_limits<double>::infinity();
      for (int64_t i = unit * n; i < (unit + 1) * n; ++i)
        if (labels_.has(i, set)) largest = std::max(largest, double(negated ? -z[size_t(i)] : z[size_t(i)]));
      return largest;
    });
  }

  int64_t units() const { return units_; }
  const std::vector<Term>& terms() const { return terms_; }

  /// dz for coefficients [unit][term].
  Tensor gradient(const Tensor& z, const std::vector<double>& coefficient) const {
    const std::vector<kernels::SetTerm> raw = raw_terms(terms_);
    kernels::SetMeanProblem p = problem(raw, z);
    Tensor dz = empty_like(z);
    kernels::set_mean.at(z.device()).backward(p, coefficient.data(), dz.raw());
    return dz;
  }
  /// Takes terms whose sums are known elsewhere, for gradient() alone.
  void adopt(const std::vector<Term>& terms) { terms_ = terms; }
  /// Forgets the logits: a backward pass brings them along as Saved.
  void let_go() { z_ = Tensor(); }

 private:
  static int place(const std::vector<Term>& terms, const Term& t) {
    for (size_t k = 0; k < terms.size(); ++k)
      if (terms[k].same(t)) return int(k);
    return -1;
  }
  static std::vector<kernels::SetTerm> raw_terms(const std::vector<Term>& terms) {
    std::vector<kernels::SetTerm> raw;
    for (const Term& t : terms) {
      raw.push_back(t.f.term(t.set.bits));
      if (t.factor.defined()) raw.back().factor = t.factor.raw();
    }
    return raw;
  }
  kernels::SetMeanProblem problem(const std::vector<kernels::SetTerm>& raw, const Tensor& z) const {
    return {z.dtype(), units_, units_ == 0 ? 0 : labels_.size() / units_, int(raw.size()), raw.data(), labels_.classes().data(),
            weight_.defined() ? weight_.raw() : nullptr, z.raw()};
  }

  std::string name_;
  Tensor z_, weight_;
  Labels labels_;
  int64_t units_;
  bool by_volume_, swept_ = false;
  std::vector<Term> terms_;
  std::vector<std::vector<double>> sums_;  ///< [term][unit]
};

}  // namespace voxgrad::pu
