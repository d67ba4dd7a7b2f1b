// SPDX-License-Identifier: BSD-3-Clause
// Reading config.json field by field, each with its type and range.

#include "stardist_config.hpp"

#include <algorithm>

#include "files.hpp"
#include "json_fields.hpp"
#include "rays_json.hpp"

namespace voxgrad::app {
namespace {

using nlohmann::json;
constexpr int64_t largest = int64_t(1) << 40;

std::string axes_of(JsonFields& fields, std::string axes) {
  for (char& c : axes)
    if (c >= 'a' && c <= 'z') c = char(c - 'a' + 'A');
  if (axes.find('C') == std::string::npos) axes += 'C';
  std::string sorted = axes;
  std::sort(sorted.begin(), sorted.end());
  if (sorted != "CXYZ" || axes.back() != 'C') fields.refuse("axes", axes, "Z, Y and X in any order, then C");
  return axes;
}

void read_rays_fields(JsonFields& f, StarDistConfigRead& result, const std::string& name) {
  StarDistConfig& c = result.config;
  f.positive_triple("anisotropy", c.anisotropy);
  int64_t n_rays = 96;
  f.integer("n_rays", n_rays, 4, stardist::max_rays);
  const json& stored = f.raw("rays_json");
  c.rays = stored.is_null() ? stardist::RaysFrom(stardist::GoldenSpiral{n_rays, {}}) : read_rays_json(stored.dump(), name);
  if (auto* spiral = std::get_if<stardist::GoldenSpiral>(&c.rays)) {
    if (!spiral->anisotropy) spiral->anisotropy = c.anisotropy;
    else if (c.anisotropy && *c.anisotropy != *spiral->anisotropy)
      result.notes.push_back("the rays' anisotropy differs from the configuration's; each is used as it is.");
  }
  c.network.n_rays = stardist::make_rays(c.rays).size();
  if (f.has("n_rays") && n_rays != c.network.n_rays)
    result.notes.push_back(text("'n_rays' is ", n_rays, ", but rays_json describes ", c.network.n_rays, " rays, which count."));
}

void read_network(JsonFields& f, StarDistConfigRead& result) {
  models::StarDist3dOptions& n = result.config.network;
  f.integer("n_channel_in", n.n_channel_in, 1, 4096);
  f.triple("grid", n.grid, 1, 64);
  std::optional<int64_t> classes;
  f.optional_integer("n_classes", classes, 1, 4096);
  n.n_classes = classes.value_or(0);
  std::string backbone = "unet";
  f.word("backbone", backbone);
  if (backbone != "unet" && backbone != "resnet") f.refuse("backbone", backbone, "unet or resnet");
  n.backbone = backbone == "unet" ? models::StarDistBackbone::unet : models::StarDistBackbone::resnet;
  const auto activation = [&](const char* key, std::string& to, const std::string& none) {
    if (f.has(key) && f.raw(key).is_null()) to = none;
    else f.word(key, to);
  };
  f.integer("unet_n_depth", n.unet_n_depth, 0, 8);
  f.triple("unet_kernel_size", n.unet_kernel_size, 1, 31);
  f.integer("unet_n_filter_base", n.unet_n_filter_base, 1, 1024);
  f.integer("unet_n_conv_per_depth", n.unet_n_conv_per_depth, 1, 16);
  f.triple("unet_pool", n.unet_pool, 1, 16);
  activation("unet_activation", n.unet_activation, "linear");
  activation("unet_last_activation", n.unet_last_activation, n.unet_activation);
  f.flag("unet_batch_norm", n.unet_batch_norm);
  f.real("unet_dropout", n.unet_dropout, 0, 0.999999);
  f.word("unet_prefix", n.unet_prefix);
  f.integer("net_conv_after_unet", n.net_conv_after_unet, 0, 4096);
  f.integer("resnet_n_blocks", n.resnet_n_blocks, 0, 64);
  f.triple("resnet_kernel_size", n.resnet_kernel_size, 1, 31);
  f.word("resnet_kernel_init", n.resnet_kernel_init);
  f.integer("resnet_n_filter_base", n.resnet_n_filter_base, 1, 1024);
  f.integer("resnet_n_conv_per_block", n.resnet_n_conv_per_block, 2, 16);
  activation("resnet_activation", n.resnet_activation, "linear");
  f.flag("resnet_batch_norm", n.resnet_batch_norm);
  f.integer("net_conv_after_resnet", n.net_conv_after_resnet, 0, 4096);
}

void read_training(JsonFields& f, StarDistConfig& c) {
  const size_t classes = size_t(c.network.n_classes);
  if (classes > 0) {
    c.train_loss_weights = {1, 0.2, 1};
    c.train_class_weights.assign(classes + 1, 1.0);
  }
  f.triple("train_patch_size", c.train_patch_size, 1, 1 << 20);
  f.real("train_background_reg", c.train_background_reg, 0, 1e6);
  f.real("train_foreground_only", c.train_foreground_only, 0, 1);
  f.flag("train_sample_cache", c.train_sample_cache);
  f.word("train_dist_loss", c.train_dist_loss);
  if (c.train_dist_loss != "mae" && c.train_dist_loss != "mse" && c.train_dist_loss != "iou")
    f.refuse("train_dist_loss", c.train_dist_loss, "mae, mse or iou");
  f.reals("train_loss_weights", c.train_loss_weights, classes > 0 ? 3 : 2,
          classes > 0 ? "for prob, dist and prob_class" : "for prob and dist");
  f.reals("train_class_weights", c.train_class_weights, c.train_class_weights.size(), "one per class, background first");
  f.integer("train_epochs", c.train_epochs, 1, largest);
  f.integer("train_steps_per_epoch", c.train_steps_per_epoch, 1, largest);
  f.real("train_learning_rate", c.train_learning_rate, 0, 1e6);
  f.integer("train_batch_size", c.train_batch_size, 1, 1 << 20);
  f.optional_integer("train_n_val_patches", c.train_n_val_patches, 1, largest);
  f.flag("train_tensorboard", c.train_tensorboard);
  f.word("train_checkpoint", c.train_checkpoint);
  f.word("train_checkpoint_last", c.train_checkpoint_last);
  f.word("train_checkpoint_epoch", c.train_checkpoint_epoch);
  f.flag("use_gpu", c.use_gpu);
}

void read_reduce_lr(JsonFields& f, StarDistConfigRead& result, const std::string& name) {
  const json& v = f.raw("train_reduce_lr");
  if (!f.has("train_reduce_lr")) return;
  StarDistConfig& c = result.config;
  if (v.is_null()) {
    c.train_reduce_lr.reset();
    return;
  }
  if (!v.is_object()) f.refuse("train_reduce_lr", v, "null or an object with factor, patience and min_delta");
  JsonFields fields(v, name, "train_reduce_lr.");
  StarDistConfig::ReduceLr& r = *c.train_reduce_lr;
  fields.real("factor", r.factor, 0, 1);
  fields.integer("patience", r.patience, 0, largest);
  fields.real("epsilon", r.min_delta, 0, 1e12);  // its name up to Keras 2.1.5
  fields.real("min_delta", r.min_delta, 0, 1e12);
  for (const std::string& key : fields.left()) result.notes.push_back(text("unknown key 'train_reduce_lr.", key, "' is ignored."));
}

}  // namespace

StarDistConfigRead parse_stardist_config(const std::string& text_of_file, const std::string& name) {
  const json root = json::parse(text_of_file, nullptr, false);
  check<FileError>(root.is_object(), name, ": is not a JSON object. Expected the config.json of a StarDist model.");
  StarDistConfigRead result;
  JsonFields f(root, name);
  int64_t n_dim = 3;
  f.integer("n_dim", n_dim, 1, 9);
  check<FileError>(n_dim == 3, name, ": describes a ", n_dim, "-D model (n_dim ", n_dim, "). Only 3-D StarDist models can be read.");
  f.word("axes", result.config.axes);
  result.config.axes = axes_of(f, result.config.axes);
  read_rays_fields(f, result, name);
  read_network(f, result);
  read_training(f, result.config);
  read_reduce_lr(f, result, name);
  for (const char* derived : {"n_channel_out", "net_input_shape", "net_mask_shape"}) f.ignore(derived);
  for (const std::string& key : f.left()) result.notes.push_back(text("unknown key '", key, "' is ignored."));
  try {
    models::checked(result.config.network);
  } catch (const UsageError& e) {
    throw FileError(text(name, ": ", e.what(), "."));
  }
  return result;
}

StarDistConfigRead read_stardist_config(const std::string& path) {
  return parse_stardist_config(read_file(path, std::size_t(1) << 24), path);
}

void check_train_patch(const StarDistConfig& c) {
  const auto m = c.network.multiple();
  const auto& p = c.train_patch_size;
  check<UsageError>(p[0] % m[0] == 0 && p[1] % m[1] == 0 && p[2] % m[2] == 0, "train_patch_size is ", p[0], ",", p[1], ",",
                    p[2], " (expected multiples of ", m[0], ",", m[1], ",", m[2], " along z, y, x, as grid and pooling need)");
}

}  // namespace voxgrad::app
