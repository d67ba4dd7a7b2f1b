// SPDX-License-Identifier: BSD-3-Clause
// Tile geometry against the published numbers (reference-pipeline.md 6 and 12.8) and its two promises:
// weights that add up to one everywhere, and block-wise sums equal to whole ones.
#include "voxgrad/data/tiles.hpp"

#include <functional>

#include "catch.hpp"

using namespace voxgrad;
using data::Extent3;
using data::TilePlan;

namespace {

// Sums every tile with the given value per position; returns the whole movie.
template <class ValueAt>
std::vector<float> sum_tiles(const TilePlan& plan, ValueAt value_at) {
  data::TileSum sum(plan);
  std::vector<float> movie, tile(size_t(data::voxel_count(plan.tile())));
  const auto take_ready = [&] {
    while (sum.ready() > 0) {
      const std::vector<float> frame = sum.take();
      movie.insert(movie.end(), frame.begin(), frame.end());
    }
  };
  for (int64_t i = 0; i < plan.size(); ++i) {
    value_at(i, tile);
    sum.add(i, tile.data());
    take_ready();
  }
  return movie;
}

std::vector<float> ramp_movie(const Extent3& n) {
  std::vector<float> movie(static_cast<size_t>(data::voxel_count(n)));
  for (size_t i = 0; i < movie.size(); ++i) movie[i] = float(i % 8191) + 1;
  return movie;
}

// Gathers each tile from the movie and sums it again: the identity, if the geometry is right.
std::vector<float> round_trip(const TilePlan& plan, const std::vector<float>& movie) {
  const int64_t frame_size = plan.movie()[1] * plan.movie()[2];
  return sum_tiles(plan, [&](int64_t i, std::vector<float>& tile) {
    const data::Range source = plan.source_frames(plan.row_of(i));
    gather_tile(
        plan, i,
        [&](int64_t t) {
          REQUIRE((t >= source.begin && t < source.end));
          return movie.data() + t * frame_size;
        },
        tile.data());
  });
}

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "nothing thrown";
}

}  // namespace

TEST_CASE("mirror_index repeats the edge sample, as often as needed") {
  std::vector<int64_t> shown;
  for (int64_t i = -7; i < 12; ++i) shown.push_back(data::mirror_index(i, 5));
  CHECK(shown == std::vector<int64_t>{3, 4, 4, 3, 2, 1, 0, 0, 1, 2, 3, 4, 4, 3, 2, 1, 0, 0, 1});
  for (int64_t i = -70; i < 70; ++i) CHECK(data::mirror_index(i, 1) == 0);
  CHECK(data::mirror_index(-64, 3) == 2);
}

TEST_CASE("window starts are the published ones") {
  CHECK(data::window_starts(33) == std::vector<int64_t>{0, 32, 64, 96, 97});
  CHECK(data::window_starts(64) == std::vector<int64_t>{0, 32, 64, 96, 128});
  const auto a = data::window_starts(512), b = data::window_starts(600);
  CHECK(std::vector<int64_t>(a.end() - 3, a.end()) == std::vector<int64_t>{512, 544, 576});
  CHECK(std::vector<int64_t>(b.end() - 3, b.end()) == std::vector<int64_t>{608, 640, 664});
}

TEST_CASE("window counts and work of the published table") {
  struct Row {
    Extent3 movie;
    int64_t fed, matter;
    double fed_work, matter_work;
  };
  const Row rows[] = {{{600, 512, 512}, 7942, 5780, 13.24, 9.63},
                      {{1000, 512, 512}, 12635, 9537, 12.64, 9.54},
                      {{600, 256, 256}, 2662, 1620, 17.75, 10.80},
                      {{64, 64, 64}, 125, 27, 125, 27}};
  for (const Row& row : rows) {
    const TilePlan all = data::sliding_plan(row.movie, 64, 32, true), useful = data::sliding_plan(row.movie);
    CHECK(all.size() == row.fed);
    CHECK(useful.size() == row.matter);
    CHECK(data::work_factor(all) == Approx(row.fed_work).margin(0.005));
    CHECK(data::work_factor(useful) == Approx(row.matter_work).margin(0.005));
  }
}

