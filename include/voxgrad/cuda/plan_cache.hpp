// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Plans kept from run to run, one file each, and the planner that uses them.

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "voxgrad/cuda/plan_select.hpp"

namespace voxgrad::cuda {

/// Where plans are kept: VOXGRAD_CACHE ("off": nowhere), else $XDG_CACHE_HOME/voxgrad, else $SLURM_TMPDIR/voxgrad-cache;
/// "" for nowhere. The home folder is not written to unless one of them says so.
std::string plan_cache_folder();

struct PlanRecord {
  std::string key;  ///< card, cuDNN, spec and limits in words
  int64_t engine = -1;
  EngineNotes notes = 0;
  int64_t workspace = 0;
  double us = 0;
  std::string json;
};

/// A folder with one file per key. Files are written under another name and renamed, so that any number of processes may
/// share it. What cannot be read or written is said once per cache and otherwise ignored: plans are only made again.
class PlanCache {
 public:
  using Note = std::function<void(const std::string&)>;
  explicit PlanCache(std::string folder, Note note = {}) : folder_(std::move(folder)), note_(std::move(note)) {}

  std::optional<PlanRecord> find(const std::string& key);
  void store(const PlanRecord& record);
  /// The file of a key, "" when nothing is kept.
  std::string file(const std::string& key) const;
  /// The entry of this key is of no use, for this reason.
  void reject(const std::string& key, const std::string& why) { complain(file(key) + ": " + why + ". It is ignored and written anew."); }

 private:
  void complain(const std::string& what);
  std::string folder_;
  Note note_;
  bool complained_ = false;
};

/// How a planner judges plans; the same for all specs.
struct PlannerOptions {
  PlanLimits limits;
  std::function<double(const ConvSpec&, const ConvPlan&)> time;    ///< see PlanJudge
  std::function<double(const ConvSpec&, const ConvPlan&)> verify;  ///< see PlanJudge
  std::function<void(const std::string&)> log;
  std::string cache_folder = plan_cache_folder();
};

/// Plans by spec: from memory, from the folder, or newly selected. Safe to use from several threads.
class ConvPlanner {
 public:
  /// `card` names the card in keys: "NVIDIA H200 sm_90 132 SMs".
  ConvPlanner(PlanTarget target, std::string card, PlannerOptions options = {});

  /// DeviceError: no plan, or a version of cuDNN that is not trusted with this.
  std::shared_ptr<const ConvPlan> plan(const ConvSpec& spec);
  std::string key(const ConvSpec& spec) const;
  const PlanTarget& target() const { return target_; }

 private:
  std::shared_ptr<const ConvPlan> kept(const ConvSpec& spec, const std::string& key);
  std::shared_ptr<const ConvPlan> selected(const ConvSpec& spec, const std::string& key);

  PlanTarget target_;
  std::string card_;
  PlannerOptions options_;
  PlanCache cache_;
  std::mutex mutex_;
  std::unordered_map<ConvSpec, std::shared_ptr<const ConvPlan>> plans_;
};

}  // namespace voxgrad::cuda
