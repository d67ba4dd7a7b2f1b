// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/metrics/regions.hpp"

#include "catch.hpp"
#include "draws.hpp"

using namespace voxgrad;
using data::Volume;
using metrics::Region;
using metrics_test::draws;
using metrics_test::random_values;

namespace {

struct Grid {
  Volume<uint32_t> labels{{6, 10, 12}};
  Volume<double> intensity{{6, 10, 12}};
};

// The ellipsoid with a tail of conformance vector 12.6.
Grid vector_12_6() {
  Grid g;
  for (int64_t t = 0; t < 6; ++t)
    for (int64_t y = 0; y < 10; ++y)
      for (int64_t x = 0; x < 12; ++x) {
        const double a = (double(t) - 2.5) / 2.4, b = (double(y) - 4) / 3.2, c = (double(x) - 5) / 4.3;
        const bool tail = t == 2 && x == 5 && (y == 7 || y == 8);
        g.labels.at(t, y, x) = a * a + b * b + c * c <= 1 || tail;
        g.intensity.at(t, y, x) = 1 + 0.1 * double(t) + 0.05 * double(y) + 0.02 * double(x);
      }
  return g;
}

void check_point(const metrics::Point& p, double t, double y, double x) {
  CHECK(p[0] == Approx(t).margin(1e-8));
  CHECK(p[1] == Approx(y).margin(1e-8));
  CHECK(p[2] == Approx(x).margin(1e-8));
}

}  // namespace

TEST_CASE("regions: conformance vector 12.6") {
  const Grid g = vector_12_6();
  const std::vector<Region> regions = metrics::measure_regions(g.labels, g.intensity);
  REQUIRE(regions.size() == 1);
  const Region& r = regions[0];
  CHECK(r.area == 149);
  CHECK(r.box.begin == metrics::Extent3{1, 1, 1});
  CHECK(r.box.end == metrics::Extent3{5, 9, 10});
  CHECK(r.duration() == 4);
  check_point(r.centroid, 2.49664430, 4.02684564, 5);
  check_point(r.weighted_centroid, 2.56598875, 4.10644743, 5.04846387);
  CHECK(r.major == Approx(8.66993571).epsilon(1e-8));
  CHECK(r.minor == Approx(4.65204853).epsilon(1e-8));
  CHECK(r.aspect == Approx(0.53657244).epsilon(1e-7));
  CHECK(r.spatial_aspect == Approx(8.0 / 9.0));
  CHECK(r.intensity_mean == Approx(1.55100671).epsilon(1e-8));
  CHECK(r.intensity_max == Approx(1.84));
  CHECK(r.intensity_min == Approx(1.26));
  REQUIRE(r.profile.size() == 4);
  const double profile[] = {0.60277778, 0.91944444, 0.95555556, 0.73194444};
  for (size_t i = 0; i < 4; ++i) CHECK(r.profile[i] == Approx(profile[i]).epsilon(1e-7));
  CHECK(r.integrated_profile == Approx(3.20972222).epsilon(1e-8));
  CHECK(r.max_profile == Approx(0.95555556).epsilon(1e-7));
  CHECK(r.std_profile == Approx(0.14315118).epsilon(1e-7));
  CHECK(std::isnan(r.solidity));

  std::vector<Region> solid = regions;
  std::vector<metrics::VoxelRow> rows;
  for (int32_t t = 0; t < 6; ++t)
    for (int32_t y = 0; y < 10; ++y)
      for (int32_t x = 0; x < 12; ++x)
        if (g.labels.at(t, y, x)) rows.push_back({t, y, x, x});
  metrics::set_solidity(solid, {rows});
  CHECK(solid[0].solidity == Approx(0.88690476).epsilon(1e-8));
}

