// SPDX-License-Identifier: BSD-3-Clause
#include "stardist_predictor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>

#include "voxgrad/autograd/record.hpp"
#include "voxgrad/models/stardist3d_field.hpp"

namespace voxgrad::app {
namespace {

using stardist::AxisTile;

/// Index of np.pad's "reflect" continuation behind the end of an axis of n samples: the edge is not repeated.
int64_t reflect_index(int64_t i, int64_t n) {
  if (n == 1) return 0;
  const int64_t period = 2 * (n - 1), r = i % period;
  return r < n ? r : period - r;
}

/// Bytes per input voxel of a tile while it goes through the network: input, and either two stages before the grid or, on the grid,
/// skip, feature and output tensors that are alive together; a quarter more than was measured.
double bytes_per_voxel(const models::StarDist3dOptions& o) {
  const double base = double(o.is_unet() ? o.unet_n_filter_base : o.resnet_n_filter_base);
  const double features = double(o.is_unet() ? o.net_conv_after_unet : o.net_conv_after_resnet), maps = double(o.n_rays + o.n_classes + 2);
  const double points = 1.0 / double(o.grid[0] * o.grid[1] * o.grid[2]);
  return 4 * 1.25 * (1 + double(o.n_channel_in) + std::max(2 * base, points * (3 * base + features + std::max(features, maps))));
}

/// The same where a card has the network: input and maps.
double bytes_beside_card(const models::StarDist3dOptions& o) {
  return 4 * 1.25 * (double(o.n_channel_in) + double(o.n_rays + o.n_classes + 3) / double(o.grid[0] * o.grid[1] * o.grid[2]));
}

int64_t length(const std::vector<AxisTile>& tiles) { return tiles[0].read.size(); }

/// The different ways to tile an axis, from one tile to the smallest ones.
std::vector<std::vector<AxisTile>> ways(int64_t blocks, int64_t block, int64_t overlap) {
  std::vector<std::vector<AxisTile>> all;
  for (int64_t n = 1; n <= blocks; n = n < 16 ? n + 1 : n + n / 4) {
    auto tiles = stardist::axis_tiles(blocks * block, n, block, overlap);
    if (all.empty() || length(tiles) != length(all.back())) all.push_back(std::move(tiles));
  }
  return all;
}

/// First plane that each row of tiles and the later ones read.
std::vector<int64_t> first_needed(const std::vector<AxisTile>& rows, int64_t n) {
  std::vector<int64_t> needed(rows.size());
  for (size_t row = needed.size(); row-- > 0;) {
    int64_t least = row + 1 < needed.size() ? needed[row + 1] : n;
    for (int64_t z = rows[row].read.begin; z < rows[row].read.end; ++z) least = std::min(least, reflect_index(z, n));
    needed[row] = least;
  }
  return needed;
}

/// Planes that are held at once.
int64_t most_planes(const std::vector<AxisTile>& rows, int64_t n) {
  const std::vector<int64_t> needed = first_needed(rows, n);
  int64_t most = 0;
  for (size_t row = 0; row < rows.size(); ++row) most = std::max(most, std::min(rows[row].read.end, n) - needed[row]);
  return most;
}

/// Input planes that coming tiles may still read: whole, or only the lines of one strip of tiles.
class Planes {
 public:
  Planes(const StarDistPlan& plan, const ReadPlane& read, int64_t channels)
      : plan_(plan), read_(read), channels_(channels), needed_(first_needed(plan.tiles[0], plan.extent[0])) {}
  void begin_row(size_t row) {
    if (!plan_.strips) planes_.erase(planes_.begin(), planes_.lower_bound(needed_[row]));
  }
  void begin_strip(const AxisTile& y) {
    strip_ = y.read;
    if (plan_.strips) planes_.clear();
  }
  /// Line y of plane z, both within the padded volume; [W,channels].
  const float* line(int64_t z, int64_t y) {
    const int64_t height = plan_.extent[1], width = plan_.extent[2] * channels_;
    std::vector<float>& plane = planes_[reflect_index(z, plan_.extent[0])];
    std::vector<float>& whole = plan_.strips ? whole_ : plane;
    if (plane.empty()) {
      whole.resize(size_t(height * width));
      read_(reflect_index(z, plan_.extent[0]), whole.data());
      if (plan_.strips)
        for (int64_t i = strip_.begin; i < strip_.end; ++i) {
          const auto from = whole.begin() + reflect_index(i, height) * width;
          plane.insert(plane.end(), from, from + width);
        }
    }
    return plane.data() + (plan_.strips ? y - strip_.begin : reflect_index(y, height)) * width;
  }

 private:
  const StarDistPlan& plan_;
  const ReadPlane& read_;
  int64_t channels_;
  std::vector<int64_t> needed_;
  decltype(AxisTile::read) strip_{};
  std::map<int64_t, std::vector<float>> planes_;
  std::vector<float> whole_;
};

/// Takes the candidates of a tile's own part.
class Collector {
 public:
  Collector(const StarDistPlan& plan, const StarDistSearch& search, const models::StarDist3dOptions& net)
      : search_(search), grid_(net.grid), rays_(net.n_rays) {
    for (size_t a = 0; a < 3; ++a) {
      const int64_t inside = (plan.extent[a] + grid_[a] - 1) / grid_[a], padded = plan.padded[a] / grid_[a];
      first_[a] = search.border;
      last_[a] = search.rule == BorderRule::dense ? inside - search.border : std::min(inside, padded - search.border);
      points_[a] = inside;
    }
  }

