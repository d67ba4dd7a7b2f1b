// SPDX-License-Identifier: BSD-3-Clause
#include "pu_keys.hpp"

#include <algorithm>
#include <functional>

#include "losses.hpp"
#include "session.hpp"

namespace voxgrad::app {
namespace {

using Names = std::vector<std::string>;

const std::string prefix = "training_config.pu.";

Names operator+(Names a, const Names& b) {
  a.insert(a.end(), b.begin(), b.end());
  std::sort(a.begin(), a.end());
  return a;
}
Names operator-(Names a, const std::string& one) {
  std::erase(a, one);
  return a;
}

// Families of losses: what their options reach is in pu/risk.hpp, pu/extra_labels.hpp and pu/registry.hpp.
const Names plain{"bce", "mse"};
const Names margin{"abs_pu", "clamp_pu", "imbalanced_nnpu", "leaky_pu", "nnpu", "upu"};
const Names stepping{"imbalanced_nnpu", "nnpu", "pnu", "propensity"};  // corrected as published
const Names expectation{"ge_binomial", "ge_gaussian", "ge_kl"};
const Names overlap{"pu_dice", "pu_tversky"};
const Names of_labels{"naive", "naive_balanced", "propensity", "taylor_vpu", "vpu"};  // without a prior
const Names of_prior = margin + expectation + overlap + Names{"cvir", "dist_pu", "pn", "pnu", "pubn"};
const Names risks = of_labels + of_prior;

/// A key, the losses that read it, and what else must be set, if anything.
struct Row {
  std::string key;
  Names losses;
  std::string needs = {};  ///< "mixup above 0"
  std::function<bool(const Config&)> met = {};
};

bool is(const Config& c, const std::string& key, const std::string& value) { return c.text(prefix + key) == value; }

const std::vector<Row>& rows() {
  const auto prior_auto = [](const Config& c) { return is(c, "prior", "auto"); };
  const auto beta_auto = [](const Config& c) { return is(c, "beta", "auto"); };
  const auto mixup = [](const Config& c) { return c.real(prefix + "mixup") > 0; };
  const auto shorter = [](const Config& c) { return c.real(prefix + "gamma") < 1; };
  const auto accumulate = [](const Config& c) { return is(c, "reduction", "accumulate"); };
  static const std::vector<Row> all{
      {"balance_events", risks},
      {"beta", stepping + Names{"clamp_pu"}},
      {"beta_deviations", {"clamp_pu", "imbalanced_nnpu", "nnpu"}, "beta auto", beta_auto},
      {"denominator", margin + Names{"pn"}},
      {"entropy", {"dist_pu"}},
      {"entropy_ramp", {"dist_pu"}},
      {"eta", {"pnu"}},
      {"first_stage", {"pubn"}},
      {"first_stage_threshold", {"pubn"}},
      {"gamma", stepping},
      {"gamma_mode", stepping, "gamma below 1", shorter},
      {"ignore_border", risks},
      {"labels", risks},
      {"leak", {"leaky_pu"}},
      {"micro_batch", risks + plain, "reduction accumulate", accumulate},
      {"mixup", {"dist_pu", "vpu"}},
      {"mixup_alpha", {"dist_pu", "vpu"}, "mixup above 0", mixup},
      {"mixup_entropy", {"dist_pu"}, "mixup above 0", mixup},
      {"movie_priors", margin + Names{"pn", "pnu", "pubn"}},
      {"negative_share", {"pubn"}},
      {"on_no_positive", risks},
      {"population", risks - "pn"},
      {"prior", of_prior},
      {"prior_bounds", of_prior, "prior auto", prior_auto},
      {"prior_crops", of_prior, "prior auto", prior_auto},
      {"prior_interval", of_prior, "prior auto", prior_auto},
      {"prior_prime", margin},
      {"prior_smoothing", of_prior, "prior auto", prior_auto},
      {"prior_start", of_prior, "prior auto", prior_auto},
      {"prior_warmup", of_prior, "prior auto", prior_auto},
      {"reduction", risks + plain},
      {"running_means", of_prior + Names{"naive_balanced", "taylor_vpu", "vpu"}},
      {"scenario", margin + overlap + Names{"pnu"}},
      {"slack", expectation},
      {"spread", {"ge_gaussian"}},
      {"surrogate", margin + Names{"naive", "naive_balanced", "pn", "pnu", "propensity", "pubn"}},
      {"warmup", {"dist_pu", "vpu"}},
  };
  return all;
}

bool holds(const Names& names, const std::string& name) { return std::find(names.begin(), names.end(), name) != names.end(); }

bool reads(const Row& row, const std::string& loss) { return holds(row.losses, loss) || !holds(risks + plain, loss); }

/// 0.50 is 0.5.
bool same(const Names& a, const Names& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const std::string& x, const std::string& y) {
    const auto p = parse_real(x), q = parse_real(y);
    return x == y || (p && q && *p == *q);
  });
}

std::string listed(const Names& names) {
  std::string all;
  for (const std::string& n : names) all += (all.empty() ? "" : ", ") + n;
  return all;
}

/// Why a key that was set has no effect, or nothing.
std::string why_idle(const Row& row, const Config& c, const std::string& loss) {
  const auto unread = [&](const Names& losses) { return text("loss ", loss, " does not read it (", listed(losses), losses.size() == 1 ? " does)" : " do)"); };
  if (!reads(row, loss)) return unread(row.losses);
  if (row.key == "beta" && is(c, "beta", "auto") && !reads_pu_key(loss, "beta_deviations"))
    return unread({"clamp_pu", "imbalanced_nnpu", "nnpu"});
  return row.met && !row.met(c) ? text("it goes with ", prefix, row.needs) : "";
}

}  // namespace

bool reads_pu_key(const std::string& loss, const std::string& key) {
  for (const Row& row : rows())
    if (row.key == key) return reads(row, loss);
  throw Error(text("reads_pu_key: no key ", prefix, key));
}

void tell_idle_pu_keys(const Config& config, const std::string& loss, bool strict, Session& session) {
  const Config defaults;
  for (const Row& row : rows()) {
    const std::string path = prefix + row.key, &origin = config.origin(path);
    const bool option = origin.rfind("--", 0) == 0 && origin.rfind("--set", 0) != 0;
    if (origin.empty() || (!option && same(config.texts(path), defaults.texts(path)))) continue;
    const std::string why = why_idle(row, config, loss);
    if (why.empty()) continue;
    const std::string line = text(origin, ": ", path, " is ", listed(config.texts(path)), " and has no effect on the training: ", why, ".");
    check<UsageError>(!option, line, " Leave it out, or choose another --loss.");
    check<UsageError>(!strict, line, " Refused because of --strict.");
    session.warn(line);
  }
}

}  // namespace voxgrad::app
