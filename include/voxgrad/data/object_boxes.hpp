// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Where the objects of a label volume are: bounding boxes, sizes, typical extents.

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/data/volume.hpp"

namespace voxgrad::data {

/// Half-open box low .. high.
struct Box {
  Extent3 low, high;
  Extent3 extent() const { return {high[0] - low[0], high[1] - low[1], high[2] - low[2]}; }
};

/// Bounding box of every object (id above 0), by ascending id.
template <class T>
std::map<T, Box> object_boxes(const Volume<T>& labels) {
  std::map<T, Box> boxes;
  const auto [nz, ny, nx] = labels.extent;
  for (int64_t z = 0; z < nz; ++z)
    for (int64_t y = 0; y < ny; ++y)
      for (int64_t x = 0, next; x < nx; x = next) {  // runs of one label
        const T id = labels.at(z, y, x);
        for (next = x + 1; next < nx && labels.at(z, y, next) == id;) ++next;
        if (!(id > T(0))) continue;
        const Box run{{z, y, x}, {z + 1, y + 1, next}};
        Box& box = boxes.try_emplace(id, run).first->second;
        for (size_t a = 0; a < 3; ++a)
          box.low[a] = std::min(box.low[a], run.low[a]), box.high[a] = std::max(box.high[a], run.high[a]);
      }
  return boxes;
}

/// The middle of the sorted values, or the mean of the two in the middle; 0 for none.
inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const size_t half = values.size() / 2;
  std::sort(values.begin(), values.end());
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

/// The median extents of volumes along z, y, x in voxels, one volume after the other.
class MedianExtents {
 public:
  /// The sizes of the objects' bounding boxes; a volume without objects says nothing.
  template <class T>
  void add(const Volume<T>& labels) {
    std::array<std::vector<double>, 3> sizes;
    for (const auto& [id, box] : object_boxes(labels))
      for (size_t a = 0; a < 3; ++a) sizes[a].push_back(double(box.extent()[a]));
    for (size_t a = 0; a < 3 && !sizes[a].empty(); ++a) of_volumes_[a].push_back(median(sizes[a]));
  }
  /// Median over volumes of the median over objects; 0 without any. max(extents) / extents is the anisotropy that suits them.
  std::array<double, 3> value() const { return {median(of_volumes_[0]), median(of_volumes_[1]), median(of_volumes_[2])}; }

 private:
  std::array<std::vector<double>, 3> of_volumes_;
};

template <class T>
std::array<double, 3> median_extents(const std::vector<Volume<T>>& volumes) {
  MedianExtents all;
  for (const Volume<T>& labels : volumes) all.add(labels);
  return all.value();
}

}  // namespace voxgrad::data