  void add(const models::StarDistMaps& maps, const std::array<AxisTile, 3>& tile) {
    const Shape s = maps.prob.shape();
    const float *prob = maps.prob.span<float>().data(), *dist = maps.dist.span<float>().data();
    const float* classes = maps.prob_class.defined() ? maps.prob_class.span<float>().data() : nullptr;
    const int64_t n_classes = classes != nullptr ? maps.prob_class.shape()[-1] : 0;
    std::array<int64_t, 3> from, to, origin;
    for (size_t a = 0; a < 3; ++a) {
      origin[a] = tile[a].read.begin / grid_[a];
      from[a] = tile[a].write.begin / grid_[a];
      to[a] = std::min(tile[a].write.end / grid_[a], points_[a]);
    }
    const auto for_each = [&](auto&& f) {
      for (int64_t z = from[0]; z < to[0]; ++z)
        for (int64_t y = from[1]; y < to[1]; ++y)
          for (int64_t x = from[2]; x < to[2]; ++x) f(z, y, x, ((z - origin[0]) * s[2] + y - origin[1]) * s[3] + x - origin[2]);
    };
    for_each([&](int64_t z, int64_t y, int64_t x, int64_t i) {
      check(prob[i] == prob[i], "the network's probability at z ", z * grid_[0], ", y ", y * grid_[1], ", x ", x * grid_[2],
            " is not a number. Are the weights damaged, or does the input hold NaN?");
      found.most_probable = std::max(found.most_probable, prob[i]);
    });
    const double most = double(std::max(found.most_probable, search_.most_so_far));
    const float least = float(std::max(search_.prob_thresh, search_.share_of_most * most));
    for_each([&](int64_t z, int64_t y, int64_t x, int64_t i) {
      const float score = prob[i];
      if (!(score > least) || !inside(z, y, x)) return;
      stardist::Candidates& c = found.candidates;
      c.scores.push_back(score);
      c.points.insert(c.points.end(), {float(z * grid_[0]), float(y * grid_[1]), float(x * grid_[2])});
      stardist::append_distances(c.dist, {dist + i * rays_, size_t(rays_)}, stardist::CandidateRule{}.least_dist, z * grid_[0], y * grid_[1], x * grid_[2]);
      if (classes != nullptr) found.class_prob.insert(found.class_prob.end(), classes + i * n_classes, classes + (i + 1) * n_classes);
      place_.push_back((z * points_[1] + y) * points_[2] + x);
    });
    const uint64_t bytes = uint64_t(found.candidates.size()) * uint64_t(rays_ + 8) * 8;  // twice while they are put in order
    check(search_.memory == 0 || bytes < search_.memory, "more than ", found.candidates.size(), " candidates do not fit into ",
          search_.memory >> 20, " MiB. Raise --prob-threshold, or allow more with --memory.");
  }

  /// Puts the candidates of all tiles into the order of the map.
  StarDistFound finish() {
    if (std::is_sorted(place_.begin(), place_.end())) return std::move(found);
    std::vector<int64_t> order(place_.size());
    std::iota(order.begin(), order.end(), int64_t(0));
    std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return place_[size_t(a)] < place_[size_t(b)]; });
    const auto sorted = [&](auto& values, int64_t each) {
      std::remove_reference_t<decltype(values)> out;
      out.reserve(values.size());
      for (const int64_t i : order) out.insert(out.end(), values.begin() + i * each, values.begin() + (i + 1) * each);
      values = std::move(out);
    };
    sorted(found.candidates.scores, 1);
    sorted(found.candidates.points, 3);
    sorted(found.candidates.dist, rays_);
    sorted(found.class_prob, int64_t(found.class_prob.size() / place_.size()));
    return std::move(found);
  }

  StarDistFound found;

 private:
  bool inside(int64_t z, int64_t y, int64_t x) const {
    const std::array<int64_t, 3> at{z, y, x};
    for (size_t a = 0; a < 3; ++a)
      if (at[a] < first_[a] || at[a] >= last_[a]) return false;
    return true;
  }

  const StarDistSearch& search_;
  std::array<int64_t, 3> grid_, first_{}, last_{}, points_{};
  int64_t rays_;
  std::vector<int64_t> place_;  // of each candidate in the map
};

}  // namespace

