// SPDX-License-Identifier: BSD-3-Clause
// Prediction of whole movies against the definition, written out: pad, every window, add up, divide.

#include "common/predictor.hpp"

#include <algorithm>

#include "apps/throws.hpp"
#include "catch.hpp"
#include "voxgrad/autograd/record.hpp"
#include "voxgrad/core/parallel.hpp"
#include "voxgrad/core/trace.hpp"

using namespace voxgrad;
using namespace voxgrad::app;
using data::Extent3;
using Movie = data::Volume<float>;

namespace {

/// Two stages of width 2 after a few steps of training statistics, so that the two modes of batch norm differ.
std::unique_ptr<models::UNet3d> small_network() {
  models::UNet3dOptions o;
  o.layers = 2;
  o.width = 2;
  auto net = std::make_unique<models::UNet3d>(o, Random(11));
  NoGrad no_grad;
  net->train();
  Random random(5);
  for (int i = 0; i < 3; ++i) {
    Tensor x(Shape{2, 8, 8, 8, 1});
    for (float& v : x.mutable_span<float>()) v = float(random.uniform() * 2);
    net->logits(x);
  }
  net->eval();
  return net;
}

/// The number of threads, for a scope.
struct Threads {
  int before = threads();
  explicit Threads(int count) { set_threads(count); }
  ~Threads() { set_threads(before); }
};

Movie noise(const Extent3& extent, uint64_t seed = 3) {
  Movie m(extent);
  Random random(seed);
  for (float& v : m.voxels) v = float(random.uniform());
  return m;
}

int64_t mirror(int64_t i, int64_t n) {  // 3 4 4 3 2 1 0 | 0 1 2 3 4 | 4 3 2
  const int64_t m = ((i % (2 * n)) + 2 * n) % (2 * n);
  return m < n ? m : 2 * n - 1 - m;
}

/// The voxels from `start` (in positions of the movie) on, mirrored at its borders.
std::vector<float> cut(const Movie& m, const Extent3& start, const Extent3& size) {
  std::vector<float> out;
  for (int64_t t = 0; t < size[0]; ++t)
    for (int64_t y = 0; y < size[1]; ++y)
      for (int64_t x = 0; x < size[2]; ++x)
        out.push_back(m.frame(mirror(start[0] + t, m.extent[0]))[mirror(start[1] + y, m.extent[1]) * m.extent[2] +
                                                                 mirror(start[2] + x, m.extent[2])]);
  return out;
}

std::vector<int64_t> starts(int64_t n, int64_t window) {
  std::vector<int64_t> s;
  for (int64_t i = 0; i < n + window; i += window / 2) s.push_back(i);
  s.push_back(n + window);
  return s;
}

/// Section 6.1 as it stands: all windows, also those in the padding, T outermost, in batches.
Movie published(models::UNet3d& net, const Movie& m, int64_t window, size_t batch) {
  NoGrad no_grad;
  std::vector<Extent3> windows;
  for (int64_t t : starts(m.extent[0], window))
    for (int64_t y : starts(m.extent[1], window))
      for (int64_t x : starts(m.extent[2], window)) windows.push_back({t - window, y - window, x - window});
  Movie sum(m.extent);
  std::vector<int> count(sum.voxels.size());
  for (size_t first = 0; first < windows.size(); first += batch) {
    const size_t n = std::min(batch, windows.size() - first);
    std::vector<float> input;
    for (size_t i = 0; i < n; ++i) {
      const auto one = cut(m, windows[first + i], {window, window, window});
      input.insert(input.end(), one.begin(), one.end());
    }
    const Tensor p = net(Tensor::from(input, {int64_t(n), window, window, window, 1}));
    const float* out = p.span<float>().data();
    for (size_t i = 0; i < n; ++i)
      for (int64_t t = 0; t < window; ++t)
        for (int64_t y = 0; y < window; ++y)
          for (int64_t x = 0; x < window; ++x, ++out) {
            const Extent3 at{windows[first + i][0] + t, windows[first + i][1] + y, windows[first + i][2] + x};
            bool inside = true;
            for (size_t a = 0; a < 3; ++a) inside = inside && at[a] >= 0 && at[a] < m.extent[a];
            if (!inside) continue;
            const size_t v = size_t((at[0] * m.extent[1] + at[1]) * m.extent[2] + at[2]);
            sum.voxels[v] += *out;
            ++count[v];
          }
  }
  CHECK(std::all_of(count.begin(), count.end(), [](int c) { return c == 8; }));
  for (float& v : sum.voxels) v /= 8;
  return sum;
}

Movie run(models::UNet3d& net, const Movie& m, const PredictOptions& options) {
  Movie out(m.extent);
  int64_t next = 0;
  predict_movie(net, plan_prediction(net, m.extent, options), options,
                [&](int64_t t, float* to) { std::copy_n(m.frame(t), m.frame_size(), to); },
                [&](int64_t t, const float* p) {
                  REQUIRE(t == next++);
                  std::copy_n(p, m.frame_size(), out.frame(t));
                });
  REQUIRE(next == m.extent[0]);
  return out;
}

float farthest(const Movie& a, const Movie& b) {
  REQUIRE(a.extent == b.extent);
  float d = 0;
  for (size_t i = 0; i < a.voxels.size(); ++i) d = std::max(d, std::abs(a.voxels[i] - b.voxels[i]));
  return d;
}

std::vector<std::vector<float>> buffers(models::UNet3d& net) {
  std::vector<std::vector<float>> all;
  for (const nn::Named& n : net.state())
    if (!n.learnable) all.emplace_back(n.tensor->span<float>().begin(), n.tensor->span<float>().end());
  return all;
}

}  // namespace

