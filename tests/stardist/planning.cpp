// SPDX-License-Identifier: BSD-3-Clause
// Tiles, blocks and the threshold search: against the Python packages, and by what they promise.

#include <cmath>
#include <map>

#include "../catch.hpp"
#include "../message.hpp"
#include "golden.hpp"
#include "voxgrad/core/random.hpp"
#include "voxgrad/stardist/blocks.hpp"
#include "voxgrad/stardist/threshold_search.hpp"
#include "voxgrad/stardist/tiles.hpp"

using namespace voxgrad;
using namespace voxgrad::stardist;
using test::geometry_golden;
using test::message;

namespace {

using Row = std::vector<int64_t>;

/// Rows of `columns` numbers, grouped by their first `keys`.
std::map<Row, std::vector<Row>> grouped(const std::vector<double>& values, size_t columns, size_t keys) {
  std::map<Row, std::vector<Row>> out;
  for (size_t i = 0; i < values.size(); i += columns) {
    Row row;
    for (size_t c = 0; c < columns; ++c) row.push_back(int64_t(values[i + c]));
    out[Row(row.begin(), row.begin() + std::ptrdiff_t(keys))].emplace_back(row.begin() + std::ptrdiff_t(keys), row.end());
  }
  return out;
}

}  // namespace

TEST_CASE("tiles: the package's, and each voxel written once") {
  for (const auto& [key, expected] : grouped(geometry_golden("tiles").values, 8, 4)) {
    std::vector<Row> found;
    for (const AxisTile& t : axis_tiles(key[0], key[1], key[2], key[3])) found.push_back({t.read.begin, t.read.end, t.write.begin, t.write.end});
    INFO("axis " << key[0] << ", " << key[1] << " tiles");
    CHECK(found == expected);
  }
  for (int64_t blocks = 1; blocks < 40; ++blocks)
    for (int64_t n_tiles : {1, 2, 3, 7, 50})
      for (int64_t overlap : {0, 1, 4}) {
        int64_t done = 0;
        for (const AxisTile& t : axis_tiles(blocks * 4, n_tiles, 4, overlap)) {
          CHECK((t.write.begin == done && t.read.begin >= 0 && t.read.end <= blocks * 4 && t.read.begin % 4 == 0));
          CHECK((t.read.begin == 0 || t.crop().begin >= 4 * overlap));
          CHECK((t.read.end == blocks * 4 || t.read.end - t.write.end == 4 * overlap));
          done = t.write.end;
        }
        CHECK(done == blocks * 4);
      }
  CHECK(guess_n_tiles(355, 64, 4) == 4);
  CHECK(message<UsageError>([] { axis_tiles(30, 2, 4, 1); }) == "tiles: an axis of 30 voxels is no multiple of 4. Pad it first.");
  CHECK(message<UsageError>([] { axis_tiles(32, 0, 4, 1); }) ==
        "tiles: 0 tiles with an overlap of 1 blocks (expected at least 1 tile and an overlap of 0)");
}

TEST_CASE("blocks: the package's where it finds any") {
  int compared = 0;
  for (const auto& [key, expected] : grouped(geometry_golden("blocks").values, 10, 6)) {
    std::vector<Row> found;
    for (const Block& b : plan_blocks(key[0], {key[1], key[2], key[3], key[4]})) found.push_back({b.read.begin, b.read.end, b.context_begin, b.context_end});
    INFO("axis " << key[0] << " block " << key[1] << " overlap " << key[2] << " context " << key[3] << " grid " << key[4]);
    CHECK(found == expected);
    ++compared;
  }
  CHECK(compared > 50);
}

