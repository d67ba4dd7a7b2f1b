// SPDX-License-Identifier: BSD-3-Clause
#include "predictor.hpp"

#include <fmt/format.h>

#include <map>

#include "voxgrad/autograd/record.hpp"

namespace voxgrad::app {
namespace {

using data::Extent3;

/// Input frames that coming tiles may still read.
class FrameWindow {
 public:
  FrameWindow(int64_t frame_size, const ReadFrame& read) : frame_size_(frame_size), read_(read) {}

  void hold(const data::Range& frames) {
    frames_.erase(frames_.begin(), frames_.lower_bound(frames.begin));
    for (int64_t t = frames.begin; t < frames.end; ++t) {
      auto [it, fresh] = frames_.try_emplace(t);
      if (!fresh) continue;
      it->second.resize(size_t(frame_size_));
      read_(t, it->second.data());
    }
  }
  const float* operator()(int64_t t) const { return frames_.at(t).data(); }

 private:
  int64_t frame_size_;
  const ReadFrame& read_;
  std::map<int64_t, std::vector<float>> frames_;
};

/// Sets the mode of batch norm for a scope. Predictions must not move the running statistics: they are put back.
class BatchNormMode {
 public:
  BatchNormMode(models::UNet3d& net, bool batch_statistics) : net_(net), before_(net.training()) {
    for (const nn::Named& n : net.state())
      if (!n.learnable) saved_.emplace_back(n.tensor, n.tensor->clone());
    net_.train(batch_statistics);
  }
  ~BatchNormMode() {
    for (auto& [to, from] : saved_) *to = from;
    net_.train(before_);
  }
  BatchNormMode(const BatchNormMode&) = delete;
  BatchNormMode& operator=(const BatchNormMode&) = delete;