TEST_CASE("predict: the published windows, also on axes shorter than one and of odd length") {
  const auto net = small_network();
  for (const Extent3& extent : {Extent3{16, 16, 16}, Extent3{5, 17, 9}, Extent3{21, 3, 23}, Extent3{1, 1, 40}}) {
    INFO(extent[0] << "x" << extent[1] << "x" << extent[2]);
    const Movie m = noise(extent);
    PredictOptions o;
    o.window = 16;
    const Movie ours = run(*net, m, o), theirs = published(*net, m, 16, 1);
    CHECK(farthest(ours, theirs) == 0);  // to the bit: halves are exact, and skipped windows add nothing
    CHECK(*std::max_element(ours.voxels.begin(), ours.voxels.end()) > *std::min_element(ours.voxels.begin(), ours.voxels.end()) + 1e-3f);
  }
}

TEST_CASE("predict: batch statistics go over batches of all windows, and leave the running statistics alone") {
  const auto net = small_network(), copy = small_network();
  const Movie m = noise({9, 18, 13});
  PredictOptions o;
  o.window = 16;
  o.batch_statistics = true;
  o.batch = 7;
  const auto before = buffers(*net);
  const Movie ours = run(*net, m, o);
  CHECK((buffers(*net) == before));
  CHECK_FALSE(net->training());
  copy->train();
  const Movie theirs = published(*copy, m, 16, 7);
  CHECK((buffers(*copy) != before));  // the manual way moves them
  CHECK(farthest(ours, theirs) == 0);
  o.batch = 6;
  CHECK(farthest(run(*net, m, o), theirs) > 1e-5f);  // the batch matters in this mode
  o.batch_statistics = false;
  CHECK(farthest(run(*net, m, o), theirs) > 1e-4f);
}

TEST_CASE("predict: batch statistics take 128 windows at a time, useless ones too, unless told otherwise") {
  const auto net = small_network();
  PredictOptions o;
  o.window = 64;
  o.batch_statistics = true;
  const PredictPlan plan = plan_prediction(*net, {600, 256, 256}, o);
  CHECK(plan.tiles.size() == 2662);  // reference-pipeline.md 6.2
  CHECK(plan.batch == 128);
  o.batch_statistics = false;
  CHECK(plan_prediction(*net, {600, 256, 256}, o).tiles.size() == 1620);
  CHECK(plan_prediction(*net, {600, 256, 256}, o).batch * plan_prediction(*net, {600, 256, 256}, o).lanes >= 2);
}

