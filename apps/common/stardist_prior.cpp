// SPDX-License-Identifier: BSD-3-Clause
#include "stardist_prior.hpp"

#include <algorithm>

#include "stardist_stepper.hpp"
#include "voxgrad/autograd/record.hpp"

namespace voxgrad::app {
namespace {

/// Beyond the patches that validation losses are taken of.
constexpr int64_t first_patch = int64_t(1) << 24;

/// Whether a source has crops that were not cut around events, and such that were.
bool mixes(const stardist::ExampleSource& source) {
  bool centred = false, random = false;
  for (int64_t i = 0; i < source.size() && !(centred && random); ++i) (source.example(i)->centred ? centred : random) = true;
  return centred && random;
}

}  // namespace

StarDistPrior::StarDistPrior(const StarDistRun& run, const stardist::Generator& train, const stardist::Generator& valid)
    : config_(run.common.training.pu.estimate), valid_(valid), batch_(run.config.train_batch_size),
      of_random_(run.common.training.pu.population == "random" && mixes(train.source())) {
  const CropScores seen = collect(train, {}, 0), held_out = collect(valid, {}, first_patch);
  check<FileError>(held_out.everything > 0, "training_config.pu.prior is auto, the share of positives in crops that were not cut around events, but all ",
                   "validation crops were. Unlabelled validation crops are needed; or give the prior as a number.");
  labelled_ = seen.everything > 0 ? seen.labelled / seen.everything : 0;
  check<FileError>(labelled_ > 0 || config_.start > 0, "training_config.pu.prior is auto, and starts at the share inside annotated objects, but none of the ",
                   "training patches looked at (training_config.pu.prior_crops, ", config_.crops, ") holds an object. Look at more, or set ",
                   "training_config.pu.prior_start.");
  check<FileError>(labelled_ < config_.highest, "training_config.pu.prior_bounds ends at ", config_.highest, ", but already the share inside annotated ",
                   "objects is ", labelled_, ", and the prior is at least that.");
  check<FileError>(held_out.events > 0, "training_config.pu.prior is auto, but none of the validation patches looked at holds an object to compare ",
                   "with. Give the prior as a number.");
  start_ = std::clamp(config_.start > 0 ? config_.start : labelled_, std::max(labelled_, config_.lowest), config_.highest);
}

/// pu.prior_crops patches from `first` on. Without maps only counts.
CropScores StarDistPrior::collect(const stardist::Generator& patches, const Maps& maps, int64_t first) const {
  CropScores s;
  for (int64_t done = 0; done < config_.crops; done += batch_) {
    const stardist::PatchBatch b = patches.fixed(first + done, std::min(batch_, config_.crops - done));
    pu::Labels labels(probability_batch({}, b).target);
    for (int64_t i = 0; i < b.count(); ++i) s.events += labels.count(pu::P, i) > 0;
    if (of_random_) labels = labels.with_centred(b.centred);
    s.labelled += double(labels.count(pu::in_population));
    s.everything += double(labels.count(pu::population));
    if (maps) s.all.add(maps(b.input).logit, labels);
  }
  return s;
}

PriorUpdate StarDistPrior::estimate(const Maps& maps, int64_t step, double in_use) {
  NoGrad no_grad;
  PriorUpdate u;
  u.prior = in_use;
  const CropScores s = collect(valid_, maps, first_patch + (1 + (step - config_.warmup) / config_.interval) * config_.crops);
  if (s.events < 2 || s.everything <= s.labelled) {
    u.few = true;
    return u;
  }
  const pu::PriorEstimate e = s.share();
  u.estimate = e.prior, u.low = e.low, u.high = e.high;
  u.labelled = s.labelled / s.everything;
  u.used = s.all.deviation() > 1e-3;
  follow_estimate(u, config_, in_use, labelled_, used_);
  return u;
}

}  // namespace voxgrad::app
