// SPDX-License-Identifier: BSD-3-Clause
#include "event_finder.hpp"

#include <algorithm>

namespace voxgrad::app {

namespace {
bool within(const metrics::Box& box, const metrics::Point& at) {
  for (size_t a = 0; a < 3; ++a)
    if (!(at[a] >= double(box.begin[a]) && at[a] <= double(box.end[a] - 1))) return false;
  return true;
}
}  // namespace

EventFinder::EventFinder(int64_t height, int64_t width, float threshold)
    : height_(height), width_(width), threshold_(threshold), labeler_(height, width), mask_(size_t(height * width)),
      provisional_(size_t(height * width)) {}

void EventFinder::add_frame(const float* probability, const float* intensity) {
  const int64_t pixels = height_ * width_;
  for (int64_t i = 0; i < pixels; ++i) mask_[size_t(i)] = probability[i] > threshold_;
  labeler_.add_frame(mask_.data(), provisional_.data());
  collector_.add_frame(frames(), height_, width_, provisional_.data(), intensity, probability);
  keep_runs(provisional_.data());
}

void EventFinder::keep_runs(const uint32_t* labels) {
  const int64_t pixels = height_ * width_;
  std::vector<Run>& runs = runs_.emplace_back();
  for (int64_t i = 0; i < pixels;) {
    const uint32_t label = labels[i];
    int64_t end = i + 1;
    while (end < pixels && labels[end] == label) ++end;
    if (label != 0) runs.push_back({int32_t(i), int32_t(end - i), label});
    i = end;
  }
}

void EventFinder::add_labels(const uint32_t* labels, const float* intensity) {
  collector_.add_frame(frames(), height_, width_, labels, intensity);
  keep_runs(labels);
}

void EventFinder::finish_labels(const std::vector<float>& score) {
  events_ = collector_.finish();
  for (metrics::Region& r : events_) r.score = double(score.at(r.label - 1));
  measure_events();
}

void EventFinder::finish(const metrics::Extent3& minimum) {
  std::vector<uint32_t> map = labeler_.finish();
  events_ = collector_.finish(map);
  std::vector<uint32_t> kept(size_t(labeler_.count()) + 1, 0);
  metrics::drop_small(events_, minimum);
  for (size_t i = 0; i < events_.size(); ++i) {
    kept[events_[i].label] = uint32_t(i) + 1;
    events_[i].label = uint32_t(i) + 1;
  }
  for (auto& frame : runs_) {
    for (Run& r : frame) r.label = kept[map[r.label]];
    std::erase_if(frame, [](const Run& r) { return r.label == 0; });
  }
  measure_events();
}

void EventFinder::measure_events() {
  // Preprocessed movies are negative in places. Weights that nearly cancel put the weighted centroid outside the event,
  // even outside the movie: nobody could find it there.
  for (metrics::Region& r : events_)
    if (!within(r.box, r.weighted_centroid)) r.weighted_centroid = r.centroid;
  metrics::set_neighbours(events_);

  std::vector<std::vector<metrics::VoxelRow>> rows(events_.size());
  std::vector<size_t> place;  // of an event, by label
  for (size_t i = 0; i < events_.size(); ++i) {
    place.resize(std::max(place.size(), size_t(events_[i].label) + 1));
    place[events_[i].label] = i;
  }
  for (size_t t = 0; t < runs_.size(); ++t)
    for (const Run& r : runs_[t])
      for (int64_t first = r.first, end = r.first + r.length; first < end;) {  // a run may go on in the next row
        const int64_t y = first / width_, stop = std::min(end, (y + 1) * width_);
        rows[place[r.label]].push_back(
            {int32_t(t), int32_t(y), int32_t(first - y * width_), int32_t(stop - 1 - y * width_)});
        first = stop;
      }
  metrics::set_solidity(events_, rows);
}

}  // namespace voxgrad::app
