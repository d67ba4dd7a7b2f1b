// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Connected components with full connectivity (26 neighbours in 3-D, 8 in a single frame), frame by frame.

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/data/volume.hpp"

namespace voxgrad::metrics {

using data::Extent3;
using data::Volume;

/// Half-open bounding box in (t, y, x).
struct Box {
  Extent3 begin{std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::max(),
                std::numeric_limits<int64_t>::max()};
  Extent3 end{0, 0, 0};

  int64_t size(int axis) const { return end[size_t(axis)] - begin[size_t(axis)]; }
  /// Whether no side is shorter than that of `minimum`.
  bool at_least(const Extent3& minimum) const {
    return size(0) >= minimum[0] && size(1) >= minimum[1] && size(2) >= minimum[2];
  }
  void add(const Box& b) {
    for (size_t a = 0; a < 3; ++a) {
      begin[a] = std::min(begin[a], b.begin[a]);
      end[a] = std::max(end[a], b.end[a]);
    }
  }
  void add(int64_t t, int64_t y, int64_t x) { add(Box{{t, y, x}, {t + 1, y + 1, x + 1}}); }
};

/// Smallest boxes that survive post-processing (reference-pipeline.md 7.4).
inline constexpr Extent3 min_event_size{2, 3, 3};   ///< quality control, thresholds, features
inline constexpr Extent3 min_tested_size{3, 3, 3};  ///< test-set curves and tables

/// Labels a movie fed frame by frame, in memory for two frames and one number per provisional label.
///
/// Voxels connect when they touch, corners included, and have equal values other than zero. Each frame gets
/// provisional labels at once; finish() says which belong together. Final labels are 1, 2, ... in raster
/// order (t, y, x) of each component's first voxel. The result does not depend on how the movie was cut into
/// calls.
template <class V>
class ComponentLabeler {
 public:
  ComponentLabeler(int64_t height, int64_t width)
      : height_(height),
        width_(width),
        pitch_(width + 2),
        values_(padded()),
        labels_(padded()),
        last_values_(padded()),
        last_labels_(padded()) {}

  /// Labels the next frame: values [H,W] -> provisional labels [H,W], 0 for background.
  /// Errors: Error beyond 2^32 - 2 provisional labels.
  void add_frame(const V* values, uint32_t* out) {
    values_.swap(last_values_);
    labels_.swap(last_labels_);
    for (int64_t y = 0; y < height_; ++y) {
      V* row = values_.data() + (y + 1) * pitch_ + 1;
      uint32_t* labels = labels_.data() + (y + 1) * pitch_ + 1;
      std::copy(values + y * width_, values + (y + 1) * width_, row);
      std::fill(labels, labels + width_, 0u);
      for (int64_t x = 0; x < width_; ++x)
        if (row[x] != V{}) labels[x] = label_of((y + 1) * pitch_ + 1 + x);
      std::copy(labels, labels + width_, out + y * width_);
    }
  }

  /// Provisional labels given so far; they run from 1 to this number.
  uint32_t provisional() const { return uint32_t(parent_.size()) - 1; }

  /// map[provisional label] = final label; map[0] = 0. Sets count().
  std::vector<uint32_t> finish() {
    std::vector<uint32_t> map(parent_.size(), 0);
    count_ = 0;
    // A root is the smallest label of its component, so it comes before the others and owns its first voxel.
    for (uint32_t p = 1; p < map.size(); ++p) map[p] = parent_[p] == p ? ++count_ : map[find(p)];
    return map;
  }
  uint32_t count() const { return count_; }

 private:
  size_t padded() const { return size_t((height_ + 2) * pitch_); }

  uint32_t find(uint32_t p) {
    while (parent_[p] != p) p = parent_[p] = parent_[parent_[p]];
    return p;
  }

