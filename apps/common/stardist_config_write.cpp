// SPDX-License-Identifier: BSD-3-Clause
// Writing config.json as the Python package does, so that it can read it.

#include "rays_json.hpp"
#include "stardist_config.hpp"

namespace voxgrad::app {
namespace {

template <class List>
JsonValue list(const List& values) {
  std::vector<JsonValue> all;
  for (const auto& v : values) all.emplace_back(v);
  return JsonValue(all);
}
template <class T>
JsonValue or_null(const std::optional<T>& value) {
  return value ? JsonValue(*value) : JsonValue::null();
}
JsonValue or_null(const std::optional<std::array<double, 3>>& value) { return value ? list(*value) : JsonValue::null(); }

void add_backbone(Fields& f, const models::StarDist3dOptions& n) {
  if (n.is_unet()) {
    f.emplace_back("unet_n_depth", n.unet_n_depth);
    f.emplace_back("unet_kernel_size", list(n.unet_kernel_size));
    f.emplace_back("unet_n_filter_base", n.unet_n_filter_base);
    f.emplace_back("unet_n_conv_per_depth", n.unet_n_conv_per_depth);
    f.emplace_back("unet_pool", list(n.unet_pool));
    f.emplace_back("unet_activation", n.unet_activation);
    f.emplace_back("unet_last_activation", n.unet_last_activation);
    f.emplace_back("unet_batch_norm", n.unet_batch_norm);
    f.emplace_back("unet_dropout", n.unet_dropout);
    f.emplace_back("unet_prefix", n.unet_prefix);
    f.emplace_back("net_conv_after_unet", n.net_conv_after_unet);
  } else {
    f.emplace_back("resnet_n_blocks", n.resnet_n_blocks);
    f.emplace_back("resnet_kernel_size", list(n.resnet_kernel_size));
    f.emplace_back("resnet_kernel_init", n.resnet_kernel_init);
    f.emplace_back("resnet_n_filter_base", n.resnet_n_filter_base);
    f.emplace_back("resnet_n_conv_per_block", n.resnet_n_conv_per_block);
    f.emplace_back("resnet_activation", n.resnet_activation);
    f.emplace_back("resnet_batch_norm", n.resnet_batch_norm);
    f.emplace_back("net_conv_after_resnet", n.net_conv_after_resnet);
  }
  const auto shape = [](int64_t channels) {
    return JsonValue(std::vector<JsonValue>{JsonValue::null(), JsonValue::null(), JsonValue::null(), channels});
  };
  f.emplace_back("net_input_shape", shape(n.n_channel_in));
  f.emplace_back("net_mask_shape", shape(1));
}

void add_training(Fields& f, const StarDistConfig& c) {
  f.emplace_back("train_patch_size", list(c.train_patch_size));
  f.emplace_back("train_background_reg", c.train_background_reg);
  f.emplace_back("train_foreground_only", c.train_foreground_only);
  f.emplace_back("train_sample_cache", c.train_sample_cache);
  f.emplace_back("train_dist_loss", c.train_dist_loss);
  f.emplace_back("train_loss_weights", list(c.train_loss_weights));
  f.emplace_back("train_class_weights", list(c.train_class_weights));
  f.emplace_back("train_epochs", c.train_epochs);
  f.emplace_back("train_steps_per_epoch", c.train_steps_per_epoch);
  f.emplace_back("train_learning_rate", c.train_learning_rate);
  f.emplace_back("train_batch_size", c.train_batch_size);
  f.emplace_back("train_n_val_patches", or_null(c.train_n_val_patches));
  f.emplace_back("train_tensorboard", c.train_tensorboard);
  f.emplace_back("train_reduce_lr", c.train_reduce_lr ? JsonValue(Fields{{"factor", c.train_reduce_lr->factor},
                                                                         {"patience", c.train_reduce_lr->patience},
                                                                         {"min_delta", c.train_reduce_lr->min_delta}})
                                                      : JsonValue::null());
  f.emplace_back("use_gpu", c.use_gpu);
}

}  // namespace

std::string stardist_config_json(const StarDistConfig& c) {
  const models::StarDist3dOptions& n = c.network;
  Fields f{{"n_dim", 3},
           {"axes", c.axes},
           {"n_channel_in", n.n_channel_in},
           {"n_channel_out", n.n_rays + 1},
           {"train_checkpoint", c.train_checkpoint},
           {"train_checkpoint_last", c.train_checkpoint_last},
           {"train_checkpoint_epoch", c.train_checkpoint_epoch},
           {"n_rays", n.n_rays},
           {"grid", list(n.grid)},
           {"anisotropy", or_null(c.anisotropy)},
           {"backbone", n.is_unet() ? "unet" : "resnet"},
           {"rays_json", rays_json(stardist::make_rays(c.rays))},
           {"n_classes", n.n_classes > 0 ? JsonValue(n.n_classes) : JsonValue::null()}};
  add_backbone(f, n);
  add_training(f, c);
  return json_object(f);
}

}  // namespace voxgrad::app
