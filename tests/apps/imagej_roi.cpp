// SPDX-License-Identifier: BSD-3-Clause
// Outlines of labels, ROI files byte by byte.

#include "common/imagej_roi.hpp"

#include <random>

#include "catch.hpp"
#include "voxgrad/core/error.hpp"

using namespace voxgrad;
using namespace voxgrad::app;

namespace {

using Points = std::vector<std::array<std::int32_t, 2>>;

/// Area inside a polygon by the shoelace formula; positive if clockwise in a picture (y down).
double area(const Points& p) {
  double sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const auto& a = p[i];
    const auto& b = p[(i + 1) % p.size()];
    sum += double(a[0]) * b[1] - double(b[0]) * a[1];
  }
  return sum / 2;
}

std::uint32_t big(const std::string& bytes, std::size_t at, int n) {
  std::uint32_t value = 0;
  for (int i = 0; i < n; ++i) value = value << 8 | std::uint8_t(bytes[at + std::size_t(i)]);
  return value;
}

}  // namespace

TEST_CASE("outlines follow pixel edges, corners only") {
  const std::vector<std::uint32_t> one = {0, 0, 0, 5};
  const std::vector<Outline> single = trace_outlines(one.data(), 2, 2);
  REQUIRE(single.size() == 1);
  CHECK(single[0].label == 5);
  CHECK(single[0].points == Points{{1, 1}, {2, 1}, {2, 2}, {1, 2}});
  const std::vector<std::uint32_t> corner = {2, 0, 0, 2, 2, 2, 0, 0, 2};
  const std::vector<Outline> step = trace_outlines(corner.data(), 3, 3);
  REQUIRE(step.size() == 1);
  CHECK(step[0].points == Points{{0, 0}, {1, 0}, {1, 1}, {3, 1}, {3, 3}, {2, 3}, {2, 2}, {0, 2}});
  const std::vector<std::uint32_t> diagonal = {1, 0, 0, 1};
  CHECK(trace_outlines(diagonal.data(), 2, 2).size() == 2);
  const std::vector<std::uint32_t> neighbours = {1, 2, 1, 2};
  CHECK(trace_outlines(neighbours.data(), 2, 2).size() == 2);
  const std::vector<std::uint32_t> ring = {1, 1, 1, 1, 0, 1, 1, 1, 1};
  const std::vector<Outline> outer = trace_outlines(ring.data(), 3, 3);
  REQUIRE(outer.size() == 1);
  CHECK(outer[0].points == Points{{0, 0}, {3, 0}, {3, 3}, {0, 3}});
  CHECK(trace_outlines(ring.data(), 0, 0).empty());
}

TEST_CASE("outlines of random labels enclose at least their pixels, clockwise, in axis-parallel steps") {
  std::mt19937 random(3);
  for (int round = 0; round < 50; ++round) {
    const std::int64_t h = 1 + random() % 12, w = 1 + random() % 12;
    std::vector<std::uint32_t> labels(std::size_t(h * w));
    for (std::uint32_t& label : labels) label = std::uint32_t(random() % 3);
    double pixels = 0, enclosed = 0;
    for (const std::uint32_t label : labels) pixels += label != 0;
    for (const Outline& outline : trace_outlines(labels.data(), h, w)) {
      CHECK(area(outline.points) > 0);
      enclosed += area(outline.points);
      for (std::size_t i = 0; i < outline.points.size(); ++i) {
        const auto& a = outline.points[i];
        const auto& b = outline.points[(i + 1) % outline.points.size()];
        CHECK((a[0] == b[0]) != (a[1] == b[1]));
      }
    }
    CHECK(enclosed >= pixels);
  }
}

TEST_CASE("a ROI file has ImageJ's fields at their places") {
  const Outline outline = {9, {{300, 20}, {305, 20}, {305, 24}, {300, 24}}};
  const std::string bytes = imagej_roi_bytes(outline, 34, "ab", 0xff102030);
  CHECK(bytes.substr(0, 4) == "Iout");
  CHECK(big(bytes, 4, 2) == 228);
  CHECK(bytes[6] == 0);
  CHECK(big(bytes, 8, 2) == 20);
  CHECK(big(bytes, 10, 2) == 300);
  CHECK(big(bytes, 12, 2) == 24);
  CHECK(big(bytes, 14, 2) == 305);
  CHECK(big(bytes, 16, 2) == 4);
  CHECK(big(bytes, 40, 4) == 0xff102030);
  const std::uint32_t second = big(bytes, 60, 4);
  CHECK(second == 64 + 16);
  CHECK(big(bytes, 64 + 2, 2) == 5);
  CHECK(big(bytes, 64 + 8 + 4, 2) == 4);
  CHECK(big(bytes, second + 4, 4) == 1);
  CHECK(big(bytes, second + 8, 4) == 1);
  CHECK(big(bytes, second + 12, 4) == 34);
  CHECK(big(bytes, second + 20, 4) == 2);
  CHECK(big(bytes, big(bytes, second + 16, 4), 4) == (std::uint32_t('a') << 16 | 'b'));
  CHECK(bytes.size() == second + 64 + 4);
  CHECK_THROWS_AS(imagej_roi_bytes({1, {}}, 1, "x", 0), ShapeError);
  CHECK_THROWS_AS(imagej_roi_bytes({1, {{0, 40000}}}, 1, "x", 0), ShapeError);
}
