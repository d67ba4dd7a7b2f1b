// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/data/volume.hpp"

#include "catch.hpp"

TEST_CASE("Volume is row-major with x fastest") {
  voxgrad::data::Volume<float> v({2, 3, 4});
  v.at(1, 2, 3) = 5;
  CHECK(v.voxels.back() == 5);
  CHECK(v.frame(1)[2 * 4 + 3] == 5);
  CHECK(v.size() == 24);
}