 private:
  models::UNet3d& net_;
  bool before_;
  std::vector<std::pair<Tensor*, Tensor>> saved_;
};

/// Movie frames alive at once: those that tiles read and those not final yet, both at most a tile deep; and the preview's
/// projection along y.
uint64_t frame_memory(const Extent3& movie, int64_t depth) {
  const uint64_t frames = 2 * uint64_t(std::min(movie[0], depth) + 1) * uint64_t(movie[1] * movie[2]);
  return sizeof(float) * (frames + 3 * uint64_t(movie[0] * movie[2]));
}

/// Program and libraries; the weights and, for wide layers, a transformed copy.
uint64_t fixed_memory(models::UNet3d& net) {
  uint64_t weights = 0;
  for (const nn::Named& n : net.state()) weights += uint64_t(n.tensor->size()) * sizeof(float);
  return (uint64_t(40) << 20) + 2 * weights;
}

/// Voxels per step that keep two threads busy; more only costs memory.
constexpr int64_t batch_voxels = 1 << 21;

/// As many steps as with `batch`, but of nearly equal size.
int64_t even_share(int64_t tiles, int64_t batch) {
  const int64_t steps = (tiles + batch - 1) / batch;
  return (tiles + steps - 1) / steps;
}

bool halve_largest(Extent3& tile, int64_t multiple, int64_t halo) {
  size_t axis = 0;
  for (size_t a = 1; a < 3; ++a)
    if (tile[a] >= tile[axis]) axis = a;
  const int64_t smaller = tile[axis] / 2 / multiple * multiple;
  if (smaller <= 2 * halo) return false;
  tile[axis] = smaller;
  return true;
}

}  // namespace

uint64_t tile_memory(const models::UNet3dOptions& net, const Extent3& tile) {
  // Where the last stage joins skip and upsampled, 4 widths are alive. Buffers of the deeper stages wait in the cache, each
  // stage a quarter of the one before: 5.4 widths, rounded up by a quarter at most. Input and scores come on top.
  const double per_voxel = 4.0 * (5.5 * 1.25 * double(net.width) + 5);
  return uint64_t(per_voxel * double(data::voxel_count(tile)));
}

PredictPlan plan_prediction(models::UNet3d& net, const Extent3& movie, const PredictOptions& o) {
  const int64_t multiple = net.multiple();
  Extent3 tile = o.fast ? o.tile : Extent3{o.window, o.window, o.window};
  for (int64_t e : tile)
    check<UsageError>(e > 0 && e % multiple == 0, "a tile of ", tile[0], "x", tile[1], "x", tile[2],
                      " does not fit this network: extents must be multiples of ", multiple, ".");
  if (o.fast)
    for (size_t a = 0; a < 3; ++a) tile[a] = data::cheapest_tile(movie[a], tile[a], o.halo, multiple);
  const uint64_t fixed = fixed_memory(net);
  const auto needed = [&](int64_t batch) { return fixed + frame_memory(movie, tile[0]) + uint64_t(batch) * tile_memory(net.options(), tile); };
  int64_t batch = o.batch > 0 ? o.batch : o.batch_statistics ? 128 : std::clamp<int64_t>(batch_voxels / data::voxel_count(tile), 1, 4);
  std::string note;
  if (o.memory > 0) {
    const Extent3 wanted = tile;
    if (!o.batch_statistics && o.batch == 0)
      while (batch > 1 && needed(batch) > o.memory) --batch;
    const std::string too_much = fmt::format("needs {:.1f} GB for {}tiles of {}x{}x{}, --memory allows {:.1f} GB", double(needed(batch)) / 1e9,
                                             batch > 1 ? fmt::format("{} ", batch) : "", tile[0], tile[1], tile[2], double(o.memory) / 1e9);
    while (o.fast && needed(batch) > o.memory && halve_largest(tile, multiple, o.halo)) {
    }
    check<UsageError>(needed(batch) <= o.memory, too_much,
                      o.batch_statistics ? ". Batch statistics need the whole batch: allow more memory."
                      : o.fast           ? " and smaller ones do not fit either. Allow more memory."
                                         : ". Allow more memory.");
    if (tile != wanted) note = fmt::format("{}. Using tiles of {}x{}x{} instead; ", too_much, tile[0], tile[1], tile[2]);
  }
  data::TilePlan tiles = o.fast ? data::fast_plan(movie, tile, o.halo, 0, multiple)
                                : data::sliding_plan(movie, o.window, o.window / 2, o.batch_statistics);
  batch = std::min(batch, tiles.size());
  if (!o.batch_statistics) batch = even_share(tiles.size(), batch);
  tile = tiles.tile();
  const uint64_t memory = needed(batch);
  std::string summary = note + fmt::format("{} tiles of {}x{}x{}, {} at a time, {:.1f} voxels computed per voxel of the movie, about {:.1f} GB",
                                    tiles.size(), tile[0], tile[1], tile[2], batch, data::work_factor(tiles), double(memory) / 1e9);
  return {std::move(tiles), batch, memory, std::move(summary)};
}

void predict_movie(models::UNet3d& net, const PredictPlan& plan, const PredictOptions& options, const ReadFrame& read,
                   const WriteFrame& write, const TileProgress& progress) {
  NoGrad no_grad;
  BatchNormMode mode(net, options.batch_statistics);
  const data::TilePlan& tiles = plan.tiles;
  const Extent3 e = tiles.tile();
  const int64_t voxels = data::voxel_count(e);
  FrameWindow frames(tiles.movie()[1] * tiles.movie()[2], read);
  data::TileSum sum(tiles);
  int64_t held_row = -1;
  for (int64_t first = 0; first < tiles.size(); first += plan.batch) {
    const int64_t count = std::min(plan.batch, tiles.size() - first);
    // Buffers of another size are of no use to these tiles: without this a last, smaller batch would add its own to them.
    if (first == 0 || count < plan.batch) CpuMemory::instance().trim();
    Tensor input(Shape{count, e[0], e[1], e[2], 1});
    auto in = input.mutable_span<float>();
    for (int64_t i = 0; i < count; ++i) {
      if (tiles.row_of(first + i) != held_row) frames.hold(tiles.source_frames(held_row = tiles.row_of(first + i)));
      data::gather_tile(tiles, first + i, frames, in.data() + i * voxels);
    }
    const Tensor output = net(input);
    const auto out = output.span<float>();
    for (int64_t i = 0; i < count; ++i) {
      sum.add(first + i, out.data() + i * voxels);
      while (sum.ready() > 0) {
        const int64_t t = sum.first();
        write(t, sum.take().data());
      }
    }
    if (progress) progress(first + count);
  }
  while (sum.first() < tiles.movie()[0]) {
    const int64_t t = sum.first();
    write(t, sum.take().data());
  }
}

}  // namespace voxgrad::app
