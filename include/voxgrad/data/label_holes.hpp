// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Fills holes in the objects of a label volume.

#include <algorithm>
#include <cstdint>
#include <tuple>
#include <vector>

#include "voxgrad/data/object_boxes.hpp"
#include "voxgrad/data/volume.hpp"

namespace voxgrad::data {

/// Positions in the volume of the background voxels that object `id`, with bounding box `box`, encloses: no path of steps
/// along the axes leads from them out of the box past the object. The end of the volume is a way out.
template <class T>
std::vector<int64_t> enclosed_background(const Volume<T>& labels, T id, const Box& box) {
  const Extent3 n = box.extent();
  const auto in_volume = [&](int64_t i) {
    return ((box.low[0] + i / (n[1] * n[2])) * labels.extent[1] + box.low[1] + i / n[2] % n[1]) * labels.extent[2] + box.low[2] + i % n[2];
  };
  std::vector<char> closed(static_cast<size_t>(voxel_count(n)));  // the object, and what was reached from outside
  std::vector<int64_t> open;
  const auto reach = [&](int64_t i) {
    if (!closed[size_t(i)]) closed[size_t(i)] = 1, open.push_back(i);
  };
  for (int64_t i = 0; i < voxel_count(n); ++i) closed[size_t(i)] = labels.voxels[size_t(in_volume(i))] == id;
  for (int64_t i = 0; i < voxel_count(n); ++i) {
    const int64_t z = i / (n[1] * n[2]), y = i / n[2] % n[1], x = i % n[2];
    if (z == 0 || z == n[0] - 1 || y == 0 || y == n[1] - 1 || x == 0 || x == n[2] - 1) reach(i);
  }
  while (!open.empty()) {
    const int64_t i = open.back(), z = i / (n[1] * n[2]), y = i / n[2] % n[1], x = i % n[2];
    open.pop_back();
    if (z > 0) reach(i - n[1] * n[2]);
    if (z < n[0] - 1) reach(i + n[1] * n[2]);
    if (y > 0) reach(i - n[2]);
    if (y < n[1] - 1) reach(i + n[2]);
    if (x > 0) reach(i - 1);
    if (x < n[2] - 1) reach(i + 1);
  }
  std::vector<int64_t> holes;
  for (int64_t i = 0; i < voxel_count(n); ++i)
    if (!closed[size_t(i)])
      if (const int64_t at = in_volume(i); labels.voxels[size_t(at)] == T(0)) holes.push_back(at);
  return holes;
}

/// Gives background that an object encloses to the object. Other objects and regions without annotation (ids below 0)
/// that it encloses stay; what two objects enclose goes to the one with the smaller box, that is the inner one.
template <class T>
Volume<T> fill_label_holes(const Volume<T>& labels) {
  std::vector<std::tuple<int64_t, T, Box>> objects;
  for (const auto& [id, box] : object_boxes(labels)) objects.emplace_back(voxel_count(box.extent()), id, box);
  std::sort(objects.begin(), objects.end(), [](const auto& a, const auto& b) {
    return std::tie(std::get<0>(a), std::get<1>(a)) < std::tie(std::get<0>(b), std::get<1>(b));
  });
  Volume<T> filled = labels;
  for (const auto& [size, id, box] : objects)
    for (const int64_t i : enclosed_background(labels, id, box))
      if (filled.voxels[size_t(i)] == T(0)) filled.voxels[size_t(i)] = id;
  return filled;
}

}  // namespace voxgrad::data
