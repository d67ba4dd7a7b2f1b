// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Which spheres of many meet a given one: a k-d tree whose nodes know their largest radius, some 20 bytes per sphere.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "voxgrad/stardist/rays.hpp"

namespace voxgrad::stardist {

class SphereTree {
 public:
  /// centre(i): Vec3f, radius(i): float, for i in [0, n); only called here.
  template <class Centre, class Radius>
  SphereTree(int32_t n, Centre&& centre, Radius&& radius) : order_(size_t(n)) {
    std::iota(order_.begin(), order_.end(), 0);
    nodes_.reserve(size_t(n / leaf * 3 + 1));
    if (n > 0) build(0, n, centre, radius);
  }

  /// Calls f(i) for a superset of the spheres that come nearer than `reach` to `c`: those in nodes whose box, grown by
  /// its largest radius, does.
  template <class F>
  void for_each_near(const Vec3f& c, float reach, F&& f) const {
    if (!nodes_.empty()) visit(0, c, reach, f);
  }

 private:
  static constexpr int32_t leaf = 8;
  struct Node {
    Vec3f lo, hi;
    float radius;
    int32_t begin, end, right;  // right: second child, the first follows its parent; -1 in a leaf
  };

  template <class Centre, class Radius>
  int32_t build(int32_t begin, int32_t end, Centre& centre, Radius& radius) {
    const int32_t me = int32_t(nodes_.size());
    constexpr float far = std::numeric_limits<float>::max();
    Node node{{far, far, far}, {-far, -far, -far}, 0, begin, end, -1};
    for (int32_t i = begin; i < end; ++i) {
      const Vec3f c = centre(order_[size_t(i)]);
      for (size_t k = 0; k < 3; ++k) node.lo[k] = std::min(node.lo[k], c[k]), node.hi[k] = std::max(node.hi[k], c[k]);
      node.radius = std::max(node.radius, radius(order_[size_t(i)]));
    }
    nodes_.push_back(node);
    if (end - begin <= leaf) return me;
    size_t axis = 0;
    for (size_t k = 1; k < 3; ++k)
      if (node.hi[k] - node.lo[k] > node.hi[axis] - node.lo[axis]) axis = k;
    const int32_t middle = begin + (end - begin) / 2;
    std::nth_element(order_.begin() + begin, order_.begin() + middle, order_.begin() + end, [&](int32_t a, int32_t b) {
      const float ca = centre(a)[axis], cb = centre(b)[axis];
      return ca != cb ? ca < cb : a < b;
    });
    build(begin, middle, centre, radius);
    const int32_t right = build(middle, end, centre, radius);
    nodes_[size_t(me)].right = right;
    return me;
  }

  template <class F>
  void visit(int32_t at, const Vec3f& c, float reach, F& f) const {
    const Node& node = nodes_[size_t(at)];
    double square = 0;
    for (size_t k = 0; k < 3; ++k) {
      const double d = double(std::max(0.f, std::max(node.lo[k] - c[k], c[k] - node.hi[k])));
      square += d * d;
    }
    const double most = (double(reach) + double(node.radius)) * (1 + 1e-6);
    if (square > most * most) return;
    if (node.right >= 0) {
      visit(at + 1, c, reach, f);
      visit(node.right, c, reach, f);
    } else {
      for (int32_t i = node.begin; i < node.end; ++i) f(order_[size_t(i)]);
    }
  }

  std::vector<int32_t> order_;
  std::vector<Node> nodes_;
};

}  // namespace voxgrad::stardist
