// SPDX-License-Identifier: BSD-3-Clause
// Volumes, boxes, spheres, hulls and intersections: against the Python package, and against known solids.

#include "voxgrad/stardist/polyhedron.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "../catch.hpp"
#include "../message.hpp"
#include "definitions.hpp"
#include "suppression_cases.hpp"
#include "voxgrad/stardist/half_spaces.hpp"
#include "voxgrad/stardist/overlap_bounds.hpp"
#include "voxgrad/stardist/rasterize.hpp"

using namespace voxgrad;
using namespace voxgrad::stardist;
using test::message;

namespace {

/// The six half-spaces of a box.
std::vector<HalfSpace> cuboid(const Vec3d& lo, const Vec3d& hi) {
  std::vector<HalfSpace> out;
  for (size_t k = 0; k < 3; ++k) {
    Vec3d up{0, 0, 0}, down{0, 0, 0};
    up[k] = 2, down[k] = -3;  // normals need no unit length
    out.push_back({up, -2 * hi[k]});
    out.push_back({down, 3 * lo[k]});
  }
  return out;
}

std::vector<Vec3f> corners_of(const Polyhedra& p, int64_t i) {
  std::vector<Vec3f> out;
  corners(*p.rays, p.distances(i), p.centre(i), out);
  return out;
}

double kernel_overlap(const Polyhedra& p, int64_t i, int64_t j, const Vec3d& middle) {
  std::vector<HalfSpace> a, b;
  kernel_half_spaces(*p.rays, corners_of(p, i), a);
  kernel_half_spaces(*p.rays, corners_of(p, j), b);
  return intersection_volume(a, b, middle).value_or(0);
}

double hull_overlap(const Polyhedra& p, int64_t i, int64_t j, const Vec3d& middle) {
  std::vector<HalfSpace> a, b;
  ConvexHull hull;
  if (!hull_half_spaces(corners_of(p, i), p.centre(i), hull, a) || !hull_half_spaces(corners_of(p, j), p.centre(j), hull, b))
    return 1e10;
  return intersection_volume(a, b, middle).value_or(1e10);
}

struct Stretched {
  Box box;
  float outer, inner;  // stretched
};

Vec3d middle_of(const Polyhedra& p, int64_t i, int64_t j) {
  Vec3d m;
  for (size_t k = 0; k < 3; ++k) m[k] = (double(p.centre(i)[k]) + double(p.centre(j)[k])) / 2;
  return m;
}

}  // namespace

TEST_CASE("half-spaces: boxes, alone and cut by each other") {
  const auto a = cuboid({-1, -2, -3}, {1, 2, 3}), b = cuboid({0, 1, 2}, {5, 6, 7}), c = cuboid({-9, -9, -9}, {9, 9, 9});
  CHECK(intersection_volume(a, {}, {0, 0, 0}).value() == Approx(48).epsilon(1e-8));
  CHECK(intersection_volume(a, c, {0.9, -1.9, 2.9}).value() == Approx(48).epsilon(1e-8));
  CHECK(intersection_volume(a, a, {0, 0, 0}).value() == Approx(48).epsilon(1e-8));  // every plane twice
  CHECK(intersection_volume(a, b, {0.5, 1.5, 2.5}).value() == Approx(1).epsilon(1e-8));
  CHECK_FALSE(intersection_volume(a, b, {0, 1.5, 2.5}));  // on a face: not strictly inside
  CHECK_FALSE(intersection_volume(a, b, {-0.5, 1.5, 2.5}));
  CHECK_FALSE(intersection_volume(std::span(a).first(5), {}, {0, 0, 0}));  // open on one side
  CHECK_FALSE(intersection_volume(std::span(a).first(2), {}, {0, 0, 0}));
}