TEST_CASE("blocks: any numbers give a valid plan, or say which block size does") {
  Random random(3);
  int planned = 0, refused = 0;
  for (int i = 0; i < 2000; ++i) {
    const auto draw = [&](int64_t low, int64_t high) { return low + int64_t(random.uniform() * double(high - low)); };
    const int64_t n = draw(1, 300);
    BlockOptions o{draw(1, 130), draw(0, 30), draw(0, 16), draw(1, 9)};
    const auto valid = [&] {
      const std::vector<Block> blocks = plan_blocks(n, o);
      const auto up = [&](int64_t v) { return (v + o.grid - 1) / o.grid * o.grid; };
      bool ok = valid_blocks(blocks, n, up(o.min_overlap));
      for (const Block& b : blocks) {
        ok = ok && b.read.begin % o.grid == 0 && b.read.size() <= std::max(up(o.block_size), o.grid) && b.inner() > 0;
        ok = ok && (b.read.begin == 0 || b.context_begin >= up(o.context)) && (b.read.end == n || b.context_end >= up(o.context));
      }
      return ok;
    };
    INFO("axis " << n << " block " << o.block_size << " overlap " << o.min_overlap << " context " << o.context << " grid " << o.grid);
    bool ok = false;
    try {
      ok = valid();
      ++planned;
    } catch (const UsageError& e) {
      const std::string text = e.what(), before = "Use a block size of ";
      REQUIRE(text.find(before) != std::string::npos);
      o.block_size = std::atoll(text.c_str() + text.find(before) + before.size());
      ok = valid();
      ++refused;
    }
    CHECK(ok);
  }
  CHECK(planned > 500);
  CHECK(refused > 100);
  CHECK(plan_blocks(100, {64, 24, 8, 8}).size() == 3);  // the package stops with an assertion here
  CHECK(message<UsageError>([] { plan_blocks(100, {20, 16, 8, 1}); }).find("blocks: an axis of 100 voxels cannot be covered by blocks of 20 "
        "with an overlap of 16 and a context of 8 on each side. Use a block size of ") == 0);
  CHECK(message<UsageError>([] { plan_blocks(0, {20, 16, 8, 1}); }).find("blocks: axis 0,") == 0);
}

TEST_CASE("blocks: exactly one block keeps an object smaller than the overlap") {
  for (const BlockOptions& o : {BlockOptions{40, 12, 4, 1}, {64, 24, 8, 8}, {33, 9, 0, 3}}) {
    const int64_t n = 200;
    const std::vector<Block> blocks = plan_blocks(n, o);
    for (int64_t size = 1; size < o.min_overlap; ++size)
      for (int64_t at = 0; at + size <= n; ++at) {
        int owners = 0;
        for (size_t i = 0; i < blocks.size(); ++i) {
          const Range w = blocks[i].write();
          const Range seen{std::max(at, w.begin) - w.begin, std::min(at + size, w.end) - w.begin};
          if (seen.size() > 0) owners += owner_of(blocks, i, seen) == Owner::this_block;
        }
        CHECK(owners == 1);
      }
  }
  const std::vector<Block> blocks = plan_blocks(200, {40, 12, 4, 1});
  CHECK(message<Error>([&] { (void)owner_of(blocks, 1, {0, 32}); }).find("is cut by a block at ") != std::string::npos);
  CHECK(owner_of(plan_blocks(30, {40, 12, 4, 1}), 0, {0, 30}) == Owner::this_block);  // one block sees all of it
}

TEST_CASE("threshold search: the thresholds that SciPy's golden section tries") {
  using Score = double (*)(double);
  const Score scores[] = {[](double x) { return 1 - std::abs(x - 0.6); }, [](double x) { return std::fmod(std::nearbyint(8 * x), 3.0); },
                          [](double) { return 0.25; }, [](double x) { return 1 - (x < 0.45 ? 0.3 * (0.45 - x) : x - 0.45); },
                          [](double x) { return x; }};
  const auto rows = geometry_golden("searches").values;
  for (size_t row = 0; row < rows.size(); row += 34) {
    const double most = rows[row + 1];
    const Score f = scores[size_t(rows[row])];
    INFO("function " << rows[row] << ", largest probability " << most);
    const ThresholdSearch s = search_threshold([&](double t) { return t == most ? 0.0 : f(t); }, most);
    REQUIRE(s.evaluated.size() == size_t(rows[row + 2]));
    double best = s.evaluated[0].second;
    for (size_t i = 0; i < s.evaluated.size(); ++i) {
      CHECK(s.evaluated[i].first == Approx(rows[row + 3 + i]).epsilon(1e-7));
      best = std::max(best, s.evaluated[i].second);
    }
    CHECK(s.end == Approx(rows[row + 33]).epsilon(1e-7));
    CHECK((s.threshold >= most / 2 && s.threshold <= most && std::abs(s.threshold - s.end) < 0.02));
    CHECK(s.score <= best);
  }
  CHECK(message<UsageError>([] { search_threshold([](double) { return 0.0; }, 0); }) ==
        "threshold search: the largest probability is 0 (expected above 0, up to 1). Did the network predict anything?");
  CHECK(message<UsageError>([] { search_threshold([](double) { return 0.0; }, 1, 0); }).find("tolerance 0") != std::string::npos);
  CHECK(message<UsageError>([] { search_threshold([](double) { return std::nan(""); }, 0.8); }) ==
        "threshold search: the score at 0.4 is not a number");
}

