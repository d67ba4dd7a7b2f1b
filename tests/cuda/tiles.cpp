// SPDX-License-Identifier: BSD-3-Clause
// Prediction in tiles against data/tiles.hpp, bit for bit: published and fast plans, tiles beyond the edges.
#include "voxgrad/cuda/kernels/tiles.hpp"

#include "emulated.hpp"
#include "numbers.hpp"
#include "voxgrad/data/tiles.hpp"

using namespace voxgrad;
using namespace voxgrad::cuda;
using test::Guarded;

namespace {

void check_plan(const data::TilePlan& plan, VoxelType type) {
  const data::Extent3 movie = plan.movie(), tile = plan.tile();
  CAPTURE(movie[0], movie[1], movie[2], tile[0], tile[1], tile[2], int(type));
  test::Numbers numbers(size_t(data::voxel_count(movie)));
  test::Vector<uint16_t> u16(size_t(data::voxel_count(movie)));
  test::Vector<uint8_t> u8(u16.size());
  test::Vector<float> f32(u16.size()), seen(u16.size());
  ResidentVolume volume{f32.data(), nullptr, nullptr, nullptr, {int32_t(movie[0]), int32_t(movie[1]), int32_t(movie[2])}, 3.3f, 0.7f, type, VoxelType::u8};
  if (type == VoxelType::u8) volume.voxels = u8.data();
  if (type == VoxelType::u16) volume.voxels = u16.data();
  for (size_t i = 0; i < u16.size(); ++i) {
    u16[i] = uint16_t(numbers.below(65536)), u8[i] = uint8_t(numbers.below(256)), f32[i] = numbers.between(-5, 5);
    seen[i] = ((type == VoxelType::u8 ? float(u8[i]) : type == VoxelType::u16 ? float(u16[i]) : f32[i]) - volume.offset) * volume.scale;
  }
  const size_t voxels = size_t(data::voxel_count(tile));
  Guarded<float> x(2 * voxels), sum(seen.size()), count(seen.size()), probability(seen.size());
  Guarded<bf16> low(2 * voxels);
  Guarded<uint8_t> mask(seen.size());
  for (size_t i = 0; i < seen.size(); ++i) sum[i] = count[i] = 0;
  test::Vector<float> want(voxels), weights[3];
  test::Vector<TileStart> starts(2);
  data::TileSum cpu(plan);
  for (int64_t i = 0; i < plan.size(); ++i) {
    const auto spans = plan.spans(i), next = plan.spans((i + 1) % plan.size());
    TileAccumulate::Args add{};
    for (int a = 0; a < 3; ++a) {
      const data::TileSpan& s = *spans[size_t(a)];
      starts[0].at[a] = int32_t(s.start), starts[1].at[a] = int32_t(next[size_t(a)]->start);
      add.tile[a] = int32_t(tile[size_t(a)]), add.movie[a] = int32_t(movie[size_t(a)]), add.start[a] = int32_t(s.start);
      add.begin[a] = int32_t(s.out.begin), add.end[a] = int32_t(s.out.end);
      weights[a].assign(s.weights.begin(), s.weights.end());
      add.weight[a] = weights[a].data();
    }
    const int32_t t0 = add.tile[0], t1 = add.tile[1], t2 = add.tile[2];
    test::run<ExtractTile<float>>({2, {t0, t1, t2}, volume, starts.data(), x.data()}, x);
    data::gather_tile(plan, i, [&](int64_t t) { return seen.data() + t * movie[1] * movie[2]; }, want.data());
    for (size_t v = 0; v < voxels; ++v) REQUIRE(x[v] == want[v]);
    if (i % 5 == 0) {
      test::run<ExtractTile<bf16>>({2, {t0, t1, t2}, volume, starts.data(), low.data()}, low);
      for (size_t v = 0; v < 2 * voxels; ++v) REQUIRE(low[v].bits == bf16(x[v]).bits);
    }
    cpu.add(i, want.data());
    if (add.end[0] <= add.begin[0] || add.end[1] <= add.begin[1] || add.end[2] <= add.begin[2]) {
      REQUIRE(TileAccumulate::blocks(add) == 0);
      continue;
    }
    add.prediction = want.data(), add.sum = sum.data(), add.count = count.data();
    test::run<TileAccumulate>(add, sum, count);
  }
  const int64_t n = int64_t(seen.size());
  const float threshold = 0.25f;
  test::run<TileFinish>({n, sum.data(), nullptr, probability.data(), mask.data(), threshold}, probability, mask);
  for (int64_t t = 0; t < movie[0]; ++t) {
    const std::vector<float> frame = cpu.take();
    for (size_t k = 0; k < frame.size(); ++k) {
      const size_t i = size_t(t) * frame.size() + k;
      REQUIRE(probability[i] == frame[k]);
      REQUIRE(mask[i] == (frame[k] > threshold));
      REQUIRE(count[i] == Approx(1));
    }
  }
}

}  // namespace

TEST_CASE("tiles on the GPU: the published plan, useless windows too") {
  check_plan(data::sliding_plan({5, 9, 4}, 8, 4), VoxelType::f32);
  check_plan(data::sliding_plan({1, 17, 8}, 8, 4, true), VoxelType::u8);
}
TEST_CASE("tiles on the GPU: larger tiles that meet or blend") {
  check_plan(data::fast_plan({19, 21, 5}, {16, 16, 16}, 4, 0, 4), VoxelType::u16);
  check_plan(data::fast_plan({3, 30, 22}, {16, 16, 12}, 4, 6, 4), VoxelType::f32);
}

TEST_CASE("tiles on the GPU: weight 1, sums divided by counts, logits") {
  const int32_t starts[2] = {-1, 1};
  Guarded<float> sum(4), count(4), p(4);
  const test::Vector<float> logits{9, 0, 2, -1, 1, 9};
  for (size_t i = 0; i < 4; ++i) sum[i] = count[i] = 0;
  for (int k = 0; k < 2; ++k) {  // movie of 4: positions -1..1 and 1..3, cut to 0..2 and 1..3
    const int32_t s = starts[k], begin = s < 0 ? 0 : s, end = k == 0 ? 2 : 3;
    test::run<TileAccumulate>({{1, 1, 3}, {1, 1, 4}, {0, 0, s}, {0, 0, begin}, {1, 1, end}, {nullptr, nullptr, nullptr}, logits.data() + 3 * k, true,
                               sum.data(), count.data()}, sum, count);
  }
  test::run<TileFinish>({4, sum.data(), count.data(), p.data(), nullptr, 0}, p);
  const auto sigmoid = [](double z) { return 1 / (1 + std::exp(-z)); };
  REQUIRE(p[0] == Approx(0.5));
  REQUIRE(p[1] == Approx((sigmoid(2) + sigmoid(-1)) / 2));
  REQUIRE(p[2] == Approx(sigmoid(1)));
  REQUIRE(p[3] == 0);  // nothing was added there
}
