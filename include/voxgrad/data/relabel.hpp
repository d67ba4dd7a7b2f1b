// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Consecutive numbers for the objects of a label volume.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "voxgrad/core/error.hpp"
#include "voxgrad/data/volume.hpp"

namespace voxgrad::data {

/// The ids above 0 in ascending order.
template <class T>
std::vector<T> object_ids(const Volume<T>& labels) {
  std::unordered_set<T> found;
  T last = 0;
  for (const T label : labels.voxels)
    if (label != last && (last = label) > T(0)) found.insert(label);
  std::vector<T> ids(found.begin(), found.end());
  std::sort(ids.begin(), ids.end());
  return ids;
}

/// Renumbered labels; object k of the result had the id ids[k - offset] before.
template <class T>
struct Relabeled {
  Volume<int32_t> labels;
  std::vector<T> ids;
};

/// Numbers the objects offset, offset + 1, ... in the order of their ids. 0 and ids below 0 stay as they are.
/// Errors: UsageError for an offset below 1, ShapeError for more objects than 32-bit numbers.
template <class T>
Relabeled<T> relabel_sequential(const Volume<T>& labels, int64_t offset = 1) {
  check<UsageError>(offset >= 1, "relabel: the first number is ", offset, " (expected 1 or more)");
  Relabeled<T> out{Volume<int32_t>(labels.extent), object_ids(labels)};
  check<ShapeError>(offset - 1 + int64_t(out.ids.size()) <= std::numeric_limits<int32_t>::max(), "relabel: ", out.ids.size(),
                    " objects from ", offset, " on do not fit into 32-bit labels");
  out.labels.spacing = labels.spacing;
  std::unordered_map<T, int32_t> number;
  for (size_t k = 0; k < out.ids.size(); ++k) number[out.ids[k]] = int32_t(offset + int64_t(k));
  T last = 0;
  int32_t now = 0;
  for (size_t i = 0; i < labels.voxels.size(); ++i) {
    const T label = labels.voxels[i];
    if (label != last) now = label > T(0) ? number[label] : int32_t(label), last = label;
    out.labels.voxels[i] = now;
  }
  return out;
}

}  // namespace voxgrad::data