TEST_CASE("convex hull: closed, convex, holds every point; flat sets have none") {
  Random random(5);
  ConvexHull hull;
  for (int kind = 0; kind < 5; ++kind) {
    std::vector<Vec3d> points;
    for (int i = 0; i < 200; ++i) {
      Vec3d p;
      for (double& c : p) c = kind < 2 ? random.normal() : kind == 2 ? double(random.below(5)) : random.uniform(-1, 1);
      if (kind == 1) p = normalized(p);
      if (kind == 3) p[0] = p[1] + p[2];            // a plane
      if (kind == 4) p = {p[0], 2 * p[0], 3 * p[0]};  // a line
      points.push_back(p);
    }
    INFO("kind " << kind);
    REQUIRE(hull.build(points) == (kind < 3));
    if (kind >= 3) continue;
    double worst = 0;
    int64_t facets = 0, edges = 0;
    std::vector<int> used(points.size(), 0);
    hull.for_each([&](const ConvexHull::Facet& f) {
      ++facets;
      for (const Vec3d& p : points) worst = std::max(worst, dot(f.n, p) + f.offset);
      for (size_t e = 0; e < 3; ++e) {
        used[size_t(f.v[e])] = 1;
        const ConvexHull::Facet& g = hull.facet(f.next[e]);
        for (size_t k = 0; k < 3; ++k) edges += g.alive && g.v[k] == f.v[(e + 1) % 3] && g.v[(k + 1) % 3] == f.v[e];
      }
    });
    CHECK(worst < 1e-8);
    CHECK(edges == 3 * facets);                                          // every edge has its neighbour
    CHECK(facets == 2 * std::count(used.begin(), used.end(), 1) - 4);  // Euler
  }
  CHECK_FALSE(hull.build({{0, 0, 0}, {1, 0, 0}, {0, 1, 0}}));
  CHECK_FALSE(hull.build(std::vector<Vec3d>(50, Vec3d{1, 2, 3})));
}

TEST_CASE("half-spaces: intersections of random polyhedra agree with counting points, and bounds are bounds") {
  const Rays rays = make_rays(GoldenSpiral{40, Vec3d{1.5, 1, 1}});
  const test::NmsCase many = test::random_case(3, rays, 12, {5, 7, 7}, 0.12, 6);
  const Polyhedra p = many.polyhedra();
  const CoarseInnerVolume coarse({1.5f, 1, 1});
  const FineInnerVolume fine({1.5f, 1, 1});
  int compared = 0;
  for (int64_t i = 0; i < p.size(); ++i)
    for (int64_t j = i + 1; j < p.size(); ++j) {
      std::vector<HalfSpace> a, b;
      kernel_half_spaces(rays, corners_of(p, i), a);
      kernel_half_spaces(rays, corners_of(p, j), b);
      const auto exact = intersection_volume(a, b, middle_of(p, i, j));
      if (!exact || *exact < 20) continue;
      ++compared;
      int64_t points = 0;
      constexpr int steps = 60;  // a lattice over a box that holds both
      for (int z = 0; z < steps; ++z)
        for (int y = 0; y < steps; ++y)
          for (int x = 0; x < steps; ++x) {
            const Vec3d at{-8 + 0.5 * z, -8 + 0.5 * y, -8 + 0.5 * x};
            points += inside(a, at) && inside(b, at);
          }
      CHECK(double(points) / 8 == Approx(*exact).epsilon(0.06));
      std::vector<Vec3d> dual;
      REQUIRE(dual_points(a, middle_of(p, i, j), dual));
      REQUIRE(dual_points(b, middle_of(p, i, j), dual));
      CHECK(coarse(dual) <= *exact);
      CHECK(fine(dual) <= *exact);
      CHECK(fine(dual) > 0.6 * *exact);
    }
  CHECK(compared > 20);
}

TEST_CASE("rasterize: bounded and ordered by rows, the same voxels as testing every tetrahedron") {
  for (const double rough : {0.0, 0.3, 0.995})
    for (const Rays& rays : {make_rays(GoldenSpiral{32, Vec3d{2, 1, 1}}), make_rays(Octo{2})}) {
      test::NmsCase many = test::random_case(11, rays, 4, {4, 7, 7}, rough, 9);
      many.c.dist[5] = 1e-3f, many.c.dist[40] = 1e-3f;
      many.c.points[0] = 3.5f;
      const Polyhedra p = many.polyhedra();
      for (int64_t i = 0; i < p.size(); ++i) {
        const std::vector<Vec3f> at = corners_of(p, i);
        const Box box = bounding_box(rays, p.distances(i), p.centre(i));
        const Mask mask = polyhedron_mask(rays, at, p.centre(i), box);
        int64_t different = 0;
        for (int32_t z = box.lo[0]; z <= box.hi[0]; ++z)
          for (int32_t y = box.lo[1]; y <= box.hi[1]; ++y)
            for (int32_t x = box.lo[2]; x <= box.hi[2]; ++x)
              different += (mask.inside[mask.at(z, y, x)] != 0) !=
                           inside_tetrahedra(rays, at, p.centre(i), {float(z), float(y), float(x)});
        CHECK(different == 0);
        CHECK(mask.count() > 0);
      }
    }
}

