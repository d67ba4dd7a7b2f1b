// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/metrics/hull_volume.hpp"

#include "catch.hpp"
#include "draws.hpp"
#include "voxgrad/metrics/regions.hpp"

using namespace voxgrad;
using metrics::hull_volume;
using metrics::VoxelRow;

namespace {

// Objects as their rows, by label.
std::vector<std::vector<VoxelRow>> rows_of(const data::Volume<uint32_t>& labels, uint32_t count) {
  std::vector<std::vector<VoxelRow>> rows(count);
  for (int32_t t = 0; t < labels.extent[0]; ++t)
    for (int32_t y = 0; y < labels.extent[1]; ++y)
      for (int32_t x = 0; x < labels.extent[2]; ++x)
        if (const uint32_t l = labels.at(t, y, x)) rows[l - 1].push_back({t, y, x, x});
  return rows;
}

std::vector<VoxelRow> ellipsoid(const data::Extent3& e, const std::array<double, 3>& radii) {
  data::Volume<uint32_t> labels(e);
  for (int64_t t = 0; t < e[0]; ++t)
    for (int64_t y = 0; y < e[1]; ++y)
      for (int64_t x = 0; x < e[2]; ++x) {
        const double dt = double(t) - double(e[0] - 1) / 2, dy = double(y) - double(e[1] - 1) / 2,
                     dx = double(x) - double(e[2] - 1) / 2;
        const double a = (dt + dx / 4) / radii[0], b = dy / radii[1], c = (dx - dy / 2) / radii[2];
        labels.at(t, y, x) = a * a + b * b + c * c <= 1;
      }
  return rows_of(labels, 1)[0];
}

}  // namespace

TEST_CASE("hull volume: scikit-image's convex hulls of random objects and ellipsoids") {
  std::ifstream in = metrics_test::golden("hulls.txt");
  int objects = 0, solid = 0;
  for (std::string word; in >> word;) {
    if (word == "#") {
      std::getline(in, word);
      continue;
    }
    data::Extent3 e{};
    in >> e[0] >> e[1] >> e[2];
    int64_t expected = 0;
    if (word == "ellipsoid") {
      std::array<double, 3> radii{};
      in >> radii[0] >> radii[1] >> radii[2] >> expected;
      CHECK(hull_volume(ellipsoid(e, radii)) == expected);
      continue;
    }
    REQUIRE(word == "random");
    uint32_t seed = 0, count = 0;
    int64_t per_mille = 0, levels = 0;
    in >> seed >> per_mille >> levels >> count;
    const auto c = metrics::label_components(metrics_test::random_values(e, seed, per_mille, levels));
    REQUIRE(c.count == count);
    for (const std::vector<VoxelRow>& rows : rows_of(c.labels, count)) {
      in >> expected;
      REQUIRE(in.good());
      INFO("seed " << seed << ", object " << objects);
      CHECK(hull_volume(rows) == expected);
      ++objects, solid += expected > 0;
    }
  }
  CHECK(objects > 500);
  CHECK(solid > 100);
}

TEST_CASE("hull volume: rows in pieces, in any order and with turned axes give the same") {
  std::vector<VoxelRow> rows = ellipsoid({9, 11, 13}, {3, 4, 5});
  std::vector<VoxelRow> turned, whole;
  for (const VoxelRow& r : rows) {
    turned.push_back({r.x0, r.t, r.y, r.y});
    if (!whole.empty() && whole.back().t == r.t && whole.back().y == r.y)
      whole.back().x1 = r.x1;
    else
      whole.push_back(r);
  }
  CHECK(hull_volume(turned) == 293);
  CHECK(hull_volume(whole) == 293);
  std::reverse(rows.begin(), rows.end());
  CHECK(hull_volume(rows) == 293);
}

TEST_CASE("hull volume: nothing in a plane, a line, a point or without voxels; exact far from the origin") {
  CHECK(hull_volume({}) == 0);
  CHECK(hull_volume({{3, 4, 5, 5}}) == 0);
  CHECK(hull_volume({{0, 0, 0, 9}}) == 0);
  CHECK(hull_volume({{0, 0, 0, 9}, {0, 1, 3, 5}, {0, 7, 2, 2}}) == 0);
  CHECK(hull_volume({{0, 0, 0, 1}, {0, 1, 0, 1}, {1, 0, 0, 1}, {1, 1, 0, 1}}) == 8);
  // A box with a corner 2^16 - 1 voxels out: the diagonal rows between are in by half a voxel or not at all.
  const int32_t far = 65535;
  CHECK(hull_volume({{far - 1, far - 1, far - 2, far}, {far - 1, far, far, far}, {far, far, far - 2, far}}) ==
        8);
}
