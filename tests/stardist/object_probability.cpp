// SPDX-License-Identifier: BSD-3-Clause
// Normalised depth of voxels in their objects: against the Python package, and against all pairs of voxels.

#include "voxgrad/stardist/object_probability.hpp"

#include <cmath>
#include <map>

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

double largest_difference(const std::vector<float>& found, const std::vector<float>& expected) {
  REQUIRE(found.size() == expected.size());
  double worst = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    CHECK(std::isfinite(found[i]));
    worst = std::max(worst, std::abs(double(found[i]) - double(expected[i])));
  }
  return worst;
}

/// Every voxel of an object against every voxel that is not of it.
template <class T>
std::vector<float> by_definition(const data::Volume<T>& labels, const Vec3d& size) {
  const Extent3 n = labels.extent;
  std::vector<double> depth(labels.voxels.size());
  std::map<T, double> most;
  for (int64_t i = 0; i < labels.size(); ++i) {
    const T own = labels.voxels[size_t(i)];
    if (own <= 0) continue;
    double nearest = 1e300;
    for (int64_t j = 0; j < labels.size(); ++j) {
      if (labels.voxels[size_t(j)] == own) continue;
      const double dz = double(i / (n[1] * n[2]) - j / (n[1] * n[2])) * size[0];
      const double dy = double(i / n[2] % n[1] - j / n[2] % n[1]) * size[1], dx = double(i % n[2] - j % n[2]) * size[2];
      nearest = std::min(nearest, dz * dz + dy * dy + dx * dx);
    }
    depth[size_t(i)] = std::sqrt(nearest);
    most[own] = std::max(most[own], depth[size_t(i)]);
  }
  std::vector<float> out;
  for (size_t i = 0; i < depth.size(); ++i) out.push_back(depth[i] > 0 ? float(depth[i] / (most[labels.voxels[i]] + 1e-10)) : 0.f);
  return out;
}

std::vector<float> golden(const char* name) {
  const test::Npy npy = test::geometry_golden(name);
  return {npy.values.begin(), npy.values.end()};
}

}  // namespace

TEST_CASE("object probability: as in the Python package") {
  const auto labels = test::volume_of<uint16_t>(test::geometry_golden("targets_labels"));
  CHECK(object_probability(labels).voxels == golden("targets_prob"));
  CHECK(largest_difference(object_probability(labels, Vec3d{1.7, 1.08, 1}).voxels, golden("targets_prob_anisotropic")) < 3e-7);
  const data::Volume<int32_t> full({4, 5, 6}, 7);
  CHECK(largest_difference(object_probability(full, Vec3d{2, 1, 1.5}).voxels, golden("targets_prob_constant")) < 3e-7);
}

TEST_CASE("object probability: the nearest voxel of all, for any extent and voxel size") {
  for (const Extent3& extent : {Extent3{1, 1, 9}, {6, 1, 1}, {5, 7, 11}, {2, 9, 16}, {12, 4, 3}})
    for (const Vec3d& size : {Vec3d{1, 1, 1}, {3.1, 1, 0.4}}) {
      INFO(extent[0] << "x" << extent[1] << "x" << extent[2]);
      auto labels = ellipsoids<int32_t>(extent, 6, 4, uint64_t(extent[1]), 5, 70000);
      labels.voxels.back() = 0;  // no single object
      CHECK(largest_difference(object_probability(labels, size).voxels, by_definition(labels, size)) < 3e-7);
    }
}

TEST_CASE("object probability: sampled on a grid, but divided by the maximum of all voxels") {
  const auto labels = ellipsoids<uint16_t>({9, 14, 15}, 7, 5, 1);
  const auto all = object_probability(labels, Vec3d{2, 1, 1}), few = object_probability(labels, Vec3d{2, 1, 1}, {2, 3, 16});
  REQUIRE(few.extent == Extent3{5, 5, 1});
  for (int64_t z = 0; z < 5; ++z)
    for (int64_t y = 0; y < 5; ++y) CHECK(few.at(z, y, 0) == all.at(2 * z, 3 * y, 0));
}