TEST_CASE("spheres: lenses, and the volume of a contained sphere with the package's omission or without") {
  const Vec3f o{0, 0, 0}, one{1, 1, 1}, flat{4, 1, 1};
  CHECK(shared_spheres(2, o, 2, {0, 0, 5}, one, false) == 0);
  CHECK(shared_spheres(3, o, 1, {0, 0, 1}, one, false) == Approx(4 * M_PI / 3));
  CHECK(shared_spheres(1, o, 1, {0, 0, 1}, one, false) == Approx(5 * M_PI / 12));
  CHECK(shared_spheres(1, o, 1, {0, 0, 1}, flat, false) == Approx(5 * M_PI / 48));
  CHECK(shared_spheres(3, o, 1, {0, 0, 1}, flat, false) == Approx(4 * M_PI / 3));
  CHECK(shared_spheres(3, o, 1, {0, 0, 1}, flat, true) == Approx(M_PI / 3));
}

TEST_CASE("polyhedra: what does not fit is named") {
  const Rays rays = make_rays(GoldenSpiral{8, {}});
  std::vector<float> dist(16, 3.f), points(6, 5.f);
  const auto say = [&](const Rays& r) { return message<Error>([&] { check_polyhedra({&r, dist, points}, "test"); }); };
  CHECK(say(rays) == "no error");
  Rays three = rays;
  three.vertices.resize(3);
  CHECK(say(three) == "test: 3 rays (a polyhedron has at least 4)");
  Rays wrong = rays;
  wrong.faces[0][1] = 8;
  CHECK(say(wrong) == "test: a face names ray 8 (there are 8, counted from 0)");
  dist[11] = 0;
  CHECK(say(rays) ==
        "test: polyhedron 1, ray 3: distance 0 (expected above 0 and below 400000). Clip predicted distances "
        "from below, 0.001 is usual.");
  dist[11] = std::nanf("");
  CHECK(say(rays).find("test: polyhedron 1, ray 3: distance nan") == 0);
  dist.resize(15);
  CHECK(say(rays) == "test: 15 distances for 2 centres and 8 rays (expected 16)");
  points[4] = std::nanf("");
  dist.resize(16, 1.f);
  CHECK(say(rays) == "test: centre 1 is at nan (expected a number of voxels)");
  points.resize(5);
  CHECK(say(rays) == "test: 5 coordinates (expected 3 per centre)");
}