TEST_CASE(
    "symmetric eigenvalues: those of 12.6, of a diagonal, and trace and determinant of random matrices") {
  const auto d = metrics::symmetric_eigenvalues({{{1, 0, 0}, {0, 3, 0}, {0, 0, 2}}});
  CHECK(d == std::array<double, 3>{3, 2, 1});
  const auto v = draws(5, 60);
  for (size_t k = 0; k < 10; ++k) {
    double m[6];
    for (size_t i = 0; i < 6; ++i) m[i] = double(v[6 * k + i]) / 32768 - 1;
    const auto e =
        metrics::symmetric_eigenvalues({{{m[0], m[3], m[4]}, {m[3], m[1], m[5]}, {m[4], m[5], m[2]}}});
    CHECK(e[0] + e[1] + e[2] == Approx(m[0] + m[1] + m[2]).margin(1e-12));
    const double determinant = m[0] * (m[1] * m[2] - m[5] * m[5]) - m[3] * (m[3] * m[2] - m[5] * m[4]) +
                               m[4] * (m[3] * m[5] - m[1] * m[4]);
    CHECK(e[0] * e[1] * e[2] == Approx(determinant).margin(1e-12));
    CHECK((e[0] >= e[1] && e[1] >= e[2]));
  }
}

TEST_CASE("labels and regions equal scikit-image's on random volumes") {
  std::ifstream in = metrics_test::golden("components.txt");
  int cases = 0, compared = 0;
  for (std::string word; in >> word; ++cases) {
    REQUIRE(word == "case");
    data::Extent3 e{};
    uint32_t seed = 0, count = 0;
    int64_t per_mille = 0, levels = 0, offset = 0, hash = 0;
    in >> e[0] >> e[1] >> e[2] >> seed >> per_mille >> levels >> offset >> count >> hash;
    const auto c = metrics::label_components(random_values(e, seed, per_mille, levels));
    Volume<double> intensity(e);
    const auto d = draws(seed + 100, intensity.size());
    for (size_t i = 0; i < d.size(); ++i) intensity.voxels[i] = double(d[i]) / 65536 - 0.5 * double(offset);
    INFO("seed " << seed);
    CHECK(c.count == count);
    int64_t sum = 0;
    for (size_t i = 0; i < c.labels.voxels.size(); ++i) sum += int64_t(i + 1) * int64_t(c.labels.voxels[i]);
    CHECK(sum == hash);
    const std::vector<Region> regions = metrics::measure_regions(c.labels, intensity);
    REQUIRE(regions.size() == count);
    for (const Region& r : regions) {
      double g[20];
      int64_t label = 0, area = 0, box[6];
      in >> label >> area;
      for (int64_t& b : box) in >> b;
      for (int k = 0; k < 15; ++k) in >> g[k];
      REQUIRE(in.good());
      CHECK(r.label == label);
      CHECK(r.area == area);
      for (size_t a = 0; a < 3; ++a) CHECK((r.box.begin[a] == box[a] && r.box.end[a] == box[a + 3]));
      check_point(r.centroid, g[0], g[1], g[2]);
      check_point(r.weighted_centroid, g[3], g[4], g[5]);
      CHECK(r.intensity_mean == Approx(g[6]).margin(1e-9));
      CHECK(r.intensity_max == Approx(g[7]).margin(1e-9));
      CHECK(r.intensity_min == Approx(g[8]).margin(1e-9));
      // Axes from the tensor's eigenvalues by the published formula.
      CHECK(r.major * r.major == Approx(10 * (g[9] + g[10] - g[11])).margin(1e-6));
      CHECK(r.minor * r.minor == Approx(10 * (-g[9] + g[10] + g[11])).margin(1e-6));
      CHECK(r.integrated_profile == Approx(g[12]).margin(1e-9));
      CHECK(r.max_profile == Approx(g[13]).margin(1e-9));
      CHECK(r.std_profile == Approx(g[14]).margin(1e-9));
      ++compared;
    }
  }
  CHECK(cases == 8);
  CHECK(compared > 150);
}

