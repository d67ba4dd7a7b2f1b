// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/metrics/components.hpp"

#include "catch.hpp"
#include "draws.hpp"

using namespace voxgrad;
using data::Volume;
using metrics::Components;
using metrics_test::random_values;

TEST_CASE("components: corners connect (conformance vector 12.7)") {
  Volume<uint8_t> v({3, 3, 3});
  v.at(0, 0, 0) = v.at(1, 1, 1) = v.at(2, 2, 0) = 1;
  CHECK(metrics::label_components(v).count == 1);
  v.at(1, 1, 1) = 0;
  CHECK(metrics::label_components(v).count == 2);
}

TEST_CASE("components: only equal values connect, and rows do not wrap around") {
  Volume<uint16_t> v({1, 2, 4});
  v.voxels = {1, 1, 2, 2, 0, 0, 0, 1};
  const Components c = metrics::label_components(v);
  CHECK(c.labels.voxels == std::vector<uint32_t>{1, 1, 2, 2, 0, 0, 0, 3});
  v.voxels = {0, 0, 0, 1, 1, 0, 0, 0};
  CHECK(metrics::label_components(v).count == 2);
}

TEST_CASE("components: numbers follow the raster order of first voxels even when late voxels join") {
  Volume<uint8_t> v({2, 3, 5});
  v.at(0, 0, 0) = v.at(0, 0, 2) = v.at(0, 0, 4) = 1;  // three pieces in frame 0, the outer two
  for (int64_t x = 0; x < 5; ++x) v.at(1, 2, x) = 1;  // joined far below, in frame 1
  v.at(1, 1, 0) = v.at(1, 1, 4) = 1;
  const Components c = metrics::label_components(v);
  CHECK(c.count == 2);
  CHECK(c.labels.at(0, 0, 0) == 1);
  CHECK(c.labels.at(0, 0, 2) == 2);
  CHECK(c.labels.at(0, 0, 4) == 1);
  CHECK(c.labels.at(1, 2, 2) == 1);
}

TEST_CASE("components: frames fed in any blocks give the labels of the whole, and strict thresholds") {
  const auto values = random_values({9, 11, 7}, 11, 200);
  Volume<float> scores(values.extent);
  for (size_t i = 0; i < scores.voxels.size(); ++i) scores.voxels[i] = values.voxels[i] ? 0.6f : 0.5f;
  scores.voxels[3] = std::numeric_limits<float>::quiet_NaN();
  const Components whole = metrics::label_components(values), above = metrics::label_above(scores, 0.5f);
  if (values.voxels[3] == 0) CHECK(above.labels.voxels == whole.labels.voxels);
  CHECK(metrics::label_above(scores, 0.6f).count == 0);

  metrics::ComponentLabeler<int32_t> labeler(11, 7);
  std::vector<uint32_t> provisional(size_t(values.size()));
  for (int64_t t = 0; t < 9; ++t) labeler.add_frame(values.frame(t), provisional.data() + t * 77);
  const std::vector<uint32_t> map = labeler.finish();
  CHECK(map.size() == labeler.provisional() + 1u);
  for (uint32_t& l : provisional) l = map[l];
  CHECK(provisional == whole.labels.voxels);
  CHECK(labeler.count() == whole.count);
}

TEST_CASE("components: small ones go, whichever side is short, and the others are renumbered") {
  Volume<uint8_t> v({4, 8, 20});
  const auto fill = [&](int64_t y, int64_t x, int64_t t_end, int64_t h, int64_t w) {
    for (int64_t t = 0; t < t_end; ++t)
      for (int64_t i = 0; i < h; ++i)
        for (int64_t j = 0; j < w; ++j) v.at(t, y + i, x + j) = 1;
  };
  fill(0, 0, 1, 3, 3);   // too short in time
  fill(0, 4, 2, 3, 3);   // passes 2,3,3, not 3,3,3
  fill(0, 8, 3, 2, 4);   // too low
  fill(0, 13, 3, 4, 2);  // too narrow
  fill(0, 16, 3, 3, 3);  // passes both
  Components c = metrics::label_components(v);
  REQUIRE(c.count == 5);
  const auto boxes = metrics::bounding_boxes(c);
  CHECK(boxes[1].begin == metrics::Extent3{0, 0, 4});
  CHECK(boxes[1].end == metrics::Extent3{2, 3, 7});
  Components strict = c;
  metrics::remove_small(c, metrics::min_event_size);
  CHECK(c.count == 2);
  CHECK(c.labels.at(0, 0, 0) == 0);
  CHECK(c.labels.at(1, 2, 6) == 1);
  CHECK(c.labels.at(2, 2, 18) == 2);
  metrics::remove_small(strict, metrics::min_tested_size);
  CHECK(strict.count == 1);
  CHECK(strict.labels.at(0, 0, 4) == 0);
  CHECK(strict.labels.at(0, 0, 16) == 1);
}

TEST_CASE("components: an empty movie has none") {
  CHECK(metrics::label_components(Volume<uint8_t>({3, 4, 5})).count == 0);
  CHECK(metrics::label_components(Volume<uint8_t>({0, 4, 5})).count == 0);
}
