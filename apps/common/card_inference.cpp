// SPDX-License-Identifier: BSD-3-Clause
#include "card_inference.hpp"

namespace voxgrad::app {

uint64_t CardInference::needed(int64_t batch, const cuda::Extent& tile, cuda::NormMode norm) const {
  return cuda::unet3d_inference_bytes(card_->precision, shape_of(net_.options()), batch, tile, norm);
}

/// The engine at hand goes before another is made.
uint64_t CardInference::available() const { return card_->free_memory() + taken_; }

bool CardInference::serves(int64_t batch, const cuda::Extent& tile, cuda::NormMode norm) const {
  return engine_ && tile_ == tile && norm_ == norm && (norm == cuda::NormMode::running_statistics ? batch <= batch_ : batch == batch_);
}

void CardInference::check_fits(int64_t batch, const cuda::Extent& tile, cuda::NormMode norm) const {
  const uint64_t bytes = needed(batch, tile, norm), free = available();
  if (bytes <= free) return;
  const int64_t most = most_that_fit(batch - 1, [&](int64_t n) { return needed(n, tile, norm) <= free; });
  throw DeviceError(text(card_->name, ": ", batch, " tiles of ", tile[0], "x", tile[1], "x", tile[2], " at a time need ", gib_text(bytes),
                         " of the card's memory, ", gib_text(free), " is free. ",
                         most > 0 ? text(most, " at a time fit.") : "Not even one fits: use smaller ones, or free the card."));
}

void CardInference::plan(int64_t batch, const cuda::Extent& tile, cuda::NormMode norm) {
  if (serves(batch, tile, norm) && 2 * batch >= batch_) return;  // a plan far too large would compute too much
  check_fits(batch, tile, norm);
  engine_.reset();
  taken_ = 0;
  engine_ = card_->inference(shape_of(net_.options()), batch, tile, norm);
  batch_ = batch, tile_ = tile, norm_ = norm, taken_ = needed(batch, tile, norm), stale_ = true;
}

Tensor CardInference::pass(const Tensor& x, cuda::NormMode norm, bool logits) {
  const Shape& s = x.shape();
  check<ShapeError>(s.rank() == 5 && s[4] == net_.options().in_channels, "unet3d on a card: input must be [N,D,H,W,", net_.options().in_channels,
                    "], got ", s);
  const cuda::Extent tile{s[1], s[2], s[3]};
  if (!serves(s[0], tile, norm)) plan(s[0], tile, norm);
  if (stale_)
    for (const nn::Named& n : net_.state()) engine_->put(n.name, n.tensor->span<float>());
  stale_ = false;
  Tensor y(Shape{s[0], s[1], s[2], s[3], net_.options().out_channels});
  float* const to = y.mutable_span<float>().data();
  if (logits) engine_->logits(s[0], x.span<float>().data(), to);
  else engine_->run(s[0], x.span<float>().data(), to);
  return y;
}

}  // namespace voxgrad::app
