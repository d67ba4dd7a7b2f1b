// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// StarDist-3D's network with a U-Net backbone: object probability and star-convex distances on a coarser grid.

#include <memory>
#include <utility>

#include "voxgrad/models/option_range.hpp"
#include "voxgrad/nn/layers.hpp"
#include "voxgrad/ops/concat.hpp"
#include "voxgrad/ops/pointwise.hpp"
#include "voxgrad/ops/upsample3d.hpp"

namespace voxgrad::models {

/// Names and defaults of the Python package's Config3D. Triples are z, y, x.
struct StarDist3dOptions {
  int64_t n_channel_in = 1, n_rays = 96;
  std::array<int64_t, 3> grid{1, 1, 1};  ///< output sub-sampling, powers of two
  int64_t unet_n_depth = 2, unet_n_filter_base = 32, unet_n_conv_per_depth = 2;
  std::array<int64_t, 3> unet_kernel_size{3, 3, 3}, unet_pool{2, 2, 2};
  int64_t net_conv_after_unet = 128;  ///< 0: no such layer
};

/// What the network says per grid voxel: prob [N,D,H,W,1] in (0, 1), dist [N,D,H,W,rays] in voxels of the full image.
struct StarDistMaps {
  Tensor prob, dist;
};

/// Convolution that keeps the size, Keras' initial values (Glorot, bias 0), then relu.
class SameConv3d : public nn::Module {
 public:
  SameConv3d(int64_t in, int64_t out, std::array<int64_t, 3> kernel, bool activated, Random& random)
      : weight(nn::glorot_uniform({kernel[0], kernel[1], kernel[2], in, out}, random)), bias(Tensor::zeros({out})),
        activated_(activated) {
    for (size_t i = 0; i < 3; ++i) options_.padding[i] = kernel[i] / 2;
    parameter("weight", weight);
    parameter("bias", bias);
  }
  /// Sources are joined along the channels.
  Activation operator()(std::vector<Activation> sources) const {
    ConvBlockOptions options{options_, {}};
    options.norm.slope = activated_ ? 0 : 1;
    return conv_block(std::move(sources), weight, bias, {}, options);
  }

  Tensor weight, bias;

 private:
  Conv3dOptions options_;
  bool activated_;
};

/// x [N,D,H,W,channels] -> maps on the grid. Parameters are named and ordered as in the Python package's weight file,
/// with grid_level_L_no_I for the convolutions before the grid is reached, which have no fixed name there.
class StarDist3d : public nn::Module {
 public:
  explicit StarDist3d(const StarDist3dOptions& options, Random random = Random(0)) : options_(checked(options)) {
    const StarDist3dOptions& o = options_;
    const auto filters = [&](int64_t level) { return o.unet_n_filter_base << level; };
    const int64_t per_level = o.unet_n_conv_per_depth;
    int64_t channels = o.n_channel_in;
    const auto add = [&](std::vector<Layer>& list, const std::string& name, int64_t out) {
      list.push_back(std::make_unique<SameConv3d>(channels, out, o.unet_kernel_size, true, random));
      child(name, *list.back());
      channels = out;
    };

    for (std::array<int64_t, 3> reached{1, 1, 1}; reached != o.grid;) {
      Stage& stage = before_grid_.emplace_back();
      for (int64_t i = 0; i < per_level; ++i)
        add(stage.convs, text("grid_level_", before_grid_.size() - 1, "_no_", i), o.unet_n_filter_base);
      for (size_t a = 0; a < 3; ++a) {
        stage.pool[a] = reached[a] < o.grid[a] ? 2 : 1;
        reached[a] *= stage.pool[a];
      }
    }
    std::vector<int64_t> skips;
    for (int64_t level = 0; level < o.unet_n_depth; ++level) {
      Stage& stage = down_.emplace_back();
      stage.pool = o.unet_pool;
      for (int64_t i = 0; i < per_level; ++i) add(stage.convs, text("down_level_", level, "_no_", i), filters(level));
      skips.push_back(channels);
    }
    for (int64_t i = 0; i < per_level - 1; ++i) add(middle_, text("middle_", i), filters(o.unet_n_depth));
    add(middle_, text("middle_", per_level), filters(std::max<int64_t>(0, o.unet_n_depth - 1)));
    for (int64_t level = o.unet_n_depth; level-- > 0;) {
      Stage& stage = up_.emplace_back();
      stage.pool = o.unet_pool;
      channels += skips[size_t(level)];
      for (int64_t i = 0; i < per_level - 1; ++i) add(stage.convs, text("up_level_", level, "_no_", i), filters(level));
      add(stage.convs, text("up_level_", level, "_no_", per_level), filters(std::max<int64_t>(0, level - 1)));
    }
    if (o.net_conv_after_unet > 0) add(features_, "features", o.net_conv_after_unet);
    const auto head = [&](const char* name, int64_t out) {
      Layer layer = std::make_unique<SameConv3d>(channels, out, std::array<int64_t, 3>{1, 1, 1}, false, random);
      child(name, *layer);
      return layer;
    };
    prob_ = head("prob", 1);
    dist_ = head("dist", o.n_rays);
  }