TEST_CASE("every voxel lies in exactly eight windows, whatever the size") {
  const int64_t sizes[] = {1, 2, 5, 31, 32, 33, 63, 64, 65, 97, 128, 200};
  for (int64_t n : sizes) {
    const TilePlan plan = data::sliding_plan({n, 1, 1});
    std::vector<int> count(size_t(n), 0);
    for (int64_t r = 0; r < plan.rows(); ++r)
      for (int64_t t = plan.axis(0)[size_t(r)].out.begin; t < plan.axis(0)[size_t(r)].out.end; ++t)
        ++count[size_t(t)];
    CHECK(count == std::vector<int>(size_t(n), 2));
    CHECK(plan.rows() == int64_t(data::window_starts(n).size()) - 2);
  }
  for (const Extent3& n : {Extent3{1, 2, 5}, Extent3{31, 33, 63}, Extent3{65, 5, 70}})
    for (bool all : {false, true}) {
      const TilePlan plan = data::sliding_plan(n, 64, 32, all);
      const auto ones =
          sum_tiles(plan, [](int64_t, std::vector<float>& tile) { tile.assign(tile.size(), 8.0f); });
      CHECK(ones == std::vector<float>(size_t(data::voxel_count(n)), 8.0f));  // sum of 8 eighths of 8
    }
}

TEST_CASE("windows come T-major and useless ones are exactly those in the padding") {
  const TilePlan all = data::sliding_plan({33, 10, 64}, 64, 32, true);
  CHECK(all.spans(0)[0]->start == -64);
  CHECK(all.spans(1)[2]->start == -32);
  CHECK(all.spans(5)[1]->start == -32);
  CHECK(all.spans(all.row_size())[0]->start == -32);
  for (int a = 0; a < 3; ++a)
    for (size_t i = 0; i < all.axis(a).size(); ++i)
      CHECK((all.axis(a)[i].out.size() == 0) == (i == 0 || i + 1 == all.axis(a).size()));
}

TEST_CASE("gathering and summing gives the movie back, exactly, from the frames that a row may read") {
  for (const Extent3& n : {Extent3{1, 2, 5}, Extent3{70, 33, 6}, Extent3{150, 9, 65}}) {
    const auto movie = ramp_movie(n);
    CHECK(round_trip(data::sliding_plan(n), movie) == movie);
    CHECK(round_trip(data::sliding_plan(n, 64, 32, true), movie) == movie);
    CHECK(round_trip(data::fast_plan(n, {64, 64, 64}, 16), movie) == movie);
  }
}

TEST_CASE("fast tiles: weights add up to one, each voxel far enough inside, blended or not") {
  for (int64_t n : {1, 2, 5, 31, 33, 63, 65, 96, 97, 200, 515})
    for (int64_t tile : {64, 96, 128})
      for (int64_t halo : {0, 8, 16})
        for (int64_t blend : {int64_t(0), halo, 2 * halo}) {
          const TilePlan plan = data::fast_plan({n, 1, 1}, {tile, 64, 64}, halo, blend);
          CHECK(plan.tile()[0] % 32 == 0);
          std::vector<double> sum(size_t(n), 0);
          for (const data::TileSpan& s : plan.axis(0))
            for (int64_t p = s.out.begin; p < s.out.end; ++p) {
              sum[size_t(p)] += s.weights[size_t(p - s.out.begin)];
              const int64_t inside = std::min(p - s.start, s.start + plan.tile()[0] - 1 - p);
              CHECK(inside >= halo - (blend + 1) / 2);
            }
          for (double w : sum) CHECK(w == Approx(1.0).epsilon(1e-6));
          for (const data::TileSpan& s : plan.axis(0)) CHECK((s.start + halo) % 32 == 0);  // one pooling grid for all
        }
}

