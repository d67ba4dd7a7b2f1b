// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Where training patches may be cut from a label volume: anywhere, or where they contain a part of an object.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "voxgrad/core/random.hpp"
#include "voxgrad/stardist/labels.hpp"
#include "voxgrad/stardist/work_queue.hpp"

namespace voxgrad::stardist {

/// First voxels of patches. A patch starts anywhere from 0 to extent - patch; its centre, as the Python package counts, is
/// start + patch / 2. Those with an object are kept as runs along x, a small part of the volume's memory.
class PatchSampler {
 public:
  /// Errors: ShapeError for a patch that does not fit on some axis.
  template <class T>
  PatchSampler(const LabelView<T>& labels, const Extent3& patch) {
    for (size_t a = 0; a < 3; ++a) {
      check<ShapeError>(patch[a] > 0 && patch[a] <= labels.extent[a], "patches: a patch of ", patch[0], "x", patch[1], "x",
                        patch[2], " voxels does not fit into ", labels.extent[0], "x", labels.extent[1], "x", labels.extent[2]);
      starts_[a] = labels.extent[a] - patch[a] + 1;
    }
    find_objects(labels, patch);
  }

  int64_t all() const { return data::voxel_count(starts_); }                  ///< number of patches
  int64_t with_object() const { return runs_.empty() ? 0 : runs_.back().until; }  ///< number that contain a part of an object

  /// The first voxel of patch k < all(), in order z, y, x.
  Extent3 start(int64_t k) const {
    return {k / (starts_[1] * starts_[2]), k / starts_[2] % starts_[1], k % starts_[2]};
  }
  /// The first voxel of the k-th patch with an object, k < with_object(), in the same order.
  Extent3 start_with_object(int64_t k) const {
    const auto run = std::upper_bound(runs_.begin(), runs_.end(), k, [](int64_t v, const Run& r) { return v < r.until; });
    return start(run->last - (run->until - 1 - k));
  }
  /// A random patch; with probability `foreground` one with an object, if there are any.
  Extent3 draw(Random& random, double foreground) const {
    const bool object = random.uniform() < foreground && with_object() > 0;
    const int64_t count = object ? with_object() : all();
    const int64_t k = std::min(count - 1, int64_t(random.uniform() * double(count)));
    return object ? start_with_object(k) : start(k);
  }

 private:
  struct Run {
    int64_t last;   ///< number of its last patch among all
    int64_t until;  ///< patches in this run and those before
  };

  // A window holds an object if one of its rows does, in one of its slices: sums of hits that slide along each axis.
  template <class T>
  void find_objects(const LabelView<T>& labels, const Extent3& patch) {
    const auto [nz, ny, nx] = labels.extent;
    const auto [sz, sy, sx] = starts_;
    std::vector<uint8_t> slices(size_t(nz * sy * sx));  // per slice: does the window over y and x hold an object?
    for_each_item(nz, [&, ny = ny, nx = nx, sy = sy, sx = sx](int64_t z) {
      std::vector<uint8_t> rows(size_t(ny * sx));
      for (int64_t y = 0; y < ny; ++y) {
        const T* row = labels.voxels + (z * ny + y) * nx;
        slide(nx, patch[2], [&](int64_t x) { return row[x] > T(0); }, [&](int64_t x, bool any) { rows[size_t(y * sx + x)] = any; });
      }
      for (int64_t x = 0; x < sx; ++x)
        slide(ny, patch[1], [&](int64_t y) { return rows[size_t(y * sx + x)] != 0; },
              [&](int64_t y, bool any) { slices[size_t((z * sy + y) * sx + x)] = any; });
    });
    std::vector<uint8_t> any(size_t(sz * sy * sx));
    for_each_item(sy, [&, nz = nz, sy = sy, sx = sx](int64_t y) {
      for (int64_t x = 0; x < sx; ++x)
        slide(nz, patch[0], [&](int64_t z) { return slices[size_t((z * sy + y) * sx + x)] != 0; },
              [&](int64_t z, bool found) { any[size_t((z * sy + y) * sx + x)] = found; });
    });
    int64_t count = 0;
    for (int64_t k = 0; k < all(); ++k) {
      if (!any[size_t(k)]) continue;
      ++count;
      if (!runs_.empty() && runs_.back().last == k - 1) runs_.back() = {k, count};
      else runs_.push_back({k, count});
    }
  }

  // out(i, whether hit(j) for some j in i .. i + window) for every window within n.
  template <class Hit, class Out>
  static void slide(int64_t n, int64_t window, Hit&& hit, Out&& out) {
    int64_t hits = 0;
    for (int64_t i = 0; i < n; ++i) {
      hits += hit(i);
      if (i >= window) hits -= hit(i - window);
      if (i >= window - 1) out(i - window + 1, hits > 0);
    }
  }

  Extent3 starts_{0, 0, 0};
  std::vector<Run> runs_;
};

}  // namespace voxgrad::stardist
