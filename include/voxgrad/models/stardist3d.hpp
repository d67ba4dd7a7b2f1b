// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// StarDist-3D's network: a backbone, then object probability, star-convex distances and, if wanted, classes.

#include "voxgrad/models/stardist3d_resnet.hpp"
#include "voxgrad/models/stardist3d_unet.hpp"
#include "voxgrad/ops/softmax.hpp"

namespace voxgrad::models {

/// What the network says per grid voxel: prob [N,D,H,W,1] in (0, 1), dist [N,D,H,W,rays] in voxels of the full image,
/// prob_class [N,D,H,W,classes + 1], background first, which sums to 1; undefined without classes. prob is the sigmoid of logit, which
/// losses take that must tell saturated probabilities apart.
struct StarDistMaps {
  Tensor prob, dist, prob_class{}, logit{};
};

/// x [N,D,H,W,channels] -> maps on the grid. The state is named by layer and ordered as in a Keras weight file
/// (io/keras_weights.hpp and nn/keras_state.hpp load one).
class StarDist3d : public nn::Module {
 public:
  explicit StarDist3d(const StarDist3dOptions& options, Random random = Random(0)) : options_(checked(options)) {
    const StarDist3dOptions& o = options_;
    draws_.seed = Random(random.seed(), random.stream() ^ 0x64726f706f757400)();
    int64_t channels = 0;
    if (o.is_unet()) {
      inline_child(*(unet_ = std::make_unique<StarDistUNet>(o, random, draws_)));
      channels = unet_->channels();
    } else {
      inline_child(*(resnet_ = std::make_unique<StarDistResNet>(o, random, draws_)));
      channels = resnet_->channels();
    }
    const int64_t between = o.is_unet() ? o.net_conv_after_unet : o.net_conv_after_resnet;
    const auto add = [&](const char* name, int64_t in, int64_t out, const KerasConvOptions& c) {
      Layer layer = std::make_unique<KerasConv3d>(in, out, c, random, draws_);
      child(name, *layer);
      return layer;
    };
    const KerasConvOptions features{.kernel = o.is_unet() ? o.unet_kernel_size : o.resnet_kernel_size,
                                    .activation = o.is_unet() ? o.unet_activation : o.resnet_activation};
    if (between > 0) {
      features_ = add("features", channels, between, features);
      if (o.n_classes > 0) features_class_ = add("features_class", channels, between, features);
      channels = between;
    }
    prob_ = add("prob", channels, 1, {});
    dist_ = add("dist", channels, o.n_rays, {});
    if (o.n_classes > 0) prob_class_ = add("prob_class", channels, o.n_classes + 1, {});
  }

  const StarDist3dOptions& options() const { return options_; }
  /// Extents of the input must be multiples of these.
  std::array<int64_t, 3> multiple() const { return options_.multiple(); }

  /// Passes in training so far, which decide what dropout draws; a run that goes on sets it.
  uint64_t training_passes() const { return draws_.pass; }
  void set_training_passes(uint64_t passes) { draws_.pass = passes; }
  /// With the passes, all that dropout's draws depend on.
  uint64_t dropout_seed() const { return draws_.seed; }

  StarDistMaps operator()(const Tensor& input) {
    check_input(input);
    if (training()) ++draws_.pass;
    Activation x = unet_ ? (*unet_)(input) : (*resnet_)(input);
    StarDistMaps maps;
    if (prob_class_) {
      if (!features_class_) x = x.value();  // three heads read it
      maps.prob_class = softmax((*prob_class_)({features_class_ ? (*features_class_)({x}) : x}).value());
    }
    if (features_) x = (*features_)({std::exchange(x, {})});
    const Tensor features = std::exchange(x, {}).value();  // both heads read them
    maps.logit = (*prob_)({features}).value();
    maps.prob = sigmoid(maps.logit);
    maps.dist = (*dist_)({features}).value();
    return maps;
  }

 private:
  using Layer = std::unique_ptr<KerasConv3d>;

  void check_input(const Tensor& x) const {
    check<ShapeError>(x.shape().rank() == 5 && x.shape()[4] == options_.n_channel_in, "stardist3d: input must be [N,D,H,W,",
                      options_.n_channel_in, "], got ", x.shape());
    const auto m = multiple();
    for (int i = 0; i < 3; ++i)
      check<ShapeError>(x.shape()[i + 1] > 0 && x.shape()[i + 1] % m[size_t(i)] == 0, "stardist3d: extents must be multiples of ",
                        m[0], ",", m[1], ",", m[2], ", input is ", x.shape());
  }

  StarDist3dOptions options_;
  DropoutDraws draws_;
  std::unique_ptr<StarDistUNet> unet_;
  std::unique_ptr<StarDistResNet> resnet_;
  Layer features_, features_class_, prob_, dist_, prob_class_;
};

}  // namespace voxgrad::models