TEST_CASE("object probability: one voxel, many objects, nothing, voxels without annotation") {
  data::Volume<uint8_t> labels({3, 3, 3});
  for (const float p : object_probability(labels).voxels) CHECK(p == 0);
  labels.at(1, 1, 1) = 9;
  CHECK(object_probability(labels).at(1, 1, 1) == 1);
  CHECK(object_probability(labels).at(0, 1, 1) == 0);
  CHECK(object_probability(data::Volume<uint8_t>({1, 1, 1}, 1)).voxels[0] == 1);
  data::Volume<int32_t> many({40, 50, 60});
  for (size_t i = 0; i < many.voxels.size(); ++i) many.voxels[i] = int32_t(i) + 1;
  for (const float p : object_probability(many).voxels) CHECK(p == 1);
  data::Volume<int16_t> negative({2, 3, 4}, -5);
  for (const float p : object_probability(negative).voxels) CHECK(p == 0);
  auto partly = ellipsoids<int16_t>({5, 9, 9}, 5, 4, 3), cleaned = partly;
  for (size_t i = 0; i < partly.voxels.size(); i += 7) partly.voxels[i] = -1, cleaned.voxels[i] = 0;
  CHECK(object_probability(partly).voxels == object_probability(cleaned).voxels);
}

TEST_CASE("object probability: the same for any number of threads, and in a batch") {
  const test::Settings restore;
  const auto labels = ellipsoids<uint16_t>({12, 31, 30}, 30, 6, 8);
  set_threads(1);
  const auto one = object_probability(labels, Vec3d{1.7, 1.08, 1}).voxels;
  set_threads(5);
  CHECK(object_probability(labels, Vec3d{1.7, 1.08, 1}).voxels == one);
  std::vector<float> batch(one.size() * 3, -1.f);
  object_probability(LabelView(labels), Vec3d{1.7, 1.08, 1}, {1, 1, 1}, batch.data() + 2, 3);
  for (size_t i = 0; i < batch.size(); ++i) CHECK(batch[i] == (i % 3 == 2 ? one[i / 3] : -1.f));
}

TEST_CASE("object probability: bad arguments are named") {
  const data::Volume<uint8_t> labels({2, 2, 2}, 1);
  CHECK(message<UsageError>([&] { (void)object_probability(labels, Vec3d{0, 1, 1}); }) ==
        "object probability: anisotropy is 0, 1, 1 (expected three numbers above 0, in order z, y, x)");
  CHECK(message<UsageError>([&] { (void)object_probability(labels, {}, {0, 1, 1}); }).find("grid is 0, 1, 1") == 0);
  CHECK(message<ShapeError>([&] { (void)object_probability(data::Volume<uint8_t>({2, 2, 0})); }).find("labels: the volume is 2x2x0") == 0);
}

TEST_CASE("object probability: the large golden set") {
  const std::string path = test::shared_golden("star_dist_edt.h5", "object probabilities of seven volumes");
  if (path.empty()) return;
  const io::H5File file(path);
  for (const std::string& name : file.children("/")) {
    const std::string group = "/" + name;
    if (!file.is_dataset(group + "/edt_prob")) continue;
    INFO(name);
    const auto labels = test::volume_of<int32_t>(file, group + "/label");
    const auto anisotropy = test::anisotropy_of(file, group);
    const auto g = file.attribute<int64_t>(group, "grid");
    CHECK(largest_difference(object_probability(labels, anisotropy).voxels, file.read<float>(group + "/edt_prob")) < 3e-7);
    CHECK(largest_difference(object_probability(labels, anisotropy, {g[0], g[1], g[2]}).voxels,
                             file.read<float>(group + "/edt_prob_grid")) < 3e-7);
  }
}