TEST_CASE("regions: collected under provisional labels they equal those of final labels") {
  const auto values = random_values({7, 12, 11}, 21, 250);
  Volume<double> intensity(values.extent);
  const auto d = draws(22, values.size());
  for (size_t i = 0; i < d.size(); ++i) intensity.voxels[i] = double(d[i] % 64);  // integers: sums are exact
  const auto whole = metrics::measure_regions(metrics::label_components(values).labels, intensity);
  metrics::ComponentLabeler<int32_t> labeler(12, 11);
  metrics::RegionCollector collector;
  std::vector<uint32_t> labels(12 * 11);
  const std::vector<float> scores(12 * 11, 0.25f);
  for (int64_t t = 0; t < 7; ++t) {
    labeler.add_frame(values.frame(t), labels.data());
    collector.add_frame(t, 12, 11, labels.data(), intensity.frame(t), scores.data());
  }
  const auto streamed = collector.finish(labeler.finish());
  CHECK(labeler.provisional() > labeler.count());  // something merged, or the test shows nothing
  REQUIRE(streamed.size() == whole.size());
  for (size_t i = 0; i < whole.size(); ++i) {
    CHECK(streamed[i].label == whole[i].label);
    CHECK(streamed[i].area == whole[i].area);
    CHECK(streamed[i].weighted_centroid == whole[i].weighted_centroid);
    CHECK(streamed[i].profile == whole[i].profile);
    CHECK(streamed[i].major == whole[i].major);
    CHECK(streamed[i].score == 0.25);
  }
}

TEST_CASE("regions: a weighted centroid falls back to the plain one when weights sum to zero or less") {
  Volume<uint32_t> labels({1, 1, 3}, 1);
  Volume<float> intensity({1, 1, 3});
  for (const float last : {-1.0f, -5.0f}) {
    intensity.voxels = {1, 0, last};
    const auto r = metrics::measure_regions(labels, intensity);
    check_point(r[0].weighted_centroid, 0, 0, 1);
  }
  intensity.voxels = {1, 0, 3};
  check_point(metrics::measure_regions(labels, intensity)[0].weighted_centroid, 0, 0, 1.5);
}

TEST_CASE("regions: a single voxel has no aspect, flat ones a zero minor axis") {
  Volume<uint32_t> labels({1, 1, 3});
  Volume<float> intensity({1, 1, 3}, 1);
  labels.voxels = {0, 1, 0};
  const Region r = metrics::measure_regions(labels, intensity)[0];
  CHECK(r.major == 0);
  CHECK(std::isnan(r.aspect));
  CHECK(std::isnan(r.score));
  labels.voxels = {1, 1, 1};
  CHECK(metrics::measure_regions(labels, intensity)[0].minor == 0);
  CHECK(metrics::measure_regions(labels, intensity)[0].aspect == 0);
}

TEST_CASE("regions: neighbours and frequency") {
  std::vector<Region> r(3);
  r[0].weighted_centroid = {0, 0, 0};
  r[1].weighted_centroid = {12, 3, 4};
  r[2].weighted_centroid = {0, 6, 0};
  metrics::set_neighbours(r);
  CHECK(r[0].nn == 6);
  CHECK(r[0].spatial_nn == 5);
  CHECK(r[0].frequency == 1);  // 5 away; 6 is not within 6
  CHECK(r[1].nn == 13);
  CHECK(r[1].frequency == 2);
  std::vector<Region> lone(1);
  metrics::set_neighbours(lone);
  CHECK(lone[0].nn == 0);
  CHECK(lone[0].frequency == 0);
}

TEST_CASE("regions: extents must agree") {
  const Volume<uint32_t> labels({1, 2, 3});
  const Volume<float> intensity({1, 3, 2});
  CHECK(metrics_test::message_of([&] { metrics::measure_regions(labels, intensity); }) ==
        "regions: labels are 1x2x3, intensity is 1x3x2");
}
