// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/data/sampling.hpp"

#include <set>

#include "catch.hpp"

using namespace voxgrad;
using namespace voxgrad::data;

namespace {

std::vector<std::array<int64_t, 2>> pixels(int64_t n) {
  std::vector<std::array<int64_t, 2>> out;
  for (int64_t i = 0; i < n; ++i) out.push_back({64 + i / 100, 64 + i % 100});
  return out;
}

using Key = std::array<int64_t, 3>;
std::multiset<Key> keys(const std::vector<Extent3>& v) { return {v.begin(), v.end()}; }

bool contains(const std::multiset<Key>& all, const std::multiset<Key>& part) {
  return std::includes(all.begin(), all.end(), part.begin(), part.end());
}

template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("sampling: corners stay a crop away from both ends, short axes use what fits") {
  CHECK(corner_range(600, 64) == std::pair<int64_t, int64_t>{64, 536});
  CHECK(corner_range(192, 64) == std::pair<int64_t, int64_t>{64, 128});
  CHECK(corner_range(191, 64) == std::pair<int64_t, int64_t>{0, 127});
  CHECK(corner_range(128, 64) == std::pair<int64_t, int64_t>{0, 64});
  CHECK(corner_range(65, 64) == std::pair<int64_t, int64_t>{0, 1});
  CHECK(corner_range(10, 64) == std::pair<int64_t, int64_t>{0, 1});
}

TEST_CASE("sampling: foreground is strictly above the triangle threshold, inside the margins") {
  std::vector<float> picture(200 * 300);
  for (size_t i = 0; i < picture.size(); ++i) picture[i] = float(i % 7) * 0.01f;
  for (int64_t y = 50; y < 80; ++y)
    for (int64_t x = 100; x < 110; ++x) picture[size_t(y * 300 + x)] = 5;
  const auto found = foreground_corners(picture, 200, 300, 64);
  CHECK(found.size() == 16 * 10);  // rows 64..79
  CHECK(found.front() == std::array<int64_t, 2>{64, 100});
  CHECK(found.back() == std::array<int64_t, 2>{79, 109});
}

TEST_CASE("sampling: ratios are exact and nested, pixels are drawn once while there are enough") {
  Random random(42, 300);
  const auto corners = draw_corners(pixels(2000), 600, 64, 10, 256, random);
  CHECK(corners.size() == sample_ratios.size());
  for (const auto& [ratio, list] : corners) CHECK(int64_t(list.size()) == ratio * 10);
  for (const auto& [small, large] :
       {std::pair{1, 2}, {2, 4}, {4, 8}, {8, 64}, {16, 32}, {32, 64}, {64, 256}, {128, 256}})
    CHECK(contains(keys(corners.at(large)), keys(corners.at(small))));
  std::set<std::array<int64_t, 2>> places;
  for (const Extent3& c : corners.at(8)) {
    places.insert({c[1], c[2]});
    CHECK(c[0] >= 64);
    CHECK(c[0] < 536);
  }
  CHECK(places.size() == 80);
  Random again(42, 300);
  CHECK(draw_corners(pixels(2000), 600, 64, 10, 256, again) == corners);
  Random few(42, 300);
  const auto repeated = draw_corners(pixels(30), 600, 64, 10, 8, few);  // 80 of 30 pixels: with replacement
  CHECK(repeated.at(8).size() == 80);
  CHECK(repeated.size() == 5);
  CHECK(repeated.count(16) == 0);
}

TEST_CASE("sampling: no events need no pixels, events without pixels are an error") {
  Random random(1);
  CHECK(draw_corners({}, 600, 64, 0, 8, random).at(8).empty());
  CHECK(draw_corners({}, 600, 64, 5, 0, random).at(0).empty());
  CHECK(message_of([&] { draw_corners({}, 600, 64, 5, 4, random); }) ==
        "no foreground pixel is far enough from the border for a crop of 64.");
}

TEST_CASE("sampling: subsets have floor(f n) movies, all different, and differ between repetitions") {
  for (const auto& [fraction, want] : {std::pair{0.25, 14}, {0.5, 29}, {0.75, 43}}) {
    std::set<std::vector<size_t>> draws;
    for (int64_t r = 0; r < 5; ++r) {
      const auto part = draw_subset(58, fraction, r, 42);
      CHECK(int(part.size()) == want);
      CHECK(std::set<size_t>(part.begin(), part.end()).size() == part.size());
      CHECK(std::is_sorted(part.begin(), part.end()));
      CHECK(part == draw_subset(58, fraction, r, 42));
      draws.insert(part);
    }
    CHECK(draws.size() == 5);
  }
}

TEST_CASE("sampling: lists hold all events of the chosen movies, then their crops; c fills up to the total") {
  std::vector<SampledMovie> movies;
  for (int i = 0; i < 4; ++i) {
    Random random(42, 300 + uint64_t(i));
    movies.push_back({std::to_string(i + 1), 10 + i, draw_corners(pixels(1000), 600, 64, 10 + i, 8, random)});
  }
  const auto list = list_samples(movies, {0, 2}, 2);
  REQUIRE(list.size() == 22 + 44);
  CHECK(list[0].movie == "1");
  CHECK(list[10].movie == "3");
  CHECK(list[10].row == 0);
  CHECK(list[21].positive());
  CHECK_FALSE(list[22].positive());
  CHECK(list[22].movie == "1");
  CHECK(list.back().movie == "3");

  const auto filled = list_samples_to_total(movies, {0, 2}, 46, Random(1));
  CHECK(filled.size() == 46);
  CHECK(std::count_if(filled.begin(), filled.end(), [](const auto& s) { return s.positive(); }) == 22);
  const auto capped = list_samples_to_total(movies, {0}, 1000, Random(1));
  CHECK(capped.size() == 10 + 80);  // no more than exists
}