TEST_CASE("predict: neither the batch size nor the number of threads changes the result") {
  const auto net = small_network();
  const Movie m = noise({19, 21, 12});
  PredictOptions o;
  o.window = 16;
  o.batch = 1;
  const Threads restore(1);
  const Movie one = run(*net, m, o);
  for (const int n : {1, 2, 3, 7})
    for (const int64_t batch : {1, 2, 5, 1000}) {
      set_threads(n);
      o.batch = batch;
      if (batch == 1 && n < 7) CHECK(plan_prediction(*net, m.extent, o).lanes == n);
      CHECK(farthest(run(*net, m, o), one) == 0);
    }
  PredictOptions fast;
  fast.fast = true;
  fast.tile = {12, 12, 12};
  fast.halo = 4;
  set_threads(1);
  const Movie tiles = run(*net, m, fast);
  set_threads(3);
  CHECK(plan_prediction(*net, m.extent, fast).lanes == 3);
  CHECK(farthest(run(*net, m, fast), tiles) == 0);
}

TEST_CASE("predict: each thread takes its own tiles where they suffice for all, else all work on one; memory has a say") {
  models::UNet3d net(models::UNet3dOptions{});
  const Threads restore(4);
  PredictOptions o;
  const auto lanes = [&](const Extent3& movie) { return plan_prediction(net, movie, o).lanes; };
  CHECK(lanes({200, 200, 200}) == 4);
  CHECK(lanes({1, 1, 1}) == 4);  // 8 windows
  set_threads(7);
  CHECK(lanes({1, 1, 1}) == 1);  // a round for one window alone would cost more
  set_threads(4);
  o.fast = true;
  CHECK(lanes({100, 100, 100}) == 1);  // one tile
  CHECK(lanes({600, 512, 512}) == 4);  // 80 tiles
  const PredictPlan four = plan_prediction(net, {600, 512, 512}, o);
  const uint64_t tile = tile_memory(net.options(), four.tiles.tile());
  o.memory = four.memory - 1;
  CHECK(lanes({600, 512, 512}) == 1);  // 3 of 4 threads working cost more than 4 that share
  o.memory = four.memory - 3 * tile - 1;
  const PredictPlan less = plan_prediction(net, {600, 512, 512}, o);
  CHECK(data::voxel_count(less.tiles.tile()) < data::voxel_count(four.tiles.tile()));
  CHECK(less.memory <= o.memory);
}

TEST_CASE("predict: the times add up") {
  const auto net = small_network();
  const Movie m = noise({19, 21, 12});
  PredictOptions o;
  o.window = 16;
  for (const int n : {1, 2}) {
    const Threads restore(n);
    int64_t events = 0;
    trace_sink() = [&](const TraceEvent&) { ++events; };  // ours comes on top, and goes
    const PredictTimes t = predict_movie(*net, plan_prediction(*net, m.extent, o), o,
                                         [&](int64_t f, float* to) { std::copy_n(m.frame(f), m.frame_size(), to); },
                                         [](int64_t, const float*) {});
    const int64_t seen = events;
    net->logits(Tensor::zeros(Shape{1, 4, 4, 4, 1}));
    CHECK(seen > 0);
    CHECK(events > seen);
    trace_sink() = nullptr;
    CHECK(t.lanes == n);
    CHECK(t.convolution > 0);
    CHECK(t.convolution < t.network);
    CHECK(t.input > 0);
    CHECK(t.output > 0);
    CHECK(t.network + t.input + t.output <= t.seconds * double(t.lanes) * 1.01);
    CHECK(t.convolution_share() > 0);
    CHECK(t.convolution_share() < 1);
  }
}

TEST_CASE("predict: a fast tile over the whole movie is the network on the mirrored movie") {
  const auto net = small_network();
  const Movie m = noise({11, 16, 7});
  PredictOptions o;
  o.fast = true;
  o.tile = {32, 32, 32};
  o.halo = 4;
  const PredictPlan plan = plan_prediction(*net, m.extent, o);
  REQUIRE(plan.tiles.size() == 1);
  const Extent3 tile = plan.tiles.tile();
  CHECK(tile == Extent3{20, 24, 16});  // movie and halo, up to multiples of four
  const Movie ours = run(*net, m, o);
  NoGrad no_grad;
  const Tensor p = (*net)(Tensor::from(cut(m, {-4, -4, -4}, tile), {1, tile[0], tile[1], tile[2], 1}));
  float d = 0;
  for (int64_t t = 0; t < 11; ++t)
    for (int64_t y = 0; y < 16; ++y)
      for (int64_t x = 0; x < 7; ++x)
        d = std::max(d, std::abs(ours.frame(t)[y * 7 + x] - p.span<float>()[size_t(((t + 4) * tile[1] + y + 4) * tile[2] + x + 4)]));
  CHECK(d == 0);
}

