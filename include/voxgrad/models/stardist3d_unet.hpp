// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// StarDist-3D's U-Net: convolutions and pooling until the grid is reached, then levels down, a middle, levels up.

#include <utility>

#include "voxgrad/models/keras_conv.hpp"
#include "voxgrad/models/stardist3d_options.hpp"
#include "voxgrad/ops/upsample3d.hpp"

namespace voxgrad::models {

/// x [N,D,H,W,n_channel_in] -> [N,D,H,W,channels()] on the grid. Layers are named and ordered as in the Python package's
/// weight file, with grid_level_L_no_I for the convolutions before the grid is reached, which have no fixed name there.
class StarDistUNet : public nn::Module {
 public:
  StarDistUNet(const StarDist3dOptions& o, Random& random, DropoutDraws& draws) : channels_(o.n_channel_in) {
    const int64_t per_level = o.unet_n_conv_per_depth, depth = o.unet_n_depth;
    const auto filters = [&](int64_t level) { return o.unet_n_filter_base << std::max<int64_t>(0, level); };
    const KerasConvOptions plain{.kernel = o.unet_kernel_size, .activation = o.unet_activation};
    KerasConvOptions block = plain;
    block.batch_norm = o.unet_batch_norm;
    block.dropout = o.unet_dropout;
    const auto add = [&](Stage& stage, const KerasConvOptions& options, const std::string& name, int64_t out) {
      stage.convs.push_back(std::make_unique<KerasConv3d>(channels_, out, options, random, draws));
      child(name, *stage.convs.back());
      channels_ = out;
    };

    for (const auto& step : grid_steps(o.grid)) {
      Stage& stage = before_grid_.emplace_back();
      stage.pool = step;
      for (int64_t i = 0; i < per_level; ++i)
        add(stage, plain, text("grid_level_", before_grid_.size() - 1, "_no_", i), o.unet_n_filter_base);
    }
    std::vector<int64_t> skips;
    for (int64_t level = 0; level < depth; ++level) {
      Stage& stage = down_.emplace_back();
      stage.pool = o.unet_pool;
      for (int64_t i = 0; i < per_level; ++i)
        add(stage, block, text(o.unet_prefix, "down_level_", level, "_no_", i), filters(level));
      skips.push_back(channels_);
    }
    for (int64_t i = 0; i < per_level - 1; ++i) add(middle_, block, text(o.unet_prefix, "middle_", i), filters(depth));
    add(middle_, block, text(o.unet_prefix, "middle_", per_level), filters(depth - 1));
    for (int64_t level = depth; level-- > 0;) {
      Stage& stage = up_.emplace_back();
      stage.pool = o.unet_pool;
      channels_ += skips[size_t(level)];
      for (int64_t i = 0; i < per_level - 1; ++i)
        add(stage, block, text(o.unet_prefix, "up_level_", level, "_no_", i), filters(level));
      KerasConvOptions last = block;
      if (level == 0) last.activation = o.unet_last_activation;
      add(stage, last, text(o.unet_prefix, "up_level_", level, "_no_", per_level), filters(level - 1));
    }
  }

  int64_t channels() const { return channels_; }

  Activation operator()(const Tensor& input) {
    Activation x = input;
    for (Stage& stage : before_grid_) x = max_pool3d(through(stage, {std::exchange(x, {})}), stage.pool, stage.pool);
    std::vector<Activation> skips;
    for (Stage& stage : down_) {
      skips.push_back(through(stage, {std::exchange(x, {})}));
      x = max_pool3d(skips.back(), stage.pool, stage.pool);
    }
    x = through(middle_, {std::exchange(x, {})});
    for (Stage& stage : up_) {
      std::vector<Activation> joined;
      joined.push_back(upsample_nearest3d(std::exchange(x, {}).value(), stage.pool));
      joined.push_back(std::move(skips.back()));
      skips.pop_back();
      x = through(stage, std::move(joined));
    }
    return x;
  }

 private:
  struct Stage {
    std::vector<std::unique_ptr<KerasConv3d>> convs;
    std::array<int64_t, 3> pool{1, 1, 1};  ///< after the convolutions on the way down, before them on the way up
  };

  /// Lets go of every tensor as soon as it is used.
  static Activation through(Stage& stage, std::vector<Activation> sources) {
    for (auto& conv : stage.convs) {
      Activation x = (*conv)(sources);
      sources.assign(1, std::exchange(x, {}));
    }
    return sources[0];
  }

  int64_t channels_;
  std::vector<Stage> before_grid_, down_, up_;
  Stage middle_;
};

}  // namespace voxgrad::models
