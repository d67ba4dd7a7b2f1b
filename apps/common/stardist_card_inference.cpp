// SPDX-License-Identifier: BSD-3-Clause
#include "stardist_card_inference.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace voxgrad::app {

uint64_t StarDistCardInference::needed(int64_t batch, const cuda::Extent& tile) const {
  return cuda::stardist3d_inference_bytes(card_->precision, shape_of(net_.options()), batch, tile, cuda::NormMode::running_statistics);
}

/// The engine at hand goes before another is made.
uint64_t StarDistCardInference::available() const { return card_->free_memory() + taken_; }

/// Weights take what they take, everything else grows with the tile.
double StarDistCardInference::most_voxels() const {
  const models::StarDist3dOptions& o = net_.options();
  cuda::Extent tile = net_.multiple();
  for (int64_t& e : tile) e *= std::max<int64_t>(1, 64 / e);
  const double voxels = double(tile[0] * tile[1] * tile[2]), one = double(needed(1, tile)), two = double(needed(2, tile));
  const double each = (two - one) / voxels, weights = std::max(0.0, 2 * one - two);
  // On the grid the U-Net joins two inputs; before it, and in the ResNet anywhere, no layer has more values than the first ones.
  const double points = 1.0 / double(o.grid[0] * o.grid[1] * o.grid[2]);
  const cuda::StarDist3dShape s = shape_of(o);
  const double values = std::max<double>({double(s.filters), double(s.in_channels), points * double(std::max({2 * s.filters, s.features, s.rays}))});
  return std::min(std::max(0.0, 0.9 * double(available()) - weights) / each, double(std::numeric_limits<int32_t>::max()) / values);
}

void StarDistCardInference::plan(int64_t batch, const cuda::Extent& tile) {
  const uint64_t bytes = needed(batch, tile), free = available();
  check<DeviceError>(bytes <= free, card_->name, ": ", batch, batch == 1 ? " tile" : " tiles", " of ", tile[0], "x", tile[1], "x", tile[2],
                     batch == 1 ? " needs " : " need ", gib_text(bytes), " of the card's memory, ", gib_text(free),
                     " is free. Use smaller tiles (--n-tiles) or patches, or free the card.");
  engine_.reset();
  taken_ = 0;
  engine_ = card_->stardist_inference(shape_of(net_.options()), batch, tile, cuda::NormMode::running_statistics);
  batch_ = batch, tile_ = tile, taken_ = bytes, stale_ = true;
}

models::StarDistMaps StarDistCardInference::operator()(const Tensor& x) {
  const Shape& s = x.shape();
  const models::StarDist3dOptions& o = net_.options();
  check<ShapeError>(s.rank() == 5 && s[4] == o.n_channel_in, "stardist3d on a card: input must be [N,D,H,W,", o.n_channel_in, "], got ", s);
  const cuda::Extent tile{s[1], s[2], s[3]};
  if (!engine_ || tile_ != tile || s[0] > batch_) plan(s[0], tile);
  if (std::exchange(stale_, false))
    for (const nn::Named& n : net_.state()) engine_->put(n.name, n.tensor->span<float>());
  const auto map = [&](int64_t channels) { return Tensor(Shape{s[0], s[1] / o.grid[0], s[2] / o.grid[1], s[3] / o.grid[2], channels}); };
  const auto to = [](Tensor& t) { return t.defined() ? t.mutable_span<float>().data() : nullptr; };
  models::StarDistMaps maps{map(1), map(o.n_rays), o.n_classes > 0 ? map(o.n_classes + 1) : Tensor(), map(1)};
  engine_->run(s[0], x.span<float>().data(), {to(maps.prob), to(maps.dist), to(maps.prob_class), to(maps.logit)});
  return maps;
}

}  // namespace voxgrad::app
