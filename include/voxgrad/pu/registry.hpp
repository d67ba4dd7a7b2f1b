// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Risks by name: what `voxgrad train --loss` offers. A program that registers its own before it runs the command line can choose it by
// name as well, and so can its configuration files.

#include <map>

#include "voxgrad/pu/expectation.hpp"
#include "voxgrad/pu/extra_labels.hpp"
#include "voxgrad/pu/overlap.hpp"
#include "voxgrad/pu/variational.hpp"

namespace voxgrad::pu {

using RiskFactory = std::function<Objective(const RiskOptions&, const ObjectiveOptions&)>;

/// What a risk takes beside logits, labels and the prior.
struct RiskNeeds {
  bool negatives = false;              ///< voxels known to be negative (label 2)
  bool propensity = false;             ///< options.propensity
  bool first_stage = false;            ///< options.first_stage
  bool prior_among_unlabeled = false;  ///< its prior is the share of positives among the unlabeled voxels, not in everything
};

struct NamedRisk {
  std::string meaning;  ///< one line for the help
  bool needs_prior;     ///< an options.prior of 0 is an error
  RiskFactory make;
  RiskNeeds needs = {};
  /// What is done to the labels of a batch before the risk is taken, if anything.
  std::function<Labels(const Tensor& logits, const Labels&, const RiskOptions&)> prepare = {};
};

/// All registered risks. Names sort as text.
inline std::map<std::string, NamedRisk>& risks() {
  const auto overlap = [](const RiskOptions& o) {
    return OverlapOptions{.prior = o.prior, .correction = Correction::abs, .scenario = o.scenario};
  };
  static std::map<std::string, NamedRisk> all{
      {"upu", {"unbiased risk", true, [](const RiskOptions& o, const ObjectiveOptions& h) { return upu(o, h); }}},
      {"nnpu", {"non-negative risk, as published", true, [](const RiskOptions& o, const ObjectiveOptions& h) { return nnpu(o, h); }}},
      {"imbalanced_nnpu", {"non-negative risk for rare positives", true,
                           [](const RiskOptions& o, const ObjectiveOptions& h) { return imbalanced_nnpu(o, h); }}},
      {"abs_pu", {"risk with the absolute value of its negative part", true,
                  [](const RiskOptions& o, const ObjectiveOptions& h) { return abs_pu(o, h); }}},
      {"clamp_pu", {"risk whose negative part is cut at -beta", true,
                    [](RiskOptions o, const ObjectiveOptions& h) { return o.correction = Correction::clamp, pu_risk(o, h, "clamp_pu"); }}},
      {"leaky_pu", {"risk whose negative part turns back by a slope", true,
                    [](RiskOptions o, const ObjectiveOptions& h) { return o.correction = Correction::leaky, pu_risk(o, h, "leaky_pu"); }}},
      {"pn", {"ordinary risk, with known negatives", true, [](const RiskOptions& o, const ObjectiveOptions& h) { return pn(o, h); },
              {.negatives = true}}},
      {"pnu", {"risk with unlabeled and known negative voxels", true,
               [](const RiskOptions& o, const ObjectiveOptions& h) { return pnu(o, o.eta, h); }, {.negatives = true}}},
      {"pubn", {"risk with known negatives of one kind", true,
                [](const RiskOptions& o, const ObjectiveOptions& h) {
                  return pubn(o, o.negative_share, o.first_stage, o.first_stage_threshold, h);
                },
                {.negatives = true, .first_stage = true}}},
      {"propensity", {"risk for labels that depend on the voxel", false,
                      [](const RiskOptions& o, const ObjectiveOptions& h) { return propensity_risk(o.propensity, o, 0.05, h); },
                      {.propensity = true}}},
      {"cvir", {"without the unlabeled voxels of highest score, as many as the prior says", true,
                [](const RiskOptions&, const ObjectiveOptions& h) { return cvir(h); }, {.prior_among_unlabeled = true},
                [](const Tensor& z, const Labels& l, const RiskOptions& o) { return without_highest(z, l, o.prior); }}},
      {"naive", {"unlabeled is negative, every voxel counts the same", false,
                 [](const RiskOptions& o, const ObjectiveOptions& h) { return naive(o.surrogate, h); }}},
      {"naive_balanced", {"unlabeled is negative, either class counts half", false,
                          [](const RiskOptions& o, const ObjectiveOptions& h) { return naive_balanced(0.5, o.surrogate, h); }}},
      {"dist_pu", {"mean scores fitted to the prior", true,
                   [](const RiskOptions& o, const ObjectiveOptions& h) { return dist_pu(o.prior, o.entropy, h); },
                   {.prior_among_unlabeled = true}}},
      {"ge_kl", {"generalised expectation; the prior is that of the unlabeled voxels", true,
                 [](const RiskOptions& o, const ObjectiveOptions& h) { return ge_kl(o.prior, o.slack > 0 ? o.slack : 10, h); },
                 {.prior_among_unlabeled = true}}},
      {"ge_gaussian", {"generalised expectation of the number of positives, in closed form", true,
                       [](const RiskOptions& o, const ObjectiveOptions& h) {
                         return ge_gaussian(o.prior, o.slack > 0 ? o.slack : 1, o.spread, false, h);
                       },
                       {.prior_among_unlabeled = true}}},
      {"ge_binomial", {"the same as published, for at most 4096 unlabeled voxels", true,
                       [](const RiskOptions& o, const ObjectiveOptions& h) { return ge_binomial(o.prior, o.slack > 0 ? o.slack : 1, h); },
                       {.prior_among_unlabeled = true}}},
      {"vpu", {"variational, without a prior", false, [](const RiskOptions&, const ObjectiveOptions& h) { return vpu(true, h); }}},
      {"taylor_vpu", {"variational to second order, without a prior", false,
                      [](const RiskOptions&, const ObjectiveOptions& h) { return taylor_vpu(2, h); }}},
      {"pu_dice", {"Dice from means over labelled voxels and everything", true,
                   [overlap](const RiskOptions& o, const ObjectiveOptions& h) { return pu_dice(overlap(o), h); }}},
      {"pu_tversky", {"Tversky from means over labelled voxels and everything", true,
                      [overlap](const RiskOptions& o, const ObjectiveOptions& h) { return pu_tversky(overlap(o), 0.3, 0.7, h); }}},
  };
  return all;
}

/// Adds a risk under a name, or replaces it. Returns true, so that it can initialise a variable of a source file. Errors: UsageError for an
/// empty name.
inline bool register_risk(const std::string& name, const std::string& meaning, bool needs_prior, RiskFactory make) {
  check<UsageError>(!name.empty(), "register_risk: name is empty");
  risks()[name] = {meaning, needs_prior, std::move(make)};
  return true;
}
/// A rule of one's own that takes no options.
inline bool register_risk(const std::string& name, Rule rule) {
  return register_risk(name, "your own", false,
                       [name, rule = std::move(rule)](const RiskOptions&, const ObjectiveOptions& how) { return objective(name, rule, how); });
}

/// The risk of that name. Errors: UsageError lists the names, or says that a prior is missing.
inline Objective risk_by_name(const std::string& name, const RiskOptions& options, const ObjectiveOptions& how = {}) {
  const auto it = risks().find(name);
  if (it == risks().end()) {
    std::string names;
    for (const auto& [known, risk] : risks()) names += (names.empty() ? "" : ", ") + known;
    throw UsageError(text("risk '", name, "' is not one of ", names));
  }
  check<UsageError>(!it->second.needs_prior || options.prior != 0 || !options.priors.empty(), name,
                    ": needs the class prior, the share of voxels that are positive");
  check<UsageError>(!it->second.needs.propensity || options.propensity.defined(), name, ": needs the propensity of every labelled voxel");
  check<UsageError>(!it->second.needs.first_stage || options.first_stage.defined(), name, ": needs a first-stage estimate for every voxel");
  return it->second.make(options, how);
}

}  // namespace voxgrad::pu
