// SPDX-License-Identifier: BSD-3-Clause
// Ray distances of label volumes: against the Python package, and against the definition as loops.

#include "voxgrad/stardist/distances.hpp"

#include <cmath>

#include "../catch.hpp"
#include "../message.hpp"
#include "../settings.hpp"
#include "golden.hpp"
#include "volumes.hpp"

using namespace voxgrad;
using namespace voxgrad::stardist;
using test::ellipsoids;
using test::message;

namespace {

/// Section 4.1 of the specification, one ray after the other.
template <class T>
std::vector<float> by_definition(const data::Volume<T>& labels, const Rays& rays, const Grid& grid) {
  const Extent3 n = labels.extent, out = grid_extent(n, grid);
  std::vector<float> all;
  for (int64_t z = 0; z < out[0]; ++z)
    for (int64_t y = 0; y < out[1]; ++y)
      for (int64_t x = 0; x < out[2]; ++x)
        for (const Vec3f& d : rays.vertices) {
          const std::array<int64_t, 3> start{z * grid[0], y * grid[1], x * grid[2]};
          const T own = labels.at(start[0], start[1], start[2]);
          Vec3f p{0, 0, 0};
          for (bool inside = own > 0; inside;) {
            std::array<int64_t, 3> voxel{};
            for (size_t a = 0; a < 3; ++a) {
              p[a] += d[a];
              voxel[a] = int64_t(std::nearbyint(float(start[a]) + p[a]));
              inside = inside && voxel[a] >= 0 && voxel[a] < n[a];
            }
            inside = inside && labels.at(voxel[0], voxel[1], voxel[2]) == own;
          }
          float squared = 0;
          for (const float c : p) squared += std::nearbyint(c) * std::nearbyint(c);
          all.push_back(std::sqrt(squared));
        }
  return all;
}

std::vector<float> values(const DistanceMap& map) { return {map.data(), map.data() + map.size()}; }

template <class T>
void compare(const data::Volume<T>& labels, const Rays& rays, const Grid& grid) {
  const DistanceMap map = star_distances(labels, rays, grid);
  CHECK(map.extent == grid_extent(labels.extent, grid));
  CHECK(values(map) == by_definition(labels, rays, grid));
}

}  // namespace

TEST_CASE("star distances: as in the Python package, bit for bit") {
  const auto labels = test::volume_of<uint16_t>(test::geometry_golden("targets_labels"));
  const Rays rays = make_rays(GoldenSpiral{20, Vec3d{1.7, 1.08, 1}});
  for (const auto& [name, grid] : {std::pair<const char*, Grid>{"111", {1, 1, 1}}, {"241", {2, 4, 1}}, {"122", {1, 2, 2}}}) {
    INFO(name);
    const test::Npy golden = test::geometry_golden(std::string("targets_dist_") + name);
    CHECK(values(star_distances(labels, rays, grid)) == std::vector<float>(golden.values.begin(), golden.values.end()));
  }
}

TEST_CASE("star distances: the definition, for any extent, grid, kind of rays and type of label") {
  const Rays spiral = make_rays(GoldenSpiral{13, Vec3d{2, 1, 1}});
  for (const Extent3& extent : {Extent3{1, 1, 1}, {1, 1, 40}, {5, 3, 17}, {7, 20, 33}, {2, 35, 16}, {40, 2, 3}}) {
    const auto labels = ellipsoids<uint16_t>(extent, 9, 6, uint64_t(extent[2]), 7, 100);
    for (const Grid& grid : {Grid{1, 1, 1}, {1, 2, 2}, {3, 1, 5}, {64, 64, 64}}) {
      INFO(extent[0] << "x" << extent[1] << "x" << extent[2] << " grid " << grid[0] << "," << grid[1] << "," << grid[2]);
      compare(labels, spiral, grid);
    }
  }
  const auto labels = ellipsoids<int32_t>({9, 18, 37}, 20, 5, 3);
  for (const RaysFrom& from : {RaysFrom(Octo{2}), RaysFrom(Tetra{2}), RaysFrom(Cartesian{6, 4})})
    compare(labels, make_rays(from), {1, 1, 2});
  compare(test::as<uint8_t>(labels), spiral, {1, 1, 1});
  compare(test::as<int16_t>(labels), spiral, {1, 1, 1});
  compare(ellipsoids<uint32_t>({9, 18, 37}, 20, 5, 3, 0xffffffffu, uint32_t(-7)), spiral, {1, 1, 1});
}

TEST_CASE("star distances: rays that meet voxel borders round by where they start") {
  // Halves and quarters fall on .5, where the start's parity decides; thirds come close to it far from the origin.
  const Rays octo = make_rays(Octo{1});
  for (const Vec3d& scale : {Vec3d{0.5, 0.5, 0.5}, {0.25, 1.5, 0.75}, {1.0 / 3, 2.0 / 3, 0.7}}) {
    compare(ellipsoids<uint8_t>({12, 15, 30}, 8, 9, 5), scaled(octo, scale), {1, 1, 1});
    compare(ellipsoids<uint8_t>({12, 15, 30}, 8, 9, 6), scaled(octo, scale), {2, 1, 3});
  }
  data::Volume<uint8_t> bar({1, 1, 5000}, 1);
  bar.at(0, 0, 3000) = 2;
  const Rays tilted = make_rays(Explicit{{{0, 0.03, 0.9}, {0, -0.02, -0.999}, {1, 0, 0}, {0, 0, 0.501}}, {{0, 1, 2}, {0, 2, 3}, {0, 3, 1}, {1, 3, 2}}});
  compare(bar, tilted, {1, 1, 251});
}

