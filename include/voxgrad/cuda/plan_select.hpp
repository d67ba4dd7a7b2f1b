// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Which of the engines' offers becomes the plan: rules, timing, verification. Knows no cuDNN calls, so that tests can run it
// on a made-up device.

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "voxgrad/cuda/conv_plan.hpp"

namespace voxgrad::cuda {

struct PlanLimits {
  int64_t workspace = int64_t(256) << 20;         ///< bytes a plan may take
  int64_t strict_workspace = int64_t(1) << 30;    ///< the same for strict f32, whose kernels transpose channels-last tensors
  int candidates = 12, per_engine = 4;            ///< how many are timed
};
inline int64_t cap_of(const PlanLimits& limits, const ConvSpec& spec) {
  return spec.math == Math::strict ? limits.strict_workspace : limits.workspace;
}

/// Why an engine with these notes must not compute the spec, "" if it may.
inline std::string forbidden(const ConvSpec& spec, EngineNotes notes) {
  const auto has = [notes](cudnn::NumericalNote note) { return (notes & note_bit(note)) != 0; };
  if (spec.deterministic && has(cudnn::NUMERICAL_NOTE_NONDETERMINISTIC)) return "not deterministic";
  if (has(cudnn::NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION)) return "sums in less than f32";
  if (spec.math == Math::strict) {
    if (has(cudnn::NUMERICAL_NOTE_TENSOR_CORE)) return "uses tensor cores";
    if (has(cudnn::NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)) return "rounds its inputs";
    for (const auto note : {cudnn::NUMERICAL_NOTE_FFT, cudnn::NUMERICAL_NOTE_WINOGRAD, cudnn::NUMERICAL_NOTE_WINOGRAD_TILE_4x4,
                            cudnn::NUMERICAL_NOTE_WINOGRAD_TILE_6x6, cudnn::NUMERICAL_NOTE_WINOGRAD_TILE_13x13})
      if (has(note)) return "transforms its inputs";
  }
  return "";
}

/// Largest ||y - reference|| / ||reference|| of a plan that is believed.
inline double tolerance(const ConvSpec& spec) {
  if (spec.io == Element::bf16) return 1e-2;
  return spec.io == Element::f16 || spec.math == Math::tf32 ? 2e-3 : 1e-5;
}

/// Proposals for one spec on one card, whatever the card is. `propose` answers for a heuristic mode, `build` finishes a
/// proposal or says why not.
template <class D>
concept PlanDevice = requires(D d, cudnn::HeurMode mode, typename D::Config config, typename D::Plan plan, std::string why) {
  { d.propose(mode) } -> std::same_as<std::vector<typename D::Config>>;
  { d.build(config, why) } -> std::same_as<std::optional<typename D::Plan>>;
  { d.identity(plan) } -> std::same_as<std::string>;  ///< equal for equal plans: modes propose the same ones again
  { config.engine } -> std::convertible_to<int64_t>;
  { config.notes } -> std::convertible_to<EngineNotes>;
  { plan.workspace } -> std::convertible_to<int64_t>;
  { plan.us } -> std::convertible_to<double>;
};

/// How plans are judged on the card. Without `time` the first admissible proposal wins; without `verify` it is believed.
template <class Plan>
struct PlanJudge {
  std::function<double(const Plan&)> time;    ///< microseconds; a DeviceError puts the plan out of the race
  std::function<double(const Plan&)> verify;  ///< ||y - reference|| / ||reference||, NaN for a result with NaN
  std::function<void(const std::string&)> log;
};

namespace detail {

struct PlanTally {
  int proposed = 0, forbidden = 0, refused = 0, too_large = 0, failed = 0;
  int64_t smallest = -1;  ///< workspace of those above the cap
  std::string reason;     ///< of the first refusal
};

inline std::string no_plan(const ConvSpec& spec, const PlanTally& t, int64_t cap) {
  std::string out = text("conv plan: cuDNN has no usable plan for ", describe(spec), ": ", t.proposed, " proposals");
  if (t.forbidden > 0) out += text(", ", t.forbidden, " not allowed by precision or determinism");
  if (t.too_large > 0) out += text(", ", t.too_large, " above the cap of ", cap, " bytes of workspace (the smallest needs ", t.smallest, ")");
  if (t.refused > 0) out += text(", ", t.refused, " refused (", t.reason, ")");
  if (t.failed > 0) out += text(", ", t.failed, " failed or gave wrong values on the card");
  return out + ".";
}

/// Admissible plans in the order of the heuristics, at most as many as `limits` and `most` say.
template <PlanDevice D>
std::vector<typename D::Plan> admissible(D& device, const ConvSpec& spec, const PlanLimits& limits, int most, PlanTally& tally) {
  std::vector<typename D::Plan> plans;
  std::map<int64_t, int> of_engine;
  std::set<std::string> seen;
  for (const auto mode : {cudnn::HEUR_MODE_A, cudnn::HEUR_MODE_B, cudnn::HEUR_MODE_FALLBACK}) {
    if (int(plans.size()) >= most) break;
    for (const auto& config : device.propose(mode)) {
      if (int(plans.size()) >= most) break;
      ++tally.proposed;
      if (!forbidden(spec, config.notes).empty()) {
        ++tally.forbidden;
        continue;
      }
      if (of_engine[config.engine] >= limits.per_engine) continue;
      std::string why;
      auto plan = device.build(config, why);
      if (!plan) {
        if (tally.refused++ == 0) tally.reason = why;
        continue;
      }
      if (plan->workspace > cap_of(limits, spec)) {
        ++tally.too_large;
        if (tally.smallest < 0 || plan->workspace < tally.smallest) tally.smallest = plan->workspace;
        continue;
      }
      if (!seen.insert(device.identity(*plan)).second) continue;
      ++of_engine[config.engine];
      plans.push_back(std::move(*plan));
    }
  }
  return plans;
}

}  // namespace detail

/// The plan for a spec. DeviceError: none is admissible, or none gives the right values.
template <PlanDevice D>
typename D::Plan select_plan(D& device, const ConvSpec& spec, const PlanLimits& limits, const PlanJudge<typename D::Plan>& judge) {
  const auto log = [&](const auto&... parts) {
    if (judge.log) judge.log(text(parts...));
  };
  detail::PlanTally tally;
  auto plans = detail::admissible(device, spec, limits, judge.time || judge.verify ? limits.candidates : 1, tally);
  if (judge.time) {
    for (auto& plan : plans) try {
        plan.us = judge.time(plan);
      } catch (const DeviceError& error) {
        log("engine ", plan.engine, " failed while timed: ", error.what());
        plan.us = -1;
        ++tally.failed;
      }
    std::erase_if(plans, [](const auto& plan) { return plan.us < 0; });
    std::stable_sort(plans.begin(), plans.end(), [](const auto& a, const auto& b) { return a.us < b.us; });
  }
  for (auto& plan : plans) {
    double error = 0;
    try {
      error = judge.verify ? judge.verify(plan) : 0;
    } catch (const DeviceError& failure) {
      log("engine ", plan.engine, " failed while verified: ", failure.what());
      error = std::nan("");
    }
    if (error < tolerance(spec)) {
      log(describe(spec), ": engine ", plan.engine, ", ", plan.workspace, " bytes of workspace",
          judge.time ? text(", ", plan.us, " us, fastest of ", plans.size()) : std::string(", not timed"),
          judge.verify ? text(", error ", error) : std::string(", not verified"));
      return std::move(plan);
    }
    log(describe(spec), ": engine ", plan.engine, " gives wrong values (error ", error, ", allowed ", tolerance(spec), "); the next is tried");
    ++tally.failed;
  }
  throw DeviceError(detail::no_plan(spec, tally, cap_of(limits, spec)));
}

/// The PlanDevice of cuDNN.
class CudnnPlanDevice {
 public:
  using Config = EngineConfig;
  using Plan = ConvPlan;
  CudnnPlanDevice(const PlanTarget& target, const ConvSpec& spec) : target_(target), graph_(target, spec) {}
  std::vector<Config> propose(cudnn::HeurMode mode) { return engine_configs(target_, graph_, mode); }
  std::optional<Plan> build(const Config& config, std::string& why) { return make_plan(target_, config, why); }
  std::string identity(const Plan& plan) { return plan.json(); }

 private:
  const PlanTarget& target_;
  ConvGraph graph_;
};
static_assert(PlanDevice<CudnnPlanDevice>);

}  // namespace voxgrad::cuda