StarDistPlan plan_stardist(const models::StarDist3d& net, const data::Extent3& extent, const StarDistSearch& search) {
  const models::StarDist3dOptions& o = net.options();
  for (const int64_t e : extent) check<ShapeError>(e > 0, "the volume is empty.");
  const auto multiple = net.multiple();
  const auto bound = models::receptive_bound(o);
  const double each = search.card ? bytes_beside_card(o) : bytes_per_voxel(o);
  const double most = search.memory == 0 ? 1e30 : 0.5 * double(search.memory), most_voxels = search.card ? search.card->most_voxels() : 1e30;
  StarDistPlan plan{extent, {}, {}, false, 0, ""};
  std::array<std::vector<std::vector<AxisTile>>, 3> choices;
  for (size_t a = 0; a < 3; ++a) {
    const int64_t m = multiple[a], blocks = (extent[a] + m - 1) / m, overlap = (bound[a] + m - 1) / m;
    plan.padded[a] = blocks * m;
    if (search.n_tiles[a] > 0) choices[a] = {stardist::axis_tiles(plan.padded[a], search.n_tiles[a], m, overlap)};
    else choices[a] = ways(blocks, m, overlap);
  }
  const double channels = double(o.n_channel_in), plane = 4 * channels * double(extent[1]) * double(extent[2]);
  constexpr double reading = 0.02;  // of the time that a voxel takes in the network
  double best = 1e300, work = 0, smallest = 1e300, used = 0;
  data::Extent3 least{};
  for (const auto& z : choices[0]) {
    const double held = double(most_planes(z, extent[0]));
    for (const auto& y : choices[1])
      for (const auto& x : choices[2]) {
        const double voxels = double(length(z)) * double(length(y)) * double(length(x));
        const double computed = voxels * double(z.size() * y.size() * x.size());
        if (data::voxel_count(least) == 0 || voxels < double(data::voxel_count(least))) least = {length(z), length(y), length(x)};
        for (const bool strips : {false, true}) {
          const double bytes = voxels * each + (strips ? 4 * channels * double(length(z)) * double(length(y)) * double(extent[2]) + plane : held * plane);
          const double read = plane / (4 * channels) * (strips ? double(length(z)) * double(z.size() * y.size()) : double(extent[0]));
          smallest = std::min(smallest, bytes);
          if (bytes > most || voxels > most_voxels || !(computed + reading * read < best)) continue;
          best = computed + reading * read;
          work = computed, used = bytes;
          plan.tiles = {z, y, x};
          plan.strips = strips;
        }
      }
  }
  const bool asked = search.n_tiles != data::Extent3{0, 0, 0};
  const char* fewer = asked ? "Leave --n-tiles out, or ask for more tiles. " : "";
  if (search.card)
    check<DeviceError>(double(data::voxel_count(least)) <= most_voxels, search.card->card().name, ": tiles of this network have ", least[0], "x",
                       least[1], "x", least[2], " voxels or more, nine tenths of the card's free memory hold about ", int64_t(most_voxels), ". ",
                       fewer, "Free the card.");
  check<UsageError>(best < 1e300, fmt::format("tiles of this network and the planes they read take at least {:.2f} GB, --memory allows {:.2f} GB for them. "
                                              "{}Allow more memory.", smallest / 1e9, most / 1e9, fewer));
  plan.memory = uint64_t(used);
  plan.summary = fmt::format("{} tiles of {}x{}x{}, {:.1f} voxels computed per voxel of the volume, about {:.1f} GB", plan.count(),
                             length(plan.tiles[0]), length(plan.tiles[1]), length(plan.tiles[2]), work / double(data::voxel_count(extent)),
                             double(plan.memory) / 1e9);
  if (search.card)
    plan.summary += fmt::format(" and {} on {}", gib_text(search.card->needed(1, {length(plan.tiles[0]), length(plan.tiles[1]), length(plan.tiles[2])})),
                                search.card->card().name);
  return plan;
}

StarDistFound find_stardist_candidates(models::StarDist3d& net, const StarDistPlan& plan, const StarDistSearch& search, const ReadPlane& read,
                                       const std::function<void(int64_t)>& progress) {
  const auto began = std::chrono::steady_clock::now();
  NoGrad no_grad;
  net.eval();
  const data::Extent3& n = plan.extent;
  const int64_t channels = net.options().n_channel_in;
  Planes planes(plan, read, channels);
  Collector collector(plan, search, net.options());
  int64_t done = 0;
  for (size_t row = 0; row < plan.tiles[0].size(); ++row) {
    planes.begin_row(row);
    for (const AxisTile& ty : plan.tiles[1]) {
      planes.begin_strip(ty);
      for (const AxisTile& tx : plan.tiles[2]) {
        const AxisTile& tz = plan.tiles[0][row];
        Tensor input(Shape{1, tz.read.size(), ty.read.size(), tx.read.size(), channels});
        float* to = input.mutable_span<float>().data();
        for (int64_t z = tz.read.begin; z < tz.read.end; ++z)
          for (int64_t y = ty.read.begin; y < ty.read.end; ++y) {
            const float* line = planes.line(z, y);
            for (int64_t x = tx.read.begin; x < tx.read.end; ++x, to += channels)
              std::copy_n(line + (x < n[2] ? x : reflect_index(x, n[2])) * channels, channels, to);
          }
        collector.add(stardist_maps(net, search.card.get(), input), {tz, ty, tx});
        if (progress) progress(++done);
      }
    }
  }
  StarDistFound found = collector.finish();
  found.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  return found;
}

}  // namespace voxgrad::app