TEST_CASE("predict: fast tiles with enough overlap agree with one tile over everything") {
  // A voxel of two stages sees less than 32 to each side. The tiles start at -32, 0 and 32: on the grid of the pooling.
  const auto net = small_network();
  const Movie m = noise({4, 96, 8});
  PredictOptions o;
  o.fast = true;
  o.halo = 32;
  o.tile = {72, 96, 72};
  PredictOptions whole = o;
  whole.tile = {72, 160, 72};
  REQUIRE(plan_prediction(*net, m.extent, o).tiles.size() > 1);
  REQUIRE(plan_prediction(*net, m.extent, whole).tiles.size() == 1);
  CHECK(farthest(run(*net, m, o), run(*net, m, whole)) < 1e-5f);
}

TEST_CASE("predict: frames are read once, in order, shortly before they are needed") {
  const auto net = small_network();
  for (const int64_t length : {80, 77, 73}) {
    const Movie m = noise({length, 4, 4});
    PredictOptions o;
    o.window = 16;
    o.batch = 5;
    std::vector<int64_t> reads;
    int64_t farthest_ahead = 0;
    std::vector<int64_t> progress;
    predict_movie(*net, plan_prediction(*net, m.extent, o), o,
                  [&](int64_t t, float* to) {
                    reads.push_back(t);
                    std::copy_n(m.frame(t), m.frame_size(), to);
                  },
                  [&](int64_t t, const float*) { farthest_ahead = std::max(farthest_ahead, reads.back() - t); },
                  [&](int64_t done) { progress.push_back(done); });
    std::vector<int64_t> each;
    for (int64_t t = 0; t < length; ++t) each.push_back(t);
    CHECK(reads == each);
    CHECK(farthest_ahead <= 4 * 16);  // a window deep, read ahead for the next row, several rows in a step
    REQUIRE(!progress.empty());
    CHECK(progress.back() == plan_prediction(*net, m.extent, o).tiles.size());
    CHECK(std::is_sorted(progress.begin(), progress.end()));
  }
}

TEST_CASE("predict: an error on the way passes through and the network's mode is put back") {
  const auto net = small_network();
  net->train();
  const auto before = buffers(*net);
  const Movie m = noise({20, 8, 8});
  for (const bool batch : {false, true}) {
    PredictOptions o;
    o.window = 16;
    o.batch_statistics = batch;
    const auto fail = [&] {
      predict_movie(*net, plan_prediction(*net, m.extent, o), o,
                    [&](int64_t t, float* to) {
                      check<FileError>(t < 15, "movie.tif: ends early.");
                      std::copy_n(m.frame(t), m.frame_size(), to);
                    },
                    [](int64_t, const float*) {});
    };
    CHECK(message_of<FileError>(fail) == "movie.tif: ends early.");
    CHECK(net->training());
    CHECK((buffers(*net) == before));
  }
}

TEST_CASE("predict: the memory limit shrinks the batch, then the tile; what cannot fit is refused") {
  const auto net = small_network();
  const Threads restore(4);
  const Extent3 movie{600, 512, 512};
  PredictOptions o;
  const uint64_t tile = tile_memory(net->options(), {64, 64, 64});
  CHECK(tile_memory(net->options(), {64, 64, 128}) == 2 * tile);
  const uint64_t base = plan_prediction(*net, movie, o).memory - 4 * tile;
  for (const int64_t batch : {4, 3, 2, 1}) {
    o.memory = base + uint64_t(batch) * tile;
    const PredictPlan plan = plan_prediction(*net, movie, o);
    CHECK(plan.batch == (batch == 4 ? 1 : batch));
    CHECK(plan.lanes == (batch == 4 ? 4 : 1));  // one tile on each thread, or all threads on what fits
    CHECK(plan.memory <= o.memory);
    CHECK(plan.tiles.tile() == Extent3{64, 64, 64});  // the published windows are not negotiable
  }
  o.memory = base + tile - 1;
  CHECK(message_of<UsageError>([&] { plan_prediction(*net, movie, o); }) ==
        "needs 0.3 GB for tiles of 64x64x64, --memory allows 0.3 GB. Allow more memory.");
  o.batch_statistics = true;
  o.memory = base + 100 * tile;
  CHECK(message_of<UsageError>([&] { plan_prediction(*net, movie, o); }).find("Batch statistics need the whole batch: allow more memory.") !=
        std::string::npos);
  PredictOptions fast;
  fast.fast = true;
  fast.memory = uint64_t(3) << 27;  // 0.4 GB
  const PredictPlan plan = plan_prediction(*net, movie, fast);
  CHECK(plan.memory <= fast.memory);
  CHECK(data::voxel_count(plan.tiles.tile()) < 128 * 128 * 128);
  CHECK(plan.summary.find("tiles of ") != std::string::npos);
  fast.memory = 80 << 20;
  CHECK_THROWS_AS(plan_prediction(*net, movie, fast), UsageError);
}

