// SPDX-License-Identifier: BSD-3-Clause
// Ray directions, triangles, volumes: against the Python package, and against what a hull is.

#include "voxgrad/stardist/rays.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "../catch.hpp"
#include "../message.hpp"
#include "golden.hpp"

using namespace voxgrad;
using namespace voxgrad::stardist;
using test::message;

namespace {

Triangle turned(Triangle t) {
  while (t[0] > t[1] || t[0] > t[2]) t = {t[1], t[2], t[0]};
  return t;
}

std::vector<Triangle> canonical(std::vector<Triangle> faces) {
  for (Triangle& t : faces) t = turned(t);
  std::sort(faces.begin(), faces.end());
  return faces;
}

double largest_difference(const std::vector<Vec3f>& vertices, const std::vector<float>& flat) {
  REQUIRE(flat.size() == 3 * vertices.size());
  double worst = 0;
  for (size_t i = 0; i < flat.size(); ++i)
    worst = std::max(worst, std::abs(double(vertices[i / 3][i % 3]) - double(flat[i])));
  return worst;
}

std::vector<float> floats(const test::Npy& npy) { return {npy.values.begin(), npy.values.end()}; }

std::vector<Triangle> faces_of(const test::Npy& npy) {
  return canonical(test::triangles({npy.values.begin(), npy.values.end()}));
}

std::vector<float> row(const std::vector<float>& all, int64_t n, int64_t i) {
  return {all.begin() + n * i, all.begin() + n * (i + 1)};
}

}  // namespace

TEST_CASE("rays: the golden spiral and the other constructions as in the Python package") {
  const std::vector<std::pair<std::string, RaysFrom>> kinds{
      {"spiral20", GoldenSpiral{20, {}}}, {"spiral96", GoldenSpiral{96, Vec3d{1.7, 1.08, 1.0}}},
      {"cartesian", Cartesian{6, 4}},     {"octo", Octo{2}},
      {"tetra", Tetra{3}}};
  for (const auto& [name, from] : kinds) {
    INFO(name);
    const Rays rays = make_rays(from);
    // The package's Cartesian angles are float32 from NumPy 2 on, float64 before (the large set, and here).
    CHECK(largest_difference(rays.vertices, floats(test::geometry_golden("rays_" + name + "_vertices"))) <
          (name == "cartesian" ? 5e-7 : 1e-7));
    CHECK(canonical(rays.faces) == faces_of(test::geometry_golden("rays_" + name + "_faces")));
  }
  const Rays rays = make_rays(GoldenSpiral{20, {}});
  const std::vector<float> dist = floats(test::geometry_golden("rays_spiral20_dist"));
  CHECK(volume(rays, dist) == Approx(test::geometry_golden("rays_spiral20_volume").values[0]).epsilon(1e-6));
  CHECK(surface(rays, dist) == Approx(test::geometry_golden("rays_spiral20_surface").values[0]).epsilon(1e-6));
}

TEST_CASE("rays: every triangle has all other rays on its inner side, for any number of rays") {
  for (int64_t n : {5, 6, 7, 8, 9, 17, 32, 96, 256, 500}) {
    const Rays rays = make_rays(GoldenSpiral{n, {}});
    CHECK(rays.size() == n);
    REQUIRE(int64_t(rays.faces.size()) == 2 * n - 4);
    CHECK(canonical(rays.faces) == rays.faces);
    double nearest = 1;
    for (const auto& [a, b, c] : rays.faces) {
      Vec3d p[3];
      const int32_t corner[3] = {a, b, c};
      for (int k = 0; k < 3; ++k)
        for (size_t i = 0; i < 3; ++i) p[k][i] = double(rays.vertices[size_t(corner[k])][i]);
      CHECK(determinant(p[0], p[1], p[2]) < 0);
      for (int32_t other = 0; other < n; ++other)
        if (other != a && other != b && other != c) {
          const Vec3f& v = rays.vertices[size_t(other)];
          nearest = std::min(nearest, double(side_of(p[0], p[1], p[2], {double(v[0]), double(v[1]), double(v[2])})));
        }
    }
    CHECK(nearest > 0);
    CHECK(rays.vertices.front() == Vec3f{-1, 0, 0});
    CHECK(rays.vertices.back() == Vec3f{1, 0, 0});
  }
}

TEST_CASE("rays: a closed surface whose volume and area tend to those of the ball") {
  const Rays rays = make_rays(GoldenSpiral{2000, {}});
  CHECK(volume(rays) == Approx(4.0 / 3 * std::numbers::pi).epsilon(4e-3));
  CHECK(surface(rays) == Approx(4 * std::numbers::pi).epsilon(4e-3));
  std::set<std::pair<int32_t, int32_t>> edges;
  for (const auto& [a, b, c] : rays.faces)
    for (const auto& edge : {std::pair(a, b), std::pair(b, c), std::pair(c, a)}) CHECK(edges.insert(edge).second);
  for (const auto& [from, to] : edges) CHECK(edges.count({to, from}) == 1);
  CHECK(volume(scaled(rays, {2, 3, 0.5})) == Approx(3 * volume(rays)).epsilon(1e-6));
}

TEST_CASE("rays: a scaled copy keeps its triangles and says how to make it again") {
  const Rays rays = make_rays(GoldenSpiral{12, Vec3d{2, 1, 1}});
  CHECK(std::string(rays.name()) == "Rays_GoldenSpiral");
  CHECK(rays.anisotropy() == Vec3d{2, 1, 1});
  const Rays half = scaled(rays, {0.5, 1, 1});
  CHECK(std::string(half.name()) == "Rays_Explicit");
  CHECK(half.faces == rays.faces);
  CHECK(half.vertices[0] == Vec3f{-0.5f, 0, 0});
  CHECK(make_rays(half.from).vertices == half.vertices);
  CHECK_FALSE(half.anisotropy());
}

