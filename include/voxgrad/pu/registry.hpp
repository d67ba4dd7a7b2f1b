// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Risks by name: what `voxgrad train --loss` offers. A program that registers its own before it runs the command line can choose it by
// name as well, and so can its configuration files.

#include <map>

#include "voxgrad/pu/expectation.hpp"
#include "voxgrad/pu/overlap.hpp"
#include "voxgrad/pu/variational.hpp"

namespace voxgrad::pu {

using RiskFactory = std::function<Objective(const RiskOptions&, const ObjectiveOptions&)>;

struct NamedRisk {
  std::string meaning;  ///< one line for the help
  bool needs_prior;     ///< an options.prior of 0 is an error
  RiskFactory make;
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
      {"naive", {"unlabeled is negative, every voxel counts the same", false,
                 [](const RiskOptions& o, const ObjectiveOptions& h) { return naive(o.surrogate, h); }}},
      {"naive_balanced", {"unlabeled is negative, either class counts half", false,
                          [](const RiskOptions& o, const ObjectiveOptions& h) { return naive_balanced(0.5, o.surrogate, h); }}},
      {"dist_pu", {"mean scores fitted to the prior", true,
                   [](const RiskOptions& o, const ObjectiveOptions& h) { return dist_pu(o.prior, 0.002, h); }}},
      {"ge_kl", {"generalised expectation; the prior is that of the unlabeled voxels", true,
                 [](const RiskOptions& o, const ObjectiveOptions& h) { return ge_kl(o.prior, 10, h); }}},
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
  return it->second.make(options, how);
}

}  // namespace voxgrad::pu