  const StarDist3dOptions& options() const { return options_; }
  /// Extents of the input must be multiples of these: unet_pool^unet_n_depth * grid.
  std::array<int64_t, 3> multiple() const {
    std::array<int64_t, 3> m = options_.grid;
    for (size_t a = 0; a < 3; ++a)
      for (int64_t level = 0; level < options_.unet_n_depth; ++level) m[a] *= options_.unet_pool[a];
    return m;
  }

  StarDistMaps operator()(const Tensor& input) const {
    check_input(input);
    Activation x = input;
    for (const Stage& stage : before_grid_) x = max_pool3d(through(stage.convs, {std::exchange(x, {})}), stage.pool, stage.pool);
    std::vector<Activation> skips;
    for (const Stage& stage : down_) {
      skips.push_back(through(stage.convs, {std::exchange(x, {})}));
      x = max_pool3d(skips.back(), stage.pool, stage.pool);
    }
    x = through(middle_, {std::exchange(x, {})});
    for (const Stage& stage : up_) {
      std::vector<Activation> joined;
      joined.push_back(upsample_nearest3d(std::exchange(x, {}).value(), stage.pool));
      joined.push_back(std::move(skips.back()));
      skips.pop_back();
      x = through(stage.convs, std::move(joined));
    }
    const Tensor features = through(features_, {std::exchange(x, {})}).value();  // both heads read them
    return {sigmoid((*prob_)({features}).value()), (*dist_)({features}).value()};
  }

 private:
  using Layer = std::unique_ptr<SameConv3d>;
  struct Stage {
    std::vector<Layer> convs;
    std::array<int64_t, 3> pool{1, 1, 1};  ///< after the convolutions on the way down, before them on the way up
  };

  /// Lets go of every tensor as soon as it is used.
  static Activation through(const std::vector<Layer>& layers, std::vector<Activation> sources) {
    for (const Layer& layer : layers) {
      Activation x = (*layer)(std::move(sources));
      sources.assign(1, std::exchange(x, {}));
    }
    return sources.size() == 1 ? sources[0] : Activation(joined_value(sources));
  }
  static Tensor joined_value(const std::vector<Activation>& sources) {
    std::vector<Tensor> parts;
    for (const Activation& a : sources) parts.push_back(a.value());
    return concat(parts);
  }

  void check_input(const Tensor& x) const {
    check<ShapeError>(x.shape().rank() == 5 && x.shape()[4] == options_.n_channel_in, "stardist3d: input must be [N,D,H,W,",
                      options_.n_channel_in, "], got ", x.shape());
    const auto m = multiple();
    for (int i = 0; i < 3; ++i)
      check<ShapeError>(x.shape()[i + 1] > 0 && x.shape()[i + 1] % m[size_t(i)] == 0, "stardist3d: extents must be multiples of ",
                        m[0], ",", m[1], ",", m[2], ", input is ", x.shape());
  }

  static const StarDist3dOptions& checked(const StarDist3dOptions& o) {
    const auto within = option_range("stardist3d");
    within("n_channel_in", o.n_channel_in, 1, 4096);
    within("n_rays", o.n_rays, 4, 4096);
    within("unet_n_depth", o.unet_n_depth, 0, 8);
    within("unet_n_filter_base", o.unet_n_filter_base, 1, 1024);
    within("unet_n_conv_per_depth", o.unet_n_conv_per_depth, 1, 16);
    within("net_conv_after_unet", o.net_conv_after_unet, 0, 4096);
    for (size_t a = 0; a < 3; ++a) {
      within("grid", o.grid[a], 1, 64);
      check<UsageError>((o.grid[a] & (o.grid[a] - 1)) == 0, "stardist3d: grid is ", o.grid[a], " (expected a power of two)");
      within("unet_pool", o.unet_pool[a], 1, 16);
      within("unet_kernel_size", o.unet_kernel_size[a], 1, 31);
      check<UsageError>(o.unet_kernel_size[a] % 2 == 1, "stardist3d: unet_kernel_size is ", o.unet_kernel_size[a],
                        " (expected an odd number)");
    }
    return o;
  }

  StarDist3dOptions options_;
  std::vector<Stage> before_grid_, down_, up_;
  std::vector<Layer> middle_, features_;
  Layer prob_, dist_;
};

}  // namespace voxgrad::models
