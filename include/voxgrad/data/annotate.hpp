// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Annotations of a simulated movie: the whole truth, or the incomplete kinds that real training labels are.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "voxgrad/core/random.hpp"
#include "voxgrad/data/intensity_rule.hpp"
#include "voxgrad/data/preprocess.hpp"
#include "voxgrad/data/simulate.hpp"

namespace voxgrad::data {

/// Labels and their table: what a training set holds about a movie.
struct Annotation {
  Volume<uint16_t> label;
  std::vector<Event> events;  ///< ids are the values in label
};

/// Every event with its exact voxels.
inline Annotation annotate_truth(const Simulator& movie) {
  Annotation a{Volume<uint16_t>(movie.config().extent), {}};
  for (int64_t t = 0; t < a.label.extent[0]; ++t) movie.label(t, a.label.frame(t));
  for (const SimulatedEvent& e : movie.events()) a.events.push_back(e.row());
  return a;
}

/// The truth without a random part of its events: each is left out with probability `rate`, by its own
/// number, so that a higher rate leaves out the same events and more.
inline Annotation annotate_censored(const Annotation& truth, double rate, uint64_t seed) {
  Annotation a = truth;
  std::vector<uint8_t> gone(65536);
  for (const Event& e : truth.events) gone[size_t(e.id)] = Random(seed, 9, uint64_t(e.id)).uniform() < rate;
  a.events.erase(
      std::remove_if(a.events.begin(), a.events.end(), [&](const Event& e) { return gone[size_t(e.id)]; }),
      a.events.end());
  for (uint16_t& v : a.label.voxels)
    if (gone[v]) v = 0;
  return a;
}

/// What an intensity rule finds in the noisy movie: components of at least 2 frames, 3 rows and 3 columns.
inline Annotation annotate_by_intensity(const Volume<uint16_t>& movie, const Preprocess& p, double k) {
  std::vector<float> raw(size_t(movie.frame_size()));
  const Volume<uint8_t> mask = intensity_rule(
      movie.extent,
      [&](int64_t t, float* out) {
        std::copy_n(movie.frame(t), movie.frame_size(), raw.begin());
        p.apply(t, raw.data(), out, movie.frame_size());
      },
      k);
  Annotation a;
  a.events = number_components(mask, {2, 3, 3}, a.label);
  return a;
}

/// For every event of the truth, whether the annotation covers at least one of its voxels.
inline std::vector<bool> annotated_events(const Annotation& truth, const Annotation& annotation) {
  std::vector<uint8_t> hit(65536);
  for (size_t i = 0; i < truth.label.voxels.size(); ++i)
    if (annotation.label.voxels[i] != 0) hit[truth.label.voxels[i]] = 1;
  std::vector<bool> out;
  for (const Event& e : truth.events) out.push_back(hit[size_t(e.id)] != 0);
  return out;
}

}  // namespace voxgrad::data