  // The label of the voxel at padded position i from its 13 visited neighbours, joining those that differ.
  uint32_t label_of(int64_t i) {
    const V value = values_[size_t(i)];
    uint32_t label = 0;
    const auto visit = [&](const std::vector<V>& values, const std::vector<uint32_t>& labels, int64_t j) {
      if (values[size_t(j)] != value) return;
      uint32_t other = labels[size_t(j)];
      if (other == label) return;
      other = find(other);
      if (label == 0 || other == label) {
        label = other;
      } else {
        parent_[std::max(label, other)] = std::min(label, other);
        label = std::min(label, other);
      }
    };
    visit(values_, labels_, i - 1);
    for (int64_t d = -1; d <= 1; ++d) visit(values_, labels_, i - pitch_ + d);
    for (int64_t row = -pitch_; row <= pitch_; row += pitch_)
      for (int64_t d = -1; d <= 1; ++d) visit(last_values_, last_labels_, i + row + d);
    if (label != 0) return label;
    check<Error>(parent_.size() < std::numeric_limits<uint32_t>::max(),
                 "connected components: more than 2^32 - 2 pieces");
    parent_.push_back(uint32_t(parent_.size()));
    return parent_.back();
  }

  // Frames have a border of zeros, which equals no voxel's value, so neighbours need no bounds checks.
  int64_t height_, width_, pitch_;
  std::vector<V> values_;
  std::vector<uint32_t> labels_;
  std::vector<V> last_values_;
  std::vector<uint32_t> last_labels_;
  std::vector<uint32_t> parent_{0};
  uint32_t count_ = 0;
};

/// A labelled movie: 0 is background, components are 1 to `count`.
struct Components {
  Volume<uint32_t> labels;
  uint32_t count = 0;
};

/// Labels a whole movie given as values of frame t: value_of(t) -> pointer to [H,W], valid until the next
/// call.
template <class V, class FrameOf>
Components label_frames(const Extent3& extent, FrameOf&& value_of) {
  Components c;
  c.labels = Volume<uint32_t>(extent);
  ComponentLabeler<V> labeler(extent[1], extent[2]);
  for (int64_t t = 0; t < extent[0]; ++t) labeler.add_frame(value_of(t), c.labels.frame(t));
  const std::vector<uint32_t> map = labeler.finish();
  for (uint32_t& l : c.labels.voxels) l = map[l];
  c.count = labeler.count();
  return c;
}

/// Components of equal non-zero value (a mask, or instance labels: touching instances stay apart).
template <class V>
Components label_components(const Volume<V>& v) {
  Components c = label_frames<V>(v.extent, [&](int64_t t) { return v.frame(t); });
  c.labels.spacing = v.spacing;
  return c;
}

/// Components of score > threshold (strictly, as the thresholds are meant; NaN is background).
inline Components label_above(const Volume<float>& scores, float threshold) {
  std::vector<uint8_t> mask(size_t(scores.frame_size()));
  Components c = label_frames<uint8_t>(scores.extent, [&](int64_t t) {
    const float* s = scores.frame(t);
    for (size_t i = 0; i < mask.size(); ++i) mask[i] = s[i] > threshold;
    return mask.data();
  });
  c.labels.spacing = scores.spacing;
  return c;
}

/// Bounding boxes; entry l - 1 belongs to label l.
inline std::vector<Box> bounding_boxes(const Components& c) {
  std::vector<Box> boxes(c.count);
  const uint32_t* l = c.labels.voxels.data();
  for (int64_t t = 0; t < c.labels.extent[0]; ++t)
    for (int64_t y = 0; y < c.labels.extent[1]; ++y)
      for (int64_t x = 0; x < c.labels.extent[2]; ++x, ++l)
        if (*l) boxes[*l - 1].add(t, y, x);
  return boxes;
}

/// New numbers 1, 2, ... for the labels whose box is at least `minimum` on every axis, 0 for the others;
/// entry 0 is 0. `kept` receives how many stay.
inline std::vector<uint32_t> size_filter(const std::vector<Box>& boxes, const Extent3& minimum,
                                         uint32_t& kept) {
  std::vector<uint32_t> map(boxes.size() + 1, 0);
  kept = 0;
  for (size_t i = 0; i < boxes.size(); ++i)
    if (boxes[i].at_least(minimum)) map[i + 1] = ++kept;
  return map;
}

/// Erases components smaller than `minimum` on any axis and renumbers the others without gaps, order kept.
inline void remove_small(Components& c, const Extent3& minimum) {
  const std::vector<uint32_t> map = size_filter(bounding_boxes(c), minimum, c.count);
  for (uint32_t& l : c.labels.voxels) l = map[l];
}

}  // namespace voxgrad::metrics