TEST_CASE("star distances: objects of one voxel, at the border, in contact, with ids above 65535") {
  const Rays rays = make_rays(Octo{1});
  data::Volume<int32_t> labels({3, 3, 4});
  labels.at(1, 1, 1) = 65536, labels.at(1, 1, 2) = 131072;
  const DistanceMap map = star_distances(labels, rays);
  for (int r = 0; r < 6; ++r) CHECK(map.at(1, 1, 1)[r] == 1);
  for (int r = 0; r < 6; ++r) CHECK(map.at(0, 0, 0)[r] == 0);
  data::Volume<int32_t> many({50, 60, 60});
  for (size_t i = 0; i < many.voxels.size(); ++i) many.voxels[i] = int32_t(i) / 2 + 1;  // 90000 objects
  compare(many, rays, {7, 7, 3});
  const data::Volume<uint8_t> full({4, 5, 6}, 3);
  CHECK(star_distances(full, rays).at(0, 0, 0)[0] == 6);  // along x, out of the volume
  CHECK(star_distances(full, rays).at(0, 0, 0)[2] == 1);
  for (const float d : values(star_distances(data::Volume<uint8_t>({4, 5, 6}), rays))) CHECK(d == 0);
}

TEST_CASE("star distances: voxels without annotation count as background") {
  auto labels = ellipsoids<int16_t>({6, 12, 20}, 10, 4, 9);
  auto cleaned = labels;
  for (size_t i = 0; i < labels.voxels.size(); i += 5) labels.voxels[i] = -1, cleaned.voxels[i] = 0;
  const Rays rays = make_rays(GoldenSpiral{8, {}});
  CHECK(values(star_distances(labels, rays)) == values(star_distances(cleaned, rays)));
}

TEST_CASE("star distances: the same for any number of threads, and in a caller's memory") {
  const test::Settings restore;
  const auto labels = ellipsoids<uint16_t>({10, 30, 31}, 25, 6, 2);
  const Rays rays = make_rays(GoldenSpiral{10, {}});
  set_threads(1);
  const auto one = values(star_distances(labels, rays, {1, 2, 2}));
  for (int count : {2, 5}) {
    set_threads(count);
    CHECK(values(star_distances(labels, rays, {1, 2, 2})) == one);
  }
  std::vector<float> batch(one.size() / 10 * 11, -3.f);
  star_distances(LabelView(labels), rays, {1, 2, 2}, batch.data(), 11);
  for (size_t i = 0; i < batch.size(); ++i) CHECK(batch[i] == (i % 11 == 10 ? -3.f : one[i / 11 * 10 + i % 11]));
}

TEST_CASE("star distances: bad arguments are named") {
  const data::Volume<uint8_t> labels({2, 2, 2}, 1);
  const Rays rays = make_rays(Octo{1});
  CHECK(message<UsageError>([&] { (void)star_distances(labels, rays, {1, 0, 1}); }) ==
        "grid is 1, 0, 1 (expected three whole numbers from 1 on, in order z, y, x)");
  CHECK(message<ShapeError>([&] { (void)star_distances(data::Volume<uint8_t>({0, 2, 2}), rays); }) ==
        "labels: the volume is 0x2x2 voxels (all extents must be above 0)");
  CHECK(message<UsageError>([&] { (void)star_distances(labels, scaled(rays, {1, 1, 0.01})); }) ==
        "rays: ray 0 has length 0.01 (expected at least 0.0625)");
  float out = 0;
  CHECK(message<UsageError>([&] { star_distances(LabelView(labels), rays, {1, 1, 1}, &out, 5); }) ==
        "star distances: a stride of 5 for 6 rays");
}

TEST_CASE("star distances: the large golden set") {
  const std::string path = test::shared_golden("star_dist_edt.h5", "star distances of eight volumes");
  if (path.empty()) return;
  const io::H5File file(path);
  for (const std::string& name : file.children("/")) {
    INFO(name);
    const std::string group = "/" + name;
    auto labels = test::volume_of<int32_t>(file, group + "/label");
    if (name == "uint16_wrap_n16")  // the package keeps 16 bits of the ids
      for (int32_t& l : labels.voxels) l = int32_t(uint16_t(l));
    Grid grid{1, 1, 1};
    if (file.has_attribute(group, "grid")) {
      const auto g = file.attribute<int64_t>(group, "grid");
      grid = {g[0], g[1], g[2]};
    }
    const Rays rays = test::explicit_rays(file.read<float>(group + "/ray_vertices"), file.read<int32_t>(group + "/ray_faces"));
    CHECK(values(star_distances(labels, rays, grid)) == file.read<float>(group + "/dist"));
  }
}
