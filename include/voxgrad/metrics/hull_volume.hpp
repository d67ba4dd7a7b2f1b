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
#include <vector>

namespace voxgrad::metrics {

/// A position (t, y, x), or a direction, in whole or half voxels. Extents up to 2^16 voxels stay exact in 64
/// bits.
using LatticePoint = std::array<int64_t, 3>;

inline LatticePoint operator-(const LatticePoint& a, const LatticePoint& b) {
  return {a[0] - b[0], a[1] - b[1], a[2] - b[2]};
}
inline int64_t dot(const LatticePoint& a, const LatticePoint& b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}
inline LatticePoint cross(const LatticePoint& a, const LatticePoint& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

/// Convex hull of integer points by triangles (quickhull: Barber, Dobkin, Huhdanpaa, ACM Trans. Math. Softw.
/// 22, 1996). A point on the plane of a triangle does not see it, so points in one plane need no special
/// case.
class LatticeHull {
 public:
  struct Facet {
    std::array<LatticePoint, 3> corners;
    LatticePoint normal;                  ///< outwards
    int64_t offset;                       ///< dot(normal, p) <= offset inside
    std::vector<LatticePoint> outside{};  ///< points that see this facet and wait
  };

  explicit LatticeHull(const std::vector<LatticePoint>& points) {
    if (!simplex(points)) return;
    give(points, 0);
    while (true) {
      const auto f = std::find_if(facets_.begin(), facets_.end(), [](auto& i) { return !i.outside.empty(); });
      if (f == facets_.end()) return;
      add(*std::max_element(f->outside.begin(), f->outside.end(),
                            [&](auto& a, auto& b) { return dot(f->normal, a) < dot(f->normal, b); }));
    }
  }

  /// Empty when the points lie in one plane.
  const std::vector<Facet>& facets() const { return facets_; }

  std::vector<LatticePoint> corners() const {
    std::vector<LatticePoint> all;
    for (const Facet& f : facets_) all.insert(all.end(), f.corners.begin(), f.corners.end());
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
  }

 private:
  using Edge = std::array<LatticePoint, 2>;

  void push(const LatticePoint& a, const LatticePoint& b, const LatticePoint& c) {
    const LatticePoint normal = cross(b - a, c - a);
    facets_.push_back({{a, b, c}, normal, dot(normal, a)});
  }
  static bool sees(const LatticePoint& p, const Facet& f) { return dot(f.normal, p) > f.offset; }

  // The first four points that span a volume.
  bool simplex(const std::vector<LatticePoint>& points) {
    LatticePoint b{}, c{};
    int found = 1;
    for (const LatticePoint& p : points) {
      const LatticePoint d = p - points[0];
      const LatticePoint normal = found < 3 ? LatticePoint{} : cross(b - points[0], c - points[0]);
      if (found == 1 && d != LatticePoint{}) {
        b = p, found = 2;
      } else if (found == 2 && cross(b - points[0], d) != LatticePoint{}) {
        c = p, found = 3;
      } else if (const int64_t side = dot(normal, d); side != 0) {
        const LatticePoint a = points[0];
        if (side > 0) std::swap(b, c);  // p lies below a, b, c
        push(a, b, c), push(b, a, p), push(c, b, p), push(a, c, p);
        return true;
      }
    }
    return false;
  }

  // Each point waits at the first facet from `from` on that it sees; inner ones are forgotten.
  void give(const std::vector<LatticePoint>& points, size_t from) {
    for (const LatticePoint& p : points)
      for (size_t i = from; i < facets_.size(); ++i)
        if (sees(p, facets_[i])) {
          facets_[i].outside.push_back(p);
          break;
        }
  }

  // Replaces the facets that p sees by a fan from p to their rim: the edges that only one of them has.
  void add(const LatticePoint p) {
    std::vector<Edge> edges;
    std::vector<LatticePoint> waiting;
    const auto seen = std::partition(facets_.begin(), facets_.end(), [&](auto& f) { return !sees(p, f); });
    for (auto f = seen; f != facets_.end(); ++f) {
      for (size_t e = 0; e < 3; ++e) edges.push_back({f->corners[e], f->corners[(e + 1) % 3]});
      waiting.insert(waiting.end(), f->outside.begin(), f->outside.end());
    }
    facets_.erase(seen, facets_.end());
    const size_t from = facets_.size();
    std::sort(edges.begin(), edges.end());
    for (const Edge& e : edges)
      if (!std::binary_search(edges.begin(), edges.end(), Edge{e[1], e[0]})) push(e[0], e[1], p);
    give(waiting, from);
  }

  std::vector<Facet> facets_;
};

/// Voxels x0 to x1 (both inside) of row (t, y) of an object.
struct VoxelRow {
  int32_t t, y, x0, x1;
};

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

  const auto [t0, t1] =
      std::minmax_element(ends.begin(), ends.end(), [](auto& a, auto& b) { return a[0] < b[0]; });
  const auto [y0, y1] =
      std::minmax_element(ends.begin(), ends.end(), [](auto& a, auto& b) { return a[1] < b[1]; });
  const auto [x0, x1] =
      std::minmax_element(ends.begin(), ends.end(), [](auto& a, auto& b) { return a[2] < b[2]; });
  const auto floor_div = [](int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); };
  int64_t volume = 0;
  for (int64_t t = (*t0)[0]; t <= (*t1)[0]; ++t)
    for (int64_t y = (*y0)[1]; y <= (*y1)[1]; ++y) {
      int64_t low = (*x0)[2], high = (*x1)[2];
      for (const LatticeHull::Facet& f : hull.facets()) {
        const int64_t room = f.offset - 2 * (f.normal[0] * t + f.normal[1] * y), slope = 2 * f.normal[2];
        if (slope > 0) high = std::min(high, floor_div(room, slope));
        if (slope < 0) low = std::max(low, -floor_div(room, -slope));
        if (slope == 0 && room < 0) high = low - 1;
      }
      volume += std::max<int64_t>(0, high - low + 1);
    }
  return volume;
}

}  // namespace voxgrad::metrics
