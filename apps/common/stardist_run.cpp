// SPDX-License-Identifier: BSD-3-Clause
#include "stardist_run.hpp"

#include <algorithm>

#include "json_text.hpp"
#include "losses.hpp"
#include "options.hpp"
#include "voxgrad/core/error.hpp"

namespace voxgrad::app {
namespace {

const std::string prefix = "stardist_config.";
/// Keys of ours that are no fields of Config3D.
const std::vector<std::string> own_keys = {"augmentation", "data_axes", "labels", "model_name", "normalization", "rays", "test_data"};
/// The default first.
const std::vector<std::string> activations = {"relu", "leaky_relu", "relu6", "elu", "selu", "gelu", "swish", "softplus", "softsign", "tanh", "sigmoid", "hard_sigmoid",
                                              "exponential", "linear"};

ConfigKey row(const std::string& name, KeyType type, std::string fallback, std::string meaning) {
  ConfigKey key;
  key.path = prefix + name;
  key.type = type;
  key.fallback = std::move(fallback);
  key.meaning = std::move(meaning);
  return key;
}
ConfigKey integer(const std::string& name, std::string fallback, double lowest, double highest, std::string meaning) {
  ConfigKey key = row(name, KeyType::integer, std::move(fallback), std::move(meaning));
  key.lowest = lowest, key.highest = highest;
  return key;
}
ConfigKey real(const std::string& name, std::string fallback, double lowest, double highest, std::string meaning) {
  ConfigKey key = row(name, KeyType::real, std::move(fallback), std::move(meaning));
  key.lowest = lowest, key.highest = highest;
  return key;
}
ConfigKey word(const std::string& name, std::vector<std::string> words, std::string meaning) {
  ConfigKey key = row(name, KeyType::word, words[0], std::move(meaning));
  key.words = std::move(words);
  return key;
}
ConfigKey list(const std::string& name, std::string fallback, std::string holds, std::string meaning) {
  ConfigKey key = row(name, KeyType::texts, std::move(fallback), std::move(meaning));
  key.words = {std::move(holds)};
  return key;
}
ConfigKey boolean(const std::string& name, std::string fallback, std::string meaning) {
  return row(name, KeyType::boolean, std::move(fallback), std::move(meaning));
}

bool is_word(const Config& c, const std::string& name, const std::string& value) {
  return c.texts(prefix + name) == std::vector<std::string>{value};
}

/// One value as JSON.
std::string json_of(const Config& c, const ConfigKey& key) {
  if (key.type == KeyType::word || key.type == KeyType::text) return json_quote(c.text(key.path));
  if (key.type != KeyType::texts) return c.text(key.path);
  std::string body;
  for (const std::string& item : c.texts(key.path)) {
    const std::optional<double> number = parse_real(item);
    check<UsageError>(number.has_value(), c.given(key.path) ? c.origin(key.path) + ": " : "", key.path, " has the entry '", item,
                      "' (expected ", key.words[0], ").");
    body += (body.empty() ? "" : ", ") + number_text(*number);
  }
  return "[" + body + "]";
}

/// Weights of probability and distances, and with classes of these, 1 if left out.
std::string loss_weights(const Config& c, bool classes) {
  std::string json = json_of(c, *find_key(prefix + "train_loss_weights"));
  if (classes && c.texts(prefix + "train_loss_weights").size() == 2) json.insert(json.size() - 1, ", 1");
  return json;
}

/// config.json's `rays_json`; "" for the golden spiral, which n_rays describes.
std::string rays_json(const Config& c) {
  const std::vector<std::string> words = c.texts(prefix + "rays");
  const std::string kind = words.empty() ? "" : words[0];
  std::vector<int64_t> n;
  for (size_t i = 1; i < words.size(); ++i)
    if (const auto number = parse_integer(words[i])) n.push_back(*number);
  if (n.size() + 1 == words.size()) {
    if (kind == "golden" && n.empty()) return "";
    if (kind == "octo" && n.size() == 1) return text("{\"name\": \"", stardist::Octo::name, "\", \"kwargs\": {\"n_level\": ", n[0], "}}");
    if (kind == "tetra" && n.size() == 1) return text("{\"name\": \"", stardist::Tetra::name, "\", \"kwargs\": {\"n_level\": ", n[0], "}}");
    if (kind == "cartesian" && n.size() == 2)
      return text("{\"name\": \"", stardist::Cartesian::name, "\", \"kwargs\": {\"n_rays_x\": ", n[0], ", \"n_rays_z\": ", n[1], "}}");
  }
  std::string given;
  for (const std::string& w : words) given += (given.empty() ? "" : ", ") + w;
  throw UsageError(text(prefix, "rays is [", given, "] (expected golden, [octo, LEVEL], [tetra, LEVEL] or [cartesian, RAYS_X, RAYS_Z])."));
}

/// The keys as the text of a config.json, so that both are checked by the same rules.
std::string config_json(const Config& c, const StarDistRun& run) {
  const std::string rays = rays_json(c);
  std::string body = rays.empty() ? "" : "\"rays_json\": " + rays, reduce;
  for (const ConfigKey& key : config_keys()) {
    if (key.path.rfind(prefix, 0) != 0) continue;
    const std::string name = key.path.substr(prefix.size());
    if (std::find(own_keys.begin(), own_keys.end(), name) != own_keys.end()) continue;
    if (name == "anisotropy" && (run.measure_anisotropy || is_word(c, name, "none"))) continue;
    if (name == "grid" && run.choose_grid) continue;
    if (name == "n_rays" && !rays.empty()) continue;
    if (name == "train_class_weights" && is_word(c, name, "auto")) continue;
    if ((name == "train_n_val_patches" || name == "n_classes") && c.integer(key.path) == 0) continue;
    const size_t dot = name.find('.');
    std::string& to = dot == std::string::npos ? body : reduce;
    to += text(to.empty() ? "" : ", ", json_quote(dot == std::string::npos ? name : name.substr(dot + 1)), ": ",
                                    name == "train_loss_weights" ? loss_weights(c, c.integer(prefix + "n_classes") > 0) : json_of(c, key));
  }
  return "{" + body + ", \"train_reduce_lr\": {" + reduce + "}}";
}

}  // namespace

void add_stardist_keys(std::vector<ConfigKey>& keys) {
  const std::vector<ConfigKey> rows = {
      list("anisotropy", "[1.7, 1.08, 1.0]", "three numbers, none or auto", "how many times shorter objects are along z, y, x; none; or auto: from the training objects"),
      word("augmentation", {"flips", "none", "notebook"},
           "of patches: flips along y or x as published; or any flips and exchange of y and x with changes of intensity, as in the package's example"),
      word("backbone", {"unet", "resnet"}, "the body of the network"),
      row("data_axes", KeyType::text, "", "axes of image files, slowest first, such as ZCYX, XYZ or ZYXC (default: as the files say, or pages, rows, columns)"),
      list("grid", "[1, 2, 2]", "three numbers, or auto", "output sub-sampling along z, y, x, powers of two; or auto: 1 along axes shorter than 1/1.5, else 2"),
      word("labels", {"auto", "instances", "binary", "classes"},
           "of the data: one number per object; masks, whose connected voxels are objects; numbers of classes, whose connected voxels are objects; or auto: masks if all volumes together hold one number"),
      row("model_name", KeyType::text, "", "name of the model (default made from samples and seed)"),
      integer("n_channel_in", "1", 1, 4096, "channels of the images"),
      integer("n_classes", "0", 0, 4096, "classes of objects (docs/stardist_program.md says where they stand); 0: none are learnt"),
      integer("n_rays", "96", 4, 4096, "rays of the golden spiral"),
      integer("net_conv_after_resnet", "128", 0, 4096, "channels of the convolution before the heads (resnet); 0: none"),
      integer("net_conv_after_unet", "128", 0, 4096, "channels of the convolution before the heads (unet); 0: none"),
      word("normalization", {"auto", "study", "percentile", "none"},
           "of raw volumes: the study's preprocessing of movies, percentiles 1 and 99.8 to 0 and 1, or none; auto: by the kind of data"),
      list("rays", "[golden]", "golden; octo or tetra and a level; or cartesian and two numbers",
           "a golden spiral of n_rays; an octahedron or tetrahedron whose edges are halved LEVEL - 1 times; or azimuths by polar angles"),
      word("resnet_activation", activations, "resnet: activation"),
      boolean("resnet_batch_norm", "false", "resnet: batch normalisation"),
      word("resnet_kernel_init", {"he_normal", "he_uniform", "glorot_normal", "glorot_uniform", "lecun_normal", "lecun_uniform"}, "resnet: how kernels start"),
      list("resnet_kernel_size", "[3, 3, 3]", "three numbers", "resnet: kernels along z, y, x"),
      integer("resnet_n_blocks", "4", 0, 64, "resnet: blocks"),
      integer("resnet_n_conv_per_block", "3", 2, 16, "resnet: convolutions per block"),
      integer("resnet_n_filter_base", "32", 1, 1024, "resnet: channels of the first block"),
      row("test_data", KeyType::text, "", "kept for the record"),
      integer("train_batch_size", "64", 1, 65536, "patches per step (the package's default is 1)"),
      real("train_background_reg", "1.0e-4", 0, 1e6, "weight of distances predicted in background"),
      list("train_class_weights", "[auto]", "numbers, background first, or auto", "weights of the classes; auto: 1 for each"),
      word("train_dist_loss", {"mae", "mse", "iou"}, "error of the distances"),
      integer("train_epochs", "400", 1, 1e9, "epochs; each ends with a validation"),
      real("train_foreground_only", "0.9", 0, 1, "share of patches that hold an object for sure"),
      real("train_learning_rate", "3.0e-4", 0, 1000, "learning rate of Adam"),
      list("train_loss_weights", "[1, 0.2]", "two or three numbers", "weights of probability, distances and, 1 if left out, classes"),
      integer("train_n_val_patches", "0", 0, 1e9, "validation patches; 0: one per volume or crop"),
      list("train_patch_size", "[32, 32, 32]", "three numbers", "patches along z, y, x (the package's default is 128)"),
      real("train_reduce_lr.factor", "0.5", 0, 1, "what the learning rate is multiplied by on a plateau"),
      real("train_reduce_lr.min_delta", "0", 0, 1e12, "a validation loss lower by no more than this is no improvement"),
      integer("train_reduce_lr.patience", "40", 0, 1e9, "epochs without improvement before that"),
      integer("train_steps_per_epoch", "100", 1, 1e9, "steps per epoch"),
      word("unet_activation", activations, "unet: activation"),
      boolean("unet_batch_norm", "false", "unet: batch normalisation"),
      real("unet_dropout", "0", 0, 0.999999, "unet: dropout rate after each block"),
      list("unet_kernel_size", "[3, 3, 3]", "three numbers", "unet: kernels along z, y, x"),
      word("unet_last_activation", activations, "unet: activation of its last block"),
      integer("unet_n_conv_per_depth", "2", 1, 16, "unet: convolutions per level"),
      integer("unet_n_depth", "2", 0, 8, "unet: levels"),
      integer("unet_n_filter_base", "32", 1, 1024, "unet: channels of the first level"),
      list("unet_pool", "[2, 2, 2]", "three numbers", "unet: pooling along z, y, x")};
  keys.insert(keys.end(), rows.begin(), rows.end());
}

StarDistRun stardist_run(const Config& c) {
  StarDistRun run;
  run.common = train_config(c);
  run.name = c.text(prefix + "model_name");
  run.normalization = c.text(prefix + "normalization");
  run.labels = c.text(prefix + "labels");
  run.data_axes = c.text(prefix + "data_axes");
  const std::string augmentation = c.text(prefix + "augmentation");
  run.augmentation = augmentation == "none"       ? stardist::Augmentation::none
                     : augmentation == "notebook" ? stardist::Augmentation::notebook
                                                  : stardist::Augmentation::flips;
  run.measure_anisotropy = is_word(c, "anisotropy", "auto");
  run.choose_grid = is_word(c, "grid", "auto");
  check<UsageError>(!run.choose_grid || run.measure_anisotropy, prefix, "grid is auto, which goes with ", prefix, "anisotropy=auto.");
  check<UsageError>(c.origin("training_config.loss") != "--loss" || c.text("training_config.loss") != "mse",
                    "--loss mse: the object probability is trained with bce, or with a positive-unlabeled risk such as nnpu.");
  if (c.given("training_config.loss") && c.text("training_config.loss") != "mse") run.loss = c.text("training_config.loss");
  try {
    run.config = parse_stardist_config(config_json(c, run), "configuration").config;
    if (!run.choose_grid) check_train_patch(run.config);
  } catch (const FileError& e) {
    throw UsageError(e.what());
  }
  const int64_t n = run.config.network.n_rays, named = c.integer(prefix + "n_rays");
  check<UsageError>(named == n || named == 96, prefix, "n_rays is ", named, ", but ", prefix, "rays describes ", n, ". Leave n_rays out.");
  check<UsageError>(run.labels != "classes" || run.config.network.n_classes > 0, prefix, "labels is classes, which goes with ", prefix, "n_classes above 0.");
  return run;
}

std::string stardist_model_name(const StarDistRun& run) {
  const TrainingConfig& t = run.common.training;
  const std::string name = run.name.empty() ? text("StarDist3D_", t.samples_positive, "_1-", t.samples_unlabeled) : run.name;
  return text(name, "_", run.common.seed);
}

}  // namespace voxgrad::app
