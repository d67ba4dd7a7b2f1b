// SPDX-License-Identifier: BSD-3-Clause
#include "auto_prior.hpp"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "history.hpp"
#include "json_text.hpp"
#include "voxgrad/autograd/record.hpp"
#include "voxgrad/core/random.hpp"
#include "voxgrad/data/crops.hpp"

namespace voxgrad::app {

namespace {

/// The crops of a source that were cut around events, or those that were not.
std::vector<int64_t> crops_of(const data::CropSource& source, bool centred) {
  std::vector<int64_t> which;
  for (int64_t i = 0; i < source.size(); ++i)
    if (source.centred(i) == centred) which.push_back(i);
  return which;
}

}  // namespace

pu::PriorEstimate CropScores::share() const {
  const pu::ScoreTable table = all.table();
  const double voxels_per_event = std::max(1.0, table.positive / std::max(1.0, events));
  pu::PriorEstimate e = pu::bbe(table, {.effective_positives = std::max(1.0, events),
                                        .effective_unlabeled = std::max(1.0, table.unlabeled / voxels_per_event),
                                        .bound = pu::BbeBound::relative});
  const double alpha = everything > 0 ? labelled / everything : 0;
  for (double* v : {&e.prior, &e.low, &e.high}) *v = pu::prior_of_everything(*v, alpha);
  return e;
}

bool estimate_due(const AutoPriorConfig& e, int64_t step) { return step >= e.warmup && (step - e.warmup) % e.interval == 0; }

void follow_estimate(PriorUpdate& u, const AutoPriorConfig& c, double in_use, double labelled, int64_t& used) {
  u.far = u.estimate < in_use / 2 || u.estimate > in_use * 2;
  u.prior = in_use;
  if (!u.used) return;
  const double next = used == 0 ? u.estimate : in_use + c.smoothing * (std::clamp(u.estimate, in_use / 2, in_use * 2) - in_use);
  u.prior = std::clamp(next, std::max(labelled, c.lowest), c.highest);
  ++used;
}

void tell_estimate(const PriorUpdate& u, int64_t step, double before, int64_t used, const std::string& folder, Session& session) {
  if (u.few) {
    session.warn(text("step ", step, ": no estimate of the prior, fewer than two of the held-out crops hold a labelled voxel; ",
                      number_text(before), " stays. Raise training_config.pu.prior_crops."));
    return;
  }
  append_row(folder + "/prior.csv", "step,estimate,low,high,labelled,prior,used",
             text(step - 1, ",", number_text(u.estimate), ",", number_text(u.low), ",", number_text(u.high), ",", number_text(u.labelled), ",",
                  number_text(u.prior), ",", int(u.used)));
  session.note(fmt::format("step {}: prior {:.4g} (was {:.4g}); estimate {:.4g}, interval {:.4g} to {:.4g}{}", step, u.prior, before, u.estimate,
                           u.low, u.high, u.used ? "" : "; not used, the network says the same everywhere"));
  session.emit("prior", {{"step", step}, {"estimate", u.estimate}, {"low", u.low}, {"high", u.high}, {"prior", u.prior}});
  if (u.used && u.far && used > 1)
    session.warn(fmt::format("the estimate {:.4g} is not within a factor of two of the prior in use, {:.4g}.", u.estimate, before));
}

AutoPrior::AutoPrior(const TrainConfig& config, Source train, Source valid, RandomCrops held_out)
    : config_(config), valid_(std::move(valid)), held_out_(std::move(held_out)), valid_centred_(crops_of(*valid_, true)),
      valid_random_(crops_of(*valid_, false)) {
  const std::vector<int64_t> centred = crops_of(*train, true), random = crops_of(*train, false);
  const bool of_random = config.training.pu.population == "random" && !random.empty();
  centred_share_ = of_random ? 0 : double(centred.size()) / double(train->size());
  check<FileError>(centred_share_ == 1 || held_out_ || !valid_random_.empty(), "training_config.pu.prior is auto, the share of positives in ",
                   "random crops, but all validation crops were cut around events and hold more. Whole validation movies (data sets input and ",
                   "label) or unlabelled validation crops are needed; or give the prior as a number.");

  double labelled = 0;
  for (const auto& [which, share] : {std::pair{&centred, centred_share_}, {&random, 1 - centred_share_}}) {
    if (share == 0) continue;
    double positive = 0, counted = 0;
    for (int64_t i : drawn(*which, 1)) {
      const auto crop = train->crop(i);
      for (uint8_t c : crop->target) positive += c == 1, counted += c <= 1;
    }
    labelled += share * (counted > 0 ? positive / counted : 0);
  }
  labelled_ = labelled;
  const AutoPriorConfig& e = config.training.pu.estimate;
  check<FileError>(labelled_ > 0 || e.start > 0, "training_config.pu.prior is auto, and starts at the labelled share of the training crops, but ",
                   "none of those looked at (training_config.pu.prior_crops, ", e.crops, ") holds a labelled voxel. Look at more, or set ",
                   "training_config.pu.prior_start.");
  check<FileError>(labelled_ < e.highest, "training_config.pu.prior_bounds ends at ", e.highest, ", but already the labelled share of the ",
                   "training crops is ", labelled_, ", and the prior is at least that.");
  start_ = std::clamp(e.start > 0 ? e.start : labelled_, std::max(labelled_, e.lowest), e.highest);
  const CropScores s = collect(nullptr, 0, centred_share_ == 1);
  check<FileError>(s.events > 0, "training_config.pu.prior is auto, but none of the validation crops ",
                   "looked at holds a labelled voxel to compare with. Give the prior as a number.");
}

/// At most pu.prior_crops of the given crops.
std::vector<int64_t> AutoPrior::drawn(const std::vector<int64_t>& from, uint64_t stream) const {
  std::vector<int64_t> which = from;
  const size_t count = std::min(which.size(), size_t(config_.training.pu.estimate.crops));
  Random random(config_.seed, stream << 8 | 0x70);
  for (size_t i = 0; i < count; ++i) std::swap(which[i], which[i + size_t(random.below(uint64_t(which.size() - i)))]);
  which.resize(count);
  return which;
}

/// Adds a patch of each crop. everything: all its voxels count, else the labelled ones alone. Without logits only counts.
void AutoPrior::score(const Logits& logits, const data::CropSource& source, const std::vector<int64_t>& which, uint64_t stream,
                      bool everything, CropScores& into) const {
  const int64_t p = config_.training.patch_size, voxels = p * p * p, most = config_.training.inference_batch_size;
  const data::AugmentOptions cut{.flip = false, .random_crop = config_.training.random_crop};
  Random random(config_.seed, stream << 8 | 0x71);
  for (size_t first = 0; first < which.size(); first += size_t(most)) {
    const int64_t count = std::min(most, int64_t(which.size() - first));
    std::vector<float> input(size_t(count * voxels)), target(input.size());
    for (int64_t i = 0; i < count; ++i) {
      const auto crop = source.crop(which[first + size_t(i)]);
      const data::PatchDraw draw = data::draw_patch(random, source.crop_extent(), {p, p, p}, cut);
      data::cut_patch(crop->input.data(), source.crop_extent(), draw, {p, p, p}, input.data() + i * voxels);
      data::cut_patch(crop->target.data(), source.crop_extent(), draw, {p, p, p}, target.data() + i * voxels);
    }
    const Shape shape{count, p, p, p, 1};
    pu::Labels labels(Tensor::from(target, shape));
    if (!everything) labels = labels.changed([](size_t, uint8_t c) { return c == pu::U.bits ? uint8_t(0) : c; });
    for (int64_t i = 0; i < count; ++i) into.events += labels.count(pu::P, i) > 0;
    if (everything) {
      into.labelled += double(labels.count(pu::P));
      into.everything += double(labels.count(pu::population));
    }
    if (logits) into.all.add(logits(Tensor::from(input, shape)), labels);
  }
}

/// The scores that say how many positives are in crops around events, or in random ones.
CropScores AutoPrior::collect(const Logits& logits, uint64_t stream, bool centred) const {
  CropScores s;
  const std::vector<int64_t>& events = valid_centred_.empty() ? valid_random_ : valid_centred_;
  score(logits, *valid_, drawn(events, stream), stream, centred || (valid_centred_.empty() && !held_out_), s);
  if (centred) return s;
  if (held_out_) {
    const Source random = held_out_(config_.training.pu.estimate.crops, stream);
    std::vector<int64_t> all(size_t(random->size()));
    std::iota(all.begin(), all.end(), int64_t(0));
    score(logits, *random, all, stream + 1, true, s);
  } else if (!valid_centred_.empty()) {
    score(logits, *valid_, drawn(valid_random_, stream), stream + 1, true, s);
  }
  return s;
}

PriorUpdate AutoPrior::estimate(const Logits& logits, int64_t step, double in_use) {
  NoGrad no_grad;
  PriorUpdate u;
  u.prior = in_use;
  u.low = u.high = u.estimate = 0;
  bool told = true;
  for (const auto& [centred, weight] : {std::pair{true, centred_share_}, {false, 1 - centred_share_}}) {
    if (weight == 0) continue;
    const CropScores s = collect(logits, uint64_t(step) * 4 + (centred ? 2 : 0), centred);
    if (s.events < 2 || s.everything <= s.labelled) {  // of rare events, few crops hold any: this draw says nothing
      u.few = true;
      return u;
    }
    told = told && s.all.deviation() > 1e-3;
    const pu::PriorEstimate e = s.share();
    u.estimate += weight * e.prior;
    u.low += weight * e.low;
    u.high += weight * e.high;
    u.labelled += weight * s.labelled / s.everything;
  }
  u.used = told;
  follow_estimate(u, config_.training.pu.estimate, in_use, labelled_, used_);
  return u;
}

}  // namespace voxgrad::app
