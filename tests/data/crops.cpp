// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/data/crops.hpp"

#include <array>
#include <numeric>
#include <set>

#include "catch.hpp"

using namespace voxgrad;
using namespace voxgrad::data;

TEST_CASE("crops: the box of an event is centred inside and cut at the border") {
  const Event e{9, 100, 105, 30, 41, 250, 255};
  CHECK(e.centre() == Extent3{102, 35, 252});  // truncated
  const Box3 inside = event_box({300, 200, 200}, {600, 512, 512}, 64);
  CHECK(inside.start == Extent3{268, 168, 168});
  CHECK(inside.size() == Extent3{64, 64, 64});
  const Box3 cut = event_box({10, 200, 500}, {600, 512, 512}, 64);
  CHECK(cut.start == Extent3{0, 168, 468});
  CHECK(cut.stop == Extent3{42, 232, 512});
  const Box3 corner = corner_box({120, 75, 480}, {600, 512, 512}, 64);
  CHECK(corner.start == Extent3{120, 75, 480});
  CHECK(corner.stop == Extent3{184, 139, 512});
}

TEST_CASE("crops: padding mirrors at the end, edge included, as often as needed") {
  std::array<int64_t, 12> got;
  for (size_t i = 0; i < got.size(); ++i) got[i] = mirror_index(int64_t(i), 5);
  CHECK(got == std::array<int64_t, 12>{0, 1, 2, 3, 4, 4, 3, 2, 1, 0, 0, 1});
  CHECK(mirror_index(7, 1) == 0);

  std::vector<int> in(2 * 1 * 3), out(4 * 2 * 5);
  std::iota(in.begin(), in.end(), 0);  // frames: 0 1 2 | 3 4 5
  pad_end_symmetric(in.data(), {2, 1, 3}, out.data(), {4, 2, 5});
  const std::vector<int> a{0, 1, 2, 2, 1}, b{3, 4, 5, 5, 4};
  for (int t = 0; t < 4; ++t)
    for (int y = 0; y < 2; ++y)
      CHECK(std::vector<int>(out.begin() + (t * 2 + y) * 5, out.begin() + (t * 2 + y) * 5 + 5) ==
            (t == 0 || t == 3 ? a : b));
}

TEST_CASE("crops: patches are flipped first and cut then") {
  std::vector<uint8_t> crop(2 * 4 * 4);
  std::iota(crop.begin(), crop.end(), uint8_t(0));
  std::array<float, 4> out{};
  PatchDraw d;
  d.corner = {1, 0, 1};
  cut_patch(crop.data(), {2, 4, 4}, d, {1, 2, 2}, out.data());
  CHECK(out == std::array<float, 4>{17, 18, 21, 22});
  d.flip = PatchDraw::rows;
  cut_patch(crop.data(), {2, 4, 4}, d, {1, 2, 2}, out.data());
  CHECK(out == std::array<float, 4>{29, 30, 25, 26});
  d.flip = PatchDraw::columns;
  cut_patch(crop.data(), {2, 4, 4}, d, {1, 2, 2}, out.data());
  CHECK(out == std::array<float, 4>{18, 17, 22, 21});
}

TEST_CASE("crops: the centre patch of an odd size follows floor(size/2) - floor(patch/2)") {
  CHECK(centre_patch({64, 65, 5}, {32, 32, 2}).corner == Extent3{16, 16, 1});
}

TEST_CASE("crops: drawn patches cover every corner, each flip a third of the time, and switches switch") {
  Random random(3);
  std::array<int, 3> flips{};
  std::array<std::set<int64_t>, 3> corners;
  for (int i = 0; i < 3000; ++i) {
    const PatchDraw d = draw_patch(random, {64, 64, 64}, {32, 32, 32}, {});
    ++flips[size_t(d.flip)];
    for (size_t a = 0; a < 3; ++a) corners[a].insert(d.corner[a]);
  }
  CHECK(random.position() == 12000);
  for (int f : flips) CHECK(std::abs(f - 1000) < 110);  // 4 sigma
  for (const auto& c : corners) {
    CHECK(c.size() == 33);
    CHECK(*c.begin() == 0);
    CHECK(*c.rbegin() == 32);
  }
  const PatchDraw still = draw_patch(random, {64, 64, 64}, {32, 32, 32}, {false, false});
  CHECK(still.flip == PatchDraw::none);
  CHECK(still.corner == Extent3{16, 16, 16});
}
