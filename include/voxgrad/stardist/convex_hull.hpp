// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Convex hull of any points in space, in double precision (Barber, Dobkin, Huhdanpaa, ACM Trans. Math. Softw. 22, 1996).
//
// Points that lie in one plane or on one line are told apart by moving every coordinate by a fixed pseudo-random
// relative 1e-10; a hull of triangles always exists then. Should rounding still spoil it, other moves are tried. Points
// nearer to each other than a relative 1e-8 count as one.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "voxgrad/core/vec3.hpp"
#include "voxgrad/stardist/sphere_hull.hpp"

namespace voxgrad::stardist {

class ConvexHull {
 public:
  struct Facet {
    std::array<int32_t, 3> v;     ///< corners; edge e goes from v[e] to v[(e + 1) % 3]
    std::array<int32_t, 3> next;  ///< facet on the other side of edge e
    Vec3d n;                      ///< unit normal, outwards
    double offset;                ///< n . x + offset <= 0 inside
    int32_t outside, farthest;    ///< list of points that see this facet, and the one that sees it from farthest
    double distance;              ///< its distance
    int64_t seen;                 ///< the last point that saw it while being added
    bool alive;
  };

  /// False when the points have no volume.
  bool build(const std::vector<Vec3d>& points) {
    for (const double move : {1e-10, 2e-10, 5e-10, 1e-9, 2e-9})
      if (attempt(points, move)) return true;
    return false;
  }

  /// Calls f(facet) for every triangle of the hull.
  template <class F>
  void for_each(F&& f) const {
    for (const Facet& facet : facets_)
      if (facet.alive) f(facet);
  }
  const Facet& facet(int32_t i) const { return facets_[size_t(i)]; }

 private:
  bool attempt(const std::vector<Vec3d>& points, double move) {
    const int32_t n = int32_t(points.size());
    if (n < 4) return false;
    points_ = points;
    uint64_t state = 0x9e3779b97f4a7c15u;
    double scale = 0;
    for (Vec3d& p : points_)
      for (double& c : p) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        c *= 1 + move * (double(state >> 11) * 0x1p-52 - 1);
        scale = std::max(scale, std::abs(c));
      }
    tolerance_ = 1e-14 * scale;
    facets_.clear();
    next_.assign(size_t(n), -1);
    starts_.assign(size_t(n), -1);
    std::array<int32_t, 4> first;
    if (!simplex(first, 4 * move * scale)) return false;
    pending_.clear();
    for (int32_t f = 0; f < 4; ++f) pending_.push_back(f);
    for (int32_t p = 0; p < n; ++p)
      if (p != first[0] && p != first[1] && p != first[2] && p != first[3]) give(p, 0);
    while (!pending_.empty()) {
      const int32_t f = pending_.back();
      if (!facets_[size_t(f)].alive || facets_[size_t(f)].outside < 0) {
        pending_.pop_back();
        continue;
      }
      if (!add(facets_[size_t(f)].farthest, f)) return false;
    }
    return true;
  }

  const Vec3d& at(int32_t p) const { return points_[size_t(p)]; }
  double distance(const Facet& f, int32_t p) const { return dot(f.n, at(p)) + f.offset; }

  // Four points far apart and the four facets between them; false when all lie within `flat` of a plane.
  bool simplex(std::array<int32_t, 4>& s, double flat) {
    const int32_t n = int32_t(points_.size());
    const auto farthest = [&](auto&& measure) {
      int32_t best = 0;
      double most = -1;
      for (int32_t p = 0; p < n; ++p)
        if (const double m = measure(at(p)); m > most) most = m, best = p;
      return std::pair(best, most);
    };
    s[0] = farthest([&](const Vec3d& p) { return dot(difference(p, at(0)), difference(p, at(0))); }).first;
    s[1] = farthest([&](const Vec3d& p) { return dot(difference(p, at(s[0])), difference(p, at(s[0]))); }).first;
    const Vec3d line = difference(at(s[1]), at(s[0]));
    const double length = std::sqrt(dot(line, line));
    if (!(length > flat)) return false;
    const auto [third, height] = farthest([&](const Vec3d& p) {
      const Vec3d c = cross(line, difference(p, at(s[0])));
      return std::sqrt(dot(c, c)) / length;
    });
    if (!(height > flat)) return false;
    s[2] = third;
    Vec3d normal = cross(line, difference(at(third), at(s[0])));
    const double size = std::sqrt(dot(normal, normal));
    const auto [fourth, depth] =
        farthest([&](const Vec3d& p) { return std::abs(dot(normal, difference(p, at(s[0])))) / size; });
    if (!(depth > flat)) return false;
    s[3] = fourth;
    if (dot(normal, difference(at(fourth), at(s[0]))) > 0) std::swap(s[1], s[2]);
    const auto [a, b, c, d] = s;  // d lies below a, b, c
    return push({a, b, c}, {1, 2, 3}) && push({b, a, d}, {0, 3, 2}) && push({c, b, d}, {0, 1, 3}) &&
           push({a, c, d}, {0, 2, 1});
  }

