// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Events of a movie from its probabilities, frame by frame: threshold, connected components, size filter, features.

#include <cstdint>
#include <vector>

#include "voxgrad/metrics/components.hpp"
#include "voxgrad/metrics/regions.hpp"

namespace voxgrad::app {

/// Voxels of one label along a row of pixels.
struct Run {
  int32_t first, length;  ///< in the frame's raster order
  uint32_t label;
};

/// Finds events while frames arrive; keeps runs of labelled pixels, never a whole movie.
class EventFinder {
 public:
  EventFinder(int64_t height, int64_t width, float threshold);

  /// probability and intensity are [H,W] of the next frame; scores strictly above the threshold count.
  void add_frame(const float* probability, const float* intensity);

  /// Ends the search: drops events whose box is smaller than `minimum` on any axis, renumbers the rest 1, 2, ... in
  /// raster order of their first voxels, and measures them.
  void finish(const metrics::Extent3& minimum = metrics::min_event_size);

  /// Instead of add_frame() and finish(): objects found in another way, numbered 1, 2, ... without gaps; labels [H,W] of the next frame.
  void add_labels(const uint32_t* labels, const float* intensity);
  /// Measures them; score of object k at k - 1.
  void finish_labels(const std::vector<float>& score);

  const std::vector<metrics::Region>& events() const { return events_; }
  int64_t frames() const { return int64_t(runs_.size()); }
  /// Final labels of frame t into out [H,W]; after finish().
  template <class T>
  void labels(int64_t t, T* out) const {
    std::fill_n(out, height_ * width_, T(0));
    for (const Run& r : runs_[size_t(t)]) std::fill_n(out + r.first, r.length, static_cast<T>(r.label));
  }

 private:
  void keep_runs(const uint32_t* labels);
  void measure_events();

  int64_t height_, width_;
  float threshold_;
  metrics::ComponentLabeler<uint8_t> labeler_;
  metrics::RegionCollector collector_;
  std::vector<std::vector<Run>> runs_;
  std::vector<uint8_t> mask_;
  std::vector<uint32_t> provisional_;
  std::vector<metrics::Region> events_;
};

}  // namespace voxgrad::app
