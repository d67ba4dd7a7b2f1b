// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Voxels inside the convex hull of an object, counted exactly: every coordinate is an integer, so no
// tolerance decides which voxel is in.
//
// The hull is that of the object's voxels and the centres of their faces, as in scikit-image's
// convex_hull_image with offset_coordinates; a voxel counts when its centre is inside or on the border
// (reference-pipeline.md 8.4).

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "voxgrad/core/vec3.hpp"

namespace voxgrad::metrics {

/// A position (t, y, x), or a direction, in whole or half voxels. Extents up to 2^16 voxels stay exact in 64
/// bits.
using LatticePoint = std::array<int64_t, 3>;

/// Convex hull of integer points by triangles (quickhull: Barber, Dobkin, Huhdanpaa, ACM Trans. Math. Softw.
/// 22, 1996). A point on the plane of a triangle does not see it, so points in one plane need no special
/// case.
class LatticeHull {
 public:
  struct Facet {
    std::array<int32_t, 3> v;        ///< corners; edge e goes from v[e] to v[(e + 1) % 3]
    std::array<int32_t, 3> next;     ///< facet on the other side of edge e
    LatticePoint normal;             ///< outwards
    int64_t offset;                  ///< dot(normal, p) <= offset inside
    std::vector<int32_t> outside{};  ///< points that see this facet and wait
    int64_t seen = -1;               ///< the last point that saw it
    bool alive = true;
  };

  explicit LatticeHull(std::vector<LatticePoint> points)
      : points_(std::move(points)), starts_(points_.size()) {
    if (!simplex()) return;
    std::vector<int32_t> all(points_.size());
    for (size_t p = 0; p < all.size(); ++p) all[p] = int32_t(p);
    give(all, 0);
    while (!pending_.empty()) {
      const int32_t f = pending_.back();
      if (facets_[size_t(f)].outside.empty())
        pending_.pop_back();
      else
        add(farthest(facets_[size_t(f)]), f);
    }
    facets_.erase(std::remove_if(facets_.begin(), facets_.end(), [](auto& f) { return !f.alive; }),
                  facets_.end());
  }

  /// Empty when the points lie in one plane. `next` is of use only while the hull grows.
  const std::vector<Facet>& facets() const { return facets_; }

  /// Whether a facet reaches the plane at t.
  bool spans(const Facet& f, int64_t t) const {
    const auto [first, last] = std::minmax({at(f.v[0])[0], at(f.v[1])[0], at(f.v[2])[0]});
    return first <= t && t <= last;
  }

  std::vector<LatticePoint> corners() const {
    std::vector<LatticePoint> all;
    for (const Facet& f : facets_)
      for (const int32_t v : f.v) all.push_back(at(v));
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
  }

 private:
  const LatticePoint& at(int32_t p) const { return points_[size_t(p)]; }
  bool sees(int32_t p, const Facet& f) const { return dot(f.normal, at(p)) > f.offset; }

  void push(const std::array<int32_t, 3>& v, const std::array<int32_t, 3>& next) {
    const LatticePoint normal = cross(difference(at(v[1]), at(v[0])), difference(at(v[2]), at(v[0])));
    facets_.push_back({v, next, normal, dot(normal, at(v[0]))});
  }

  // The first four points that span a volume.
  bool simplex() {
    int32_t b = -1, c = -1;
    LatticePoint normal{};
    for (int32_t p = 1; p < int32_t(points_.size()); ++p) {
      const LatticePoint d = difference(at(p), at(0));
      if (b < 0) {
        if (d != LatticePoint{}) b = p;
      } else if (c < 0) {
        normal = cross(difference(at(b), at(0)), d);
        if (normal != LatticePoint{}) c = p;
      } else if (const int64_t side = dot(normal, d); side != 0) {
        if (side > 0) std::swap(b, c);  // p lies below 0, b, c
        push({0, b, c}, {1, 2, 3}), push({b, 0, p}, {0, 3, 2}), push({c, b, p}, {0, 1, 3}),
            push({0, c, p}, {0, 2, 1});
        return true;
      }
    }
    return false;
  }

  // Each point waits at the first facet from `from` on that it sees; inner ones are forgotten.
  void give(const std::vector<int32_t>& points, size_t from) {
    for (const int32_t p : points)
      for (size_t i = from; i < facets_.size(); ++i)
        if (sees(p, facets_[i])) {
          facets_[i].outside.push_back(p);
          break;
        }
    for (size_t i = from; i < facets_.size(); ++i)
      if (!facets_[i].outside.empty()) pending_.push_back(int32_t(i));
  }