  bool push(const std::array<int32_t, 3>& v, const std::array<int32_t, 3>& next) {
    const Vec3d n = cross(difference(at(v[1]), at(v[0])), difference(at(v[2]), at(v[0])));
    const double length = std::sqrt(dot(n, n));
    if (!(length > 0)) return false;
    const Vec3d unit{n[0] / length, n[1] / length, n[2] / length};
    facets_.push_back({v, next, unit, -dot(unit, at(v[0])), -1, -1, 0, -1, true});
    return true;
  }

  // Puts a point on the list of the first facet from `from` on that it sees; inner points are forgotten.
  void give(int32_t p, size_t from) {
    for (size_t i = from; i < facets_.size(); ++i) {
      Facet& f = facets_[i];
      if (const double d = distance(f, p); d > tolerance_) return hang(p, f, d);
    }
  }

  // Replaces the facets that p sees by a fan from p to their rim. False when the rim is no simple loop.
  bool add(int32_t p, int32_t start) {
    ++round_;
    seen_.assign(1, start);
    facets_[size_t(start)].seen = round_;
    rim_.clear();
    for (size_t i = 0; i < seen_.size(); ++i)
      for (size_t e = 0; e < 3; ++e) {
        const Facet& f = facets_[size_t(seen_[i])];
        Facet& other = facets_[size_t(f.next[e])];
        if (other.seen == round_) continue;
        if (distance(other, p) > tolerance_) {
          other.seen = round_;
          seen_.push_back(f.next[e]);
        } else {
          rim_.push_back({f.v[e], f.v[(e + 1) % 3], f.next[e]});
        }
      }
    if (doubles_a_corner(p)) return drop(p, start);
    const size_t from = facets_.size();
    for (const auto& [a, b, outer] : rim_) {
      if (starts_[size_t(a)] >= int32_t(from)) return false;
      starts_[size_t(a)] = int32_t(facets_.size());
      Facet& o = facets_[size_t(outer)];
      for (size_t e = 0; e < 3; ++e)
        if (o.v[e] == b && o.v[(e + 1) % 3] == a) o.next[e] = int32_t(facets_.size());
      if (!push({a, b, p}, {outer, -1, -1})) return false;
    }
    for (size_t i = from; i < facets_.size(); ++i) {
      const int32_t after = starts_[size_t(facets_[i].v[1])];
      if (after < int32_t(from)) return false;
      facets_[i].next[1] = after;
      facets_[size_t(after)].next[2] = int32_t(i);
    }
    for (const int32_t f : seen_) facets_[size_t(f)].alive = false;
    for (const int32_t f : seen_)
      for (int32_t q = facets_[size_t(f)].outside; q >= 0;) {
        const int32_t after = next_[size_t(q)];
        if (q != p) give(q, from);
        q = after;
      }
    for (size_t i = from; i < facets_.size(); ++i)
      if (facets_[i].outside >= 0) pending_.push_back(int32_t(i));
    return true;
  }

  // Whether p is a corner of the facets it sees, but for rounding: facets between the two would have any direction.
  bool doubles_a_corner(int32_t p) const {
    const double near = same * same * dot(at(p), at(p));
    for (const int32_t f : seen_)
      for (const int32_t v : facets_[size_t(f)].v) {
        const Vec3d d = difference(at(v), at(p));
        if (dot(d, d) <= near) return true;
      }
    return false;
  }

  // Takes the farthest point p off a facet's list.
  bool drop(int32_t p, int32_t facet) {
    Facet& f = facets_[size_t(facet)];
    int32_t q = f.outside;
    f.outside = f.farthest = -1;
    f.distance = 0;
    while (q >= 0) {
      const int32_t after = next_[size_t(q)];
      if (q != p) hang(q, f, distance(f, q));
      q = after;
    }
    return true;
  }

  void hang(int32_t p, Facet& f, double d) {
    next_[size_t(p)] = f.outside;
    f.outside = p;
    if (f.farthest < 0 || d > f.distance) f.farthest = p, f.distance = d;
  }

  static constexpr double same = 1e-8;  ///< relative distance of two points taken for one
  struct RimEdge {
    int32_t from, to, outer;
  };
  std::vector<Vec3d> points_;
  std::vector<Facet> facets_;
  std::vector<int32_t> next_, starts_, pending_, seen_;
  std::vector<RimEdge> rim_;
  double tolerance_ = 0;
  int64_t round_ = 0;
};

}  // namespace voxgrad::stardist