TEST_CASE("planning: the large golden set") {
  const std::string tiling = test::shared_golden("tiling.h5", "tiles of three images"), utils = test::shared_golden("utils.h5", "five block plans"),
                    optimized = test::shared_golden("optimize_thresholds.h5", "the thresholds of a search");
  if (tiling.empty() || utils.empty() || optimized.empty()) return;
  {
    const io::H5File file(tiling);
    for (const std::string& name : file.children("/")) {
      const std::string group = "/" + name;
      const auto shape = file.attribute<int64_t>(group, "shape"), tiles = file.attribute<int64_t>(group, "n_tiles"),
                 block = file.attribute<int64_t>(group, "block_sizes"), overlap = file.attribute<int64_t>(group, "n_block_overlaps");
      const auto rows = file.read<int64_t>(group + "/tiles");  // (tile, 5, 4)
      std::vector<std::vector<AxisTile>> axes;
      for (size_t a = 0; a < 4; ++a) axes.push_back(axis_tiles(shape[a], tiles[a], block[a], overlap[a]));
      std::vector<int64_t> found;
      for (const AxisTile& z : axes[0])
        for (const AxisTile& y : axes[1])
          for (const AxisTile& x : axes[2])
            for (const AxisTile& c : axes[3])
              for (int part = 0; part < 5; ++part)
                for (const AxisTile* t : {&z, &y, &x, &c})
                  found.push_back(part == 0   ? t->read.size()
                                  : part == 1 ? t->crop().begin
                                  : part == 2 ? t->crop().end
                                  : part == 3 ? t->write.begin
                                              : t->write.end);
      CHECK(found == rows);
    }
  }
  {
    const io::H5File file(utils);
    for (const std::string& name : file.children("/block_cover")) {
      const std::string set = "/block_cover/" + name;
      const auto o = file.attribute<int64_t>(set, "size_block_overlap_context_grid");
      std::vector<int64_t> found;
      for (const Block& b : plan_blocks(o[0], {o[1], o[2], o[3], o[4]})) {
        const Range w = b.write();
        for (const int64_t v : {b.read.begin, b.read.end, b.context_begin, b.context_end, w.begin, w.end, b.context_begin, b.read.size() - b.context_end})
          found.push_back(v);
      }
      CHECK(found == file.read<int64_t>(set));
    }
  }
  const io::H5File file(optimized);
  const double most = file.attribute<double>("/", "max_prob")[0];
  const auto tried = file.read<double>("/evaluated_prob_thresh_nms0.3");
  // Any score with the same order at the thresholds tried takes the same path; this one has its maximum where theirs had.
  const ThresholdSearch s = search_threshold(
      [&](double t) { return t == most ? 0.0 : 1 - (t < 0.6235 ? 0.3 * (0.6235 - t) : t - 0.6235); }, most);
  REQUIRE(s.evaluated.size() == tried.size());
  for (size_t i = 0; i < tried.size(); ++i) CHECK(s.evaluated[i].first == Approx(tried[i]).epsilon(1e-12));
  CHECK(s.end == Approx(file.attribute<double>("/", "best_prob")[0]).epsilon(1e-12));
}
