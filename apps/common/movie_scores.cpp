// SPDX-License-Identifier: BSD-3-Clause
#include "movie_scores.hpp"

#include <cmath>

#include "voxgrad/pu/prior.hpp"

namespace voxgrad::app {

void MovieScores::add_frame(const std::string& name, int64_t t, const data::Extent3& extent, const float* scores, const int32_t* labels) {
  const size_t n = size_t(extent[1] * extent[2]);
  if (!labeler_) labeler_ = std::make_unique<metrics::ComponentLabeler<int32_t>>(extent[1], extent[2]);
  values_.resize(n);
  numbers_.resize(n);
  for (size_t i = 0; i < n; ++i) {
    check<FileError>(codes_ ? labels[i] == 0 || labels[i] == 1 || labels[i] == 2 || labels[i] == 255 : labels[i] >= 0, name, ": frame ", t,
                     ": the label ", labels[i], codes_ ? " is none of the codes 0, 1, 2 and 255." : " is below 0.");
    values_[i] = codes_ ? labels[i] == 1 : labels[i];
  }
  labeler_->add_frame(values_.data(), numbers_.data());
  for (size_t i = 0; i < n; ++i) {
    if (codes_ && labels[i] == 255) continue;
    const double s = double(scores[i]), limit = pu::ScoreHistogram::limit;
    check<FileError>(std::isfinite(s), name, ": frame ", t, ": a score is ", s, ".");
    const double z = s <= 0 ? -limit : s >= 1 ? limit : std::log(s / (1 - s));
    all_.add(numbers_[i] > 0, z);
    if (numbers_[i] > 0) pieces_.add(int64_t(numbers_[i]), z);
    else blocks_.add(((movies_ << 16 | t / block) << 16 | int64_t(i) / extent[2] / block) << 16 | int64_t(i) % extent[2] / block, z);
  }
}

void MovieScores::end_movie() {
  if (!labeler_) return;
  const std::vector<uint32_t> event = labeler_->finish();
  events_.add(pieces_, [&](int64_t piece) { return movies_ << 32 | int64_t(event[size_t(piece)]); });
  pieces_ = {};
  labeler_.reset();
  ++movies_;
}

MoviePrior estimate_prior(const MovieScores& scores) {
  const pu::ScoreTable table = scores.all().table();
  const double events = double(scores.events().size()), voxels_per_event = std::max(1.0, table.positive / std::max(1.0, events));
  const pu::PriorEstimate u = pu::bbe(table, {.effective_positives = std::max(1.0, events),
                                              .effective_unlabeled = std::max(1.0, table.unlabeled / voxels_per_event),
                                              .bound = pu::BbeBound::relative});
  const pu::Interval i = pu::bootstrap(scores.events().counts(u.threshold), scores.blocks().counts(u.threshold),
                                       [](const pu::UnitCount& p, const pu::UnitCount& all) {
                                         return std::min(1.0, all.above / all.total / (p.above / p.total));
                                       });
  const double alpha = table.alpha();
  const auto everything = [&](double prior_u) { return pu::prior_of_everything(prior_u, alpha); };
  const double prior = everything(u.prior);
  return {alpha, prior, std::min(prior, everything(i.low)), std::max(prior, everything(i.high)), everything(u.high), u.prior, u.threshold};
}

}  // namespace voxgrad::app