TEST_CASE("polyhedra and pairs: the package's intermediate values") {
  const std::string path = test::shared_golden("nms_pairs.h5", "intermediate values of the suppression");
  if (path.empty()) return;
  const io::H5File file(path);
  for (const std::string& group : file.children("/")) {
    INFO(group);
    const std::string g = "/" + group;
    const Rays rays = test::explicit_rays(file.read<float>(g + "/ray_vertices"), file.read<int32_t>(g + "/ray_faces"));
    const std::vector<float> dist = file.read<float>(g + "/dist"), points = file.read<float>(g + "/points");
    const Polyhedra p{&rays, dist, points};
    const std::vector<float> s = file.attribute<float>(g, "iso_anisotropy");
    const Vec3f scale{s[0], s[1], s[2]};
    const auto numbers = file.read<float>(g + "/poly_volume_rout_rin_routiso_riniso"), centroids = file.read<float>(g + "/poly_centroid_rel");
    const auto boxes = file.read<int32_t>(g + "/poly_bbox_z0z1y0y1x0x1");
    std::vector<Stretched> all;
    std::vector<Vec3f> relative;
    for (int64_t i = 0; i < p.size(); ++i) {
      const float* want = &numbers[size_t(5 * i)];
      scaled_corners(rays, p.distances(i), {1, 1, 1}, relative);
      CHECK(polyhedron_volume(rays, relative) == want[0]);
      CHECK(outer_radius(rays, p.distances(i)) == want[1]);
      CHECK(inner_radius(rays, relative) == want[2]);
      const Vec3f centroid = polyhedron_centroid(rays, relative);
      for (size_t k = 0; k < 3; ++k) CHECK(centroid[k] == Approx(centroids[size_t(3 * i) + k]).margin(1e-4));
      scaled_corners(rays, p.distances(i), scale, relative);
      CHECK(outer_radius(relative) == want[3]);
      CHECK(inner_radius(rays, relative) == want[4]);
      const Box box = bounding_box(rays, p.distances(i), p.centre(i));
      for (size_t k = 0; k < 3; ++k) {
        CHECK(box.lo[k] == boxes[size_t(6 * i) + 2 * k]);
        CHECK(box.hi[k] == boxes[size_t(6 * i) + 2 * k + 1]);
      }
      all.push_back({box, outer_radius(relative), inner_radius(rays, relative)});
    }
    const auto pairs = file.read<int32_t>(g + "/pairs");
    const auto values = file.read<float>(g + "/pair_values");
    std::vector<uint8_t> seen;
    for (size_t k = 0; k < pairs.size() / 2; ++k) {
      const int64_t i = pairs[2 * k], j = pairs[2 * k + 1];
      const float* want = &values[7 * k];
      const Stretched &a = all[size_t(i)], &b = all[size_t(j)];
      CHECK(shared_spheres(a.outer, p.centre(i), b.outer, p.centre(j), scale, false) == want[0]);
      CHECK(shared_boxes(a.box, b.box) == want[1]);
      CHECK(shared_spheres(a.inner, p.centre(i), b.inner, p.centre(j), scale, false) == want[2]);
      const Vec3d middle = middle_of(p, i, j);
      CHECK(kernel_overlap(p, i, j, middle) == Approx(want[3]).epsilon(1e-5));  // 0 exactly where want is
      CHECK(hull_overlap(p, i, j, middle) == Approx(want[4]).epsilon(1e-5));
      const Mask mask = polyhedron_mask(rays, corners_of(p, i), p.centre(i), a.box);
      CHECK(float(count_shared(mask, rays, corners_of(p, j), p.centre(j), seen)) == want[5]);
      CHECK(float(mask.count()) == want[6]);
    }
  }
}

TEST_CASE("half-spaces: hulls with corners on the lattice and needles, which meet in many planes, cut by themselves") {
  Random random(3);
  ConvexHull hull;
  double worst = 0;
  for (const Rays& rays : {make_rays(Octo{1}), make_rays(Octo{3}), make_rays(GoldenSpiral{40, Vec3d{2, 1, 1}})})
    for (int turn = 0; turn < 40; ++turn) {
      std::vector<float> dist;
      for (int64_t r = 0; r < rays.size(); ++r)
        dist.push_back(turn % 4 == 0 ? 5.f : turn % 4 == 1 ? float(random.below(8) + 1) : float(std::exp(random.uniform(-3, 3.5))));
      const Vec3f centre{float(random.below(2000)), float(random.below(2000)), float(random.below(2000))};
      std::vector<Vec3f> at;
      corners(rays, dist.data(), centre, at);
      if (turn % 4 < 2)
        for (Vec3f& v : at)
          for (float& c : v) c = std::round(c);
      std::vector<HalfSpace> planes;
      REQUIRE(hull_half_spaces(at, centre, hull, planes));
      double six = 0;
      const auto relative = [&](int32_t i) {
        Vec3d out;
        for (size_t k = 0; k < 3; ++k) out[k] = double(at[size_t(i)][k]) - double(centre[k]);
        return out;
      };
      hull.for_each([&](const ConvexHull::Facet& f) { six += determinant(relative(f.v[0]), relative(f.v[1]), relative(f.v[2])); });
      const auto volume = intersection_volume(planes, planes, {double(centre[0]), double(centre[1]), double(centre[2])});
      REQUIRE(volume);
      worst = std::max(worst, std::abs(*volume / (std::abs(six) / 6) - 1));
    }
  CHECK(worst < 1e-5);
}