  int32_t farthest(const Facet& f) const {
    return *std::max_element(f.outside.begin(), f.outside.end(), [&](int32_t a, int32_t b) {
      return dot(f.normal, at(a)) < dot(f.normal, at(b));
    });
  }

  // Replaces the facets that p sees, `start` among them, by a fan from p to their rim.
  void add(int32_t p, int32_t start) {
    std::vector<int32_t> seen{start}, waiting;
    const size_t from = facets_.size();
    facets_[size_t(start)].seen = p;
    for (size_t i = 0; i < seen.size(); ++i)
      for (size_t e = 0; e < 3; ++e) {
        const int32_t inner = seen[i], outer = facets_[size_t(inner)].next[e];
        Facet& other = facets_[size_t(outer)];
        if (other.seen == p) continue;
        if (sees(p, other)) {
          other.seen = p;
          seen.push_back(outer);
          continue;
        }
        const int32_t a = facets_[size_t(inner)].v[e], b = facets_[size_t(inner)].v[(e + 1) % 3];
        for (size_t k = 0; k < 3; ++k)
          if (other.v[k] == b) other.next[k] = int32_t(facets_.size());  // its edge from b to a
        starts_[size_t(a)] = int32_t(facets_.size());
        push({a, b, p}, {outer, -1, -1});
      }
    for (size_t i = from; i < facets_.size();
         ++i) {  // the rim is a loop: where one edge ends, the next starts
      const int32_t after = starts_[size_t(facets_[i].v[1])];
      facets_[i].next[1] = after;
      facets_[size_t(after)].next[2] = int32_t(i);
    }
    for (const int32_t f : seen) {
      Facet& gone = facets_[size_t(f)];
      gone.alive = false;
      waiting.insert(waiting.end(), gone.outside.begin(), gone.outside.end());
      gone.outside.clear();
    }
    give(waiting, from);
  }

  std::vector<LatticePoint> points_;
  std::vector<int32_t> starts_,
      pending_;  // the facet that starts at a corner of the rim; facets with points outside
  std::vector<Facet> facets_;
};

/// Voxels x0 to x1 (both inside) of row (t, y) of an object.
struct VoxelRow {
  int32_t t, y, x0, x1;
};

namespace detail {
/// Voxels low to high of row (t, y) whose centres, doubled, lie on no facet's outer side.
inline int64_t voxels_within(const std::vector<LatticeHull::Facet>& facets, int64_t t, int64_t y, int64_t low,
                             int64_t high) {
  const auto floor_div = [](int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); };
  for (const LatticeHull::Facet& f : facets) {
    const int64_t room = f.offset - 2 * (f.normal[0] * t + f.normal[1] * y), slope = 2 * f.normal[2];
    if (slope > 0 && slope * high > room) high = floor_div(room, slope);
    if (slope < 0 && slope * low > room) low = -floor_div(room, -slope);
    if (slope == 0 && room < 0) return 0;
  }
  return std::max<int64_t>(0, high - low + 1);
}
}  // namespace detail

/// Voxels whose centres lie in the convex hull of the voxels of `rows`, faces included; 0 when all lie in one
/// plane. A row may come in several pieces and in any order.
inline int64_t hull_volume(const std::vector<VoxelRow>& rows) {
  std::vector<LatticePoint> ends;
  for (const VoxelRow& r : rows) {
    ends.push_back({r.t, r.y, r.x0});
    if (r.x1 != r.x0) ends.push_back({r.t, r.y, r.x1});
  }
  std::vector<LatticePoint> faces;  // in half voxels
  for (const LatticePoint& v : LatticeHull(ends).corners())
    for (size_t axis = 0; axis < 3; ++axis)
      for (const int64_t step : {-1, 1}) {
        faces.push_back({2 * v[0], 2 * v[1], 2 * v[2]});
        faces.back()[axis] += step;
      }
  const LatticeHull hull(faces);
  if (hull.facets().empty()) return 0;

  LatticePoint low = ends[0], high = ends[0];
  for (const LatticePoint& p : ends)
    for (size_t axis = 0; axis < 3; ++axis)
      low[axis] = std::min(low[axis], p[axis]), high[axis] = std::max(high[axis], p[axis]);
  int64_t volume = 0;
  std::vector<LatticeHull::Facet> bounds;  // of the polygon that frame t cuts out: the facets that reach it
  for (int64_t t = low[0]; t <= high[0]; ++t) {
    bounds.clear();
    for (const LatticeHull::Facet& f : hull.facets())
      if (hull.spans(f, 2 * t)) bounds.push_back(f);
    for (int64_t y = low[1]; y <= high[1]; ++y)
      volume += detail::voxels_within(bounds, t, y, low[2], high[2]);
  }
  return volume;
}

}  // namespace voxgrad::metrics