TEST_CASE("the cheapest tiles compute the fewest voxels of all that fit") {
  for (const Extent3& movie : {Extent3{600, 512, 512}, Extent3{128, 160, 160}, Extent3{5, 700, 33}})
    for (int64_t most : {1 << 18, 1 << 20, 1 << 22}) {
      const auto work = [&](const Extent3& tile) {
        double w = 1;
        for (size_t a = 0; a < 3; ++a) w *= double(tile[a] * data::tile_count(movie[a], tile[a], 16, 32));
        return w;
      };
      const Extent3 best = data::cheapest_tiles(movie, 16, 32, [&](const Extent3& t) { return data::voxel_count(t) <= most; });
      REQUIRE(data::voxel_count(best) <= most);
      double least = work(best);
      for (int64_t t = 64; t <= 640; t += 32)
        for (int64_t y = 64; y <= 768; y += 32)
          for (int64_t x = 64; x <= 768; x += 32)
            if (t * y * x <= most) least = std::min(least, work({t, y, x}));
      CHECK(work(best) == least);
      CHECK(data::fast_plan(movie, best, 16).tile() == best);  // nothing left to shrink
      CHECK(double(data::fast_plan(movie, best, 16).size() * data::voxel_count(best)) == work(best));
    }
  CHECK(data::cheapest_tiles({9, 9, 9}, 16, 32, [](const Extent3&) { return false; }) == Extent3{0, 0, 0});
}

TEST_CASE("fast tiles shrink for small movies and cost less than the published windows") {
  CHECK(data::fast_plan({5, 20, 600}, {64, 128, 128}, 16).tile() == Extent3{64, 64, 128});
  CHECK(data::fast_plan({20, 20, 20}, {128, 128, 128}, 16).size() == 1);
  // Two tiles of 96 hold 128 positions with their context; two of 128 would compute a third more.
  CHECK(data::fast_plan({20, 128, 160}, {128, 128, 128}, 16).tile() == Extent3{64, 96, 128});
  CHECK(data::work_factor(data::fast_plan({600, 512, 512}, {128, 128, 128}, 16)) == Approx(3.36));  // 9.63 as published
  CHECK(data::work_factor(data::fast_plan({600, 512, 512}, {160, 160, 160}, 16)) == Approx(2.083).epsilon(1e-3));
}

TEST_CASE("memory stays bounded: a long movie is summed with at most one tile's depth of open frames") {
  const TilePlan plan = data::sliding_plan({400, 4, 4});
  data::TileSum sum(plan);
  const std::vector<float> tile(64 * 64 * 64, 1.0f);
  for (int64_t i = 0; i < plan.size(); ++i) {
    sum.add(i, tile.data());
    while (sum.ready() > 0) sum.take();
    CHECK(plan.source_frames(plan.row_of(i)).size() <= 64);
    CHECK(sum.first() >= std::max<int64_t>(0, 32 * plan.row_of(i) - 32));
  }
  CHECK(sum.first() == 400);
}

TEST_CASE("tiles refuse wrong geometry and wrong order, and say what was wrong") {
  CHECK(message_of([] {
          data::sliding_plan({10, 10, 10}, 64, 16);
        }) == "sliding window: window 64 must be twice the step 16");
  CHECK(message_of([] {
          data::sliding_plan({10, 0, 10});
        }) == "sliding window: movie is 10x0x10, all extents must be positive");
  CHECK(message_of([] {
          data::fast_plan({10, 10, 10}, {64, 60, 64});
        }) == "tiles: extents 64x60x64 must be multiples of 32");
  CHECK(message_of([] {
          data::fast_plan({10, 10, 10}, {64, 64, 64}, 32);
        }) == "tiles: an overlap of 32 on each side leaves less than 32 of a tile of 64");
  CHECK(message_of([] {
          data::fast_plan({10, 10, 10}, {64, 64, 64}, 8, 20);
        }) == "tiles: blending over 20 voxels needs an overlap of at least half that on each side, not 8");
  const TilePlan plan = data::sliding_plan({10, 10, 10});
  const std::vector<float> tile(64 * 64 * 64, 1.0f);
  data::TileSum sum(plan);
  CHECK(message_of([&] { sum.add(1, tile.data()); }) == "tile sum: tile 1 comes out of order");
  CHECK(message_of([&] { sum.take(); }) == "tile sum: frame 0 is not complete yet");
}