TEST_CASE("predict: tiles that the network cannot halve are refused") {
  const auto net = small_network();
  PredictOptions o;
  o.window = 18;
  CHECK(message_of<UsageError>([&] { plan_prediction(*net, {20, 20, 20}, o); }) ==
        "a tile of 18x18x18 does not fit this network: extents must be multiples of 4.");
}

TEST_CASE("predict: the estimate of a tile's memory is not below what the network takes, nor far above") {
  for (const auto& [layers, width] : {std::pair<int64_t, int64_t>{5, 8}, {2, 4}, {3, 16}}) {
    models::UNet3dOptions net_options;
    net_options.layers = layers;
    net_options.width = width;
    models::UNet3d net(net_options);
    for (const Extent3& tile : {Extent3{64, 64, 64}, Extent3{32, 96, 64}}) {
      const Movie m = noise(tile);
      PredictOptions o;
      o.fast = true;
      o.tile = tile;
      o.halo = 0;  // one tile, the whole movie
      CpuMemory& memory = CpuMemory::instance();
      memory.trim();
      run(net, m, o);
      const double used = double(memory.cached_bytes()), estimate = double(tile_memory(net_options, tile));
      INFO(layers << " stages of width " << width << ", " << tile[0] << "x" << tile[1] << "x" << tile[2] << ": " << used / estimate);
      CHECK(used <= estimate);
      CHECK(used > 0.5 * estimate);
    }
  }
}

TEST_CASE("predict: a short movie is not charged for the tiles of a long one") {
  const auto net = small_network();
  PredictOptions o;
  o.fast = true;
  const PredictPlan unlimited = plan_prediction(*net, {10, 40, 40}, o);
  REQUIRE(unlimited.tiles.tile() == Extent3{44, 72, 72});
  o.memory = unlimited.memory;
  CHECK(plan_prediction(*net, {10, 40, 40}, o).tiles.tile() == Extent3{44, 72, 72});
  const PredictPlan less = [&] {
    PredictOptions tight = o;
    tight.memory = unlimited.memory - 1;
    return plan_prediction(*net, {10, 40, 40}, tight);
  }();
  CHECK(data::voxel_count(less.tiles.tile()) < 44 * 72 * 72);
  CHECK(less.summary.find("needs ") == 0);  // and it says so
  CHECK(less.summary.find(" for tiles of 44x72x72, --memory allows ") != std::string::npos);
  CHECK(less.summary.find(" instead; ") != std::string::npos);
}

TEST_CASE("predict: tiles come in steps of nearly equal size") {
  const auto net = small_network();
  PredictOptions options;
  options.window = 16;
  const Threads restore(1);
  const auto at_a_time = [&](int64_t wish) {
    options.batch = wish;
    return plan_prediction(*net, {8, 8, 20}, options).batch;
  };
  CHECK(plan_prediction(*net, {8, 8, 20}, options).tiles.size() == 16);
  CHECK(at_a_time(5) == 4);  // 4 steps in any case
  CHECK(at_a_time(7) == 6);
  CHECK(at_a_time(8) == 8);
  CHECK(at_a_time(100) == 16);
}

TEST_CASE("predict: a movie of any length needs the same memory, but for the preview's projection") {
  models::UNet3d net(models::UNet3dOptions{});
  PredictOptions o;
  o.fast = true;
  const uint64_t once = plan_prediction(net, {600, 512, 512}, o).memory, longer = plan_prediction(net, {60000, 512, 512}, o).memory;
  CHECK(longer - once == uint64_t(59400) * 512 * 12);  // three values per frame and column
}