TEST_CASE("rays: weights of a loss grow with the anisotropy") {
  const Rays rays = make_rays(GoldenSpiral{9, {}});
  CHECK(dist_loss_weights(rays, {3, 1, 1})[0] == 3);
  for (const double w : dist_loss_weights(rays, {1, 1, 1})) CHECK(w == Approx(1).epsilon(1e-6));
}

TEST_CASE("rays: bad arguments are named") {
  CHECK(message<UsageError>([] { make_rays(GoldenSpiral{3, {}}); }) == "rays: n is 3 (expected 4 to 65536)");
  CHECK(message<UsageError>([] { make_rays(GoldenSpiral{8, Vec3d{0, 1, 1}}); }) ==
        "rays: anisotropy is 0, 1, 1 (expected three numbers above 0, in order z, y, x)");
  CHECK(message<UsageError>([] { make_rays(GoldenSpiral{8, Vec3d{1, std::nan(""), 1}}); }).find("anisotropy") == 6);
  CHECK(message<UsageError>([] { make_rays(Cartesian{2, 5}); }) ==
        "rays: n_rays_x is 2 and n_rays_z is 5 (expected at least 3 and 2, and a product up to 65536)");
  CHECK(message<UsageError>([] { make_rays(Octo{0}); }) == "rays: n_level is 0 (expected 1 to 7)");
  CHECK(message<UsageError>([] { make_rays(Tetra{9}); }) == "rays: n_level is 9 (expected 1 to 7)");
  Explicit e{{{0, 0, 1}, {0, 1, 0}, {1, 0, 0}}, {}};
  CHECK(message<UsageError>([&] { make_rays(e); }) == "rays: 3 vertices (expected 4 to 65536)");
  e.vertices0.push_back({-1, 0, 0});
  CHECK(message<UsageError>([&] { make_rays(e); }) == "rays: 0 faces (a closed surface has at least 4)");
  e.faces0 = {{0, 1, 2}, {0, 1, 3}, {0, 2, 3}, {1, 2, 4}};
  CHECK(message<UsageError>([&] { make_rays(e); }) == "rays: a face names vertex 4 (there are 4, counted from 0)");
  e.faces0.back() = {1, 2, 3};
  e.vertices0[1][2] = std::numeric_limits<double>::infinity();
  CHECK(message<UsageError>([&] { make_rays(e); }) == "rays: a vertex is not finite");
  const Rays rays = make_rays(Octo{1});
  CHECK(message<ShapeError>([&] { (void)volume(rays, {1, 2}); }) == "rays: 2 distances for 6 rays");
  CHECK(message<UsageError>([&] { (void)scaled(rays, {1, -1, 1}); }).find("rays: scale is 1, -1, 1") == 0);
}

TEST_CASE("rays: the large golden set") {
  const std::string path = test::shared_golden("rays.h5", "rays of 48 configurations");
  if (path.empty()) return;
  const io::H5File file(path);
  for (const std::string& name : file.children("/")) {
    INFO(name);
    const std::string group = "/" + name;
    const auto number = [&](const char* key) { return file.attribute<int64_t>(group, key)[0]; };
    const bool spiral = name.rfind("golden", 0) == 0;
    const RaysFrom from = spiral                                       ? RaysFrom(GoldenSpiral{number("n"), test::anisotropy_of(file, group)})
                          : name.find("Octo") != std::string::npos     ? RaysFrom(Octo{number("n_level")})
                          : name.find("Tetra") != std::string::npos    ? RaysFrom(Tetra{number("n_level")})
                                                                       : RaysFrom(Cartesian{number("n_rays_x"), number("n_rays_z")});
    const Rays rays = make_rays(from);
    CHECK(largest_difference(rays.vertices, file.read<float>(group + "/vertices")) < 1e-7);
    std::vector<Triangle> expected = canonical(test::triangles(file.read<int32_t>(group + "/faces"))), found = canonical(rays.faces);
    if (rays.size() == 4 && spiral) {  // two triangles hold the centre: which way round they are is left to rounding
      for (auto* all : {&expected, &found}) {
        for (Triangle& t : *all) std::sort(t.begin(), t.end());
        std::sort(all->begin(), all->end());
      }
    }
    CHECK(found == expected);
    if (!spiral) continue;
    const std::vector<float> dist = file.read<float>(group + "/dist"), volumes = file.read<float>(group + "/volume"),
                             surfaces = file.read<float>(group + "/surface");
    for (int64_t i = 0; i < 3; ++i) {
      CHECK(volume(rays, row(dist, rays.size(), i)) == Approx(volumes[size_t(i)]).epsilon(1e-5));
      CHECK(surface(rays, row(dist, rays.size(), i)) == Approx(surfaces[size_t(i)]).epsilon(1e-5));
    }
    CHECK(volume(rays) == Approx(file.read<double>(group + "/volume_unit")[0]).epsilon(1e-6));
    const std::vector<double> weights = dist_loss_weights(rays, {1.7, 1.08, 1}), theirs = file.read<double>(group + "/dist_loss_weights");
    for (size_t i = 0; i < theirs.size(); ++i) CHECK(weights[i] == Approx(theirs[i]).epsilon(1e-6));
  }
}
