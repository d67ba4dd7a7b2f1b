// SPDX-License-Identifier: BSD-3-Clause
// Events frame by frame against the same steps on a whole movie.

#include "common/event_finder.hpp"

#include "catch.hpp"
#include "voxgrad/core/random.hpp"

using namespace voxgrad;
using namespace voxgrad::app;
using data::Extent3;

namespace {

EventFinder find(const data::Volume<float>& scores, const data::Volume<float>& intensity, float threshold, const Extent3& minimum) {
  EventFinder finder(scores.extent[1], scores.extent[2], threshold);
  for (int64_t t = 0; t < scores.extent[0]; ++t) finder.add_frame(scores.frame(t), intensity.frame(t));
  finder.finish(minimum);
  return finder;
}

void check_same_region(const metrics::Region& a, const metrics::Region& b) {
  CHECK(a.label == b.label);
  CHECK(a.area == b.area);
  CHECK((a.box.begin == b.box.begin && a.box.end == b.box.end));
  CHECK(a.centroid == b.centroid);
  CHECK(a.weighted_centroid == b.weighted_centroid);
  CHECK(a.intensity_mean == b.intensity_mean);
  CHECK(a.intensity_max == b.intensity_max);
  CHECK(a.intensity_min == b.intensity_min);
  CHECK(a.major == b.major);
  CHECK(a.minor == b.minor);
  CHECK(a.profile == b.profile);
  CHECK(a.nn == b.nn);
  CHECK(a.spatial_nn == b.spatial_nn);
  CHECK(a.frequency == b.frequency);
}

// Against hulls of single voxels.
void check_solidity(const std::vector<metrics::Region>& events, const data::Volume<uint32_t>& labels) {
  for (const metrics::Region& e : events) {
    std::vector<metrics::VoxelRow> voxels;
    for (int64_t t = e.box.begin[0]; t < e.box.end[0]; ++t)
      for (int64_t y = e.box.begin[1]; y < e.box.end[1]; ++y)
        for (int64_t x = e.box.begin[2]; x < e.box.end[2]; ++x)
          if (labels.at(t, y, x) == e.label)
            voxels.push_back({int32_t(t), int32_t(y), int32_t(x), int32_t(x)});
    const int64_t hull = metrics::hull_volume(voxels);
    if (hull > 0)
      CHECK(e.solidity == double(e.area) / double(hull));
    else
      CHECK(std::isnan(e.solidity));
  }
}

}  // namespace

TEST_CASE("event finder: the same as labelling, filtering and measuring the whole movie") {
  Random random(4);
  int64_t several = 0;
  for (const Extent3& extent : {Extent3{9, 14, 11}, Extent3{1, 30, 30}, Extent3{20, 5, 7}, Extent3{6, 1, 40}})
    for (const float threshold : {0.5f, 0.72f, 0.85f, 0.95f, 1.0f})
      for (const Extent3& minimum : {Extent3{1, 1, 1}, metrics::min_event_size}) {
        data::Volume<float> scores(extent), intensity(extent);
        // Values in eighths, some exactly at the threshold, which must not count; whole intensities add up exactly.
        for (float& v : scores.voxels) v = random.below(4) == 0 ? threshold : float(random.uniform());
        for (float& v : intensity.voxels) v = float(random.below(100));
        const EventFinder finder = find(scores, intensity, threshold, minimum);
        metrics::Components c = metrics::label_above(scores, threshold);
        metrics::remove_small(c, minimum);
        std::vector<metrics::Region> regions = metrics::measure_regions(c.labels, intensity);
        metrics::set_neighbours(regions);
        INFO(extent[0] << "x" << extent[1] << "x" << extent[2] << " above " << threshold);
        REQUIRE(finder.events().size() == regions.size());
        REQUIRE(finder.frames() == extent[0]);
        for (size_t i = 0; i < regions.size(); ++i) check_same_region(finder.events()[i], regions[i]);
        data::Volume<uint32_t> labels(extent);
        for (int64_t t = 0; t < extent[0]; ++t) finder.labels(t, labels.frame(t));
        CHECK((labels.voxels == c.labels.voxels));
        check_solidity(finder.events(), labels);
        several += regions.size() > 1;
        for (const metrics::Region& e : finder.events()) {  // the score is the largest one inside
          float largest = 0;
          for (size_t i = 0; i < scores.voxels.size(); ++i)
            if (labels.voxels[i] == e.label) largest = std::max(largest, scores.voxels[i]);
          CHECK(e.score == double(largest));
        }
      }
  CHECK(several > 10);
}

TEST_CASE("event finder: nothing above the threshold gives no events and empty labels") {
  data::Volume<float> scores(Extent3{3, 4, 5}), intensity(Extent3{3, 4, 5});
  std::fill(scores.voxels.begin(), scores.voxels.end(), 0.5f);
  scores.voxels[7] = NAN;
  const EventFinder finder = find(scores, intensity, 0.5f, {1, 1, 1});
  CHECK(finder.events().empty());
  std::vector<uint16_t> labels(20, 9);
  finder.labels(1, labels.data());
  CHECK(labels == std::vector<uint16_t>(20, 0));
}

TEST_CASE("event finder: positions stay inside their events, even where weights nearly cancel") {
  EventFinder finder(6, 8, 0.5f);
  for (int t = 0; t < 3; ++t) {
    std::vector<float> probability(48, 0.0f), intensity(48, 0.0f);
    for (int y = 1; y < 4; ++y)
      for (int x = 2; x < 5; ++x) probability[size_t(y * 8 + x)] = 0.9f;
    intensity[8 + 4] = 1.0f;      // (y 1, x 4) against (y 3, x 2): the weighted centroid would be at y -17, x 22
    intensity[3 * 8 + 2] = -0.9f;
    finder.add_frame(probability.data(), intensity.data());
  }
  finder.finish();
  REQUIRE(finder.events().size() == 1);
  CHECK(finder.events()[0].weighted_centroid == metrics::Point{1, 2, 3});
}

TEST_CASE("event finder: positions are weighted by intensity where that is sound") {
  EventFinder finder(3, 3, 0.5f);
  for (int t = 0; t < 2; ++t) {
    const std::vector<float> probability(9, 0.9f), intensity = {0, 0, 0, 0, 1, 0, 0, 3, 0};
    finder.add_frame(probability.data(), intensity.data());
  }
  finder.finish();
  REQUIRE(finder.events().size() == 1);
  CHECK(finder.events()[0].weighted_centroid == metrics::Point{0.5, 1.75, 1});
}
