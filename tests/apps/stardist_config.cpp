// SPDX-License-Identifier: BSD-3-Clause
// config.json of StarDist models: defaults, old and foreign files, errors, and the way back.

#include "common/stardist_config.hpp"

#include "apps/scratch.hpp"
#include "apps/throws.hpp"
#include "catch.hpp"
#include "common/files.hpp"
#include "common/stardist_run.hpp"

using namespace voxgrad;
using namespace voxgrad::app;
using Triple = std::array<int64_t, 3>;

namespace {

StarDistConfigRead parse(const std::string& json) { return parse_stardist_config(json, "c.json"); }
std::string refusal(const std::string& json) {
  return message_of<FileError>([&] { parse(json); });
}

/// What the reference experiment's package writes.
const char* const reference =
    R"({"n_dim": 3, "axes": "ZYXC", "n_channel_in": 1, "n_channel_out": 97, "train_checkpoint": "weights_best.h5",
 "n_rays": 96, "grid": [1, 2, 2], "anisotropy": [1.7, 1.08, 1.0], "backbone": "unet",
 "rays_json": {"name": "Rays_GoldenSpiral", "kwargs": {"n": 96, "anisotropy": [1.7, 1.08, 1.0]}}, "n_classes": null,
 "unet_n_depth": 2, "unet_kernel_size": [3, 3, 3], "unet_n_filter_base": 32, "unet_n_conv_per_depth": 2, "unet_pool": [2, 2, 2],
 "unet_activation": "relu", "unet_last_activation": "relu", "unet_batch_norm": false, "unet_dropout": 0.0, "unet_prefix": "",
 "net_conv_after_unet": 128, "net_input_shape": [null, null, null, 1], "net_mask_shape": [null, null, null, 1],
 "train_patch_size": [32, 32, 32], "train_background_reg": 0.0001, "train_foreground_only": 0.9, "train_sample_cache": false,
 "train_dist_loss": "mae", "train_loss_weights": [1, 0.2], "train_class_weights": [1, 1], "train_epochs": 400,
 "train_steps_per_epoch": 100, "train_learning_rate": 0.0003, "train_batch_size": 64, "train_n_val_patches": null,
 "train_tensorboard": false, "train_reduce_lr": {"factor": 0.5, "patience": 40, "min_delta": 0}, "use_gpu": false})";

}  // namespace

TEST_CASE("StarDist config: an empty object is the package's default") {
  const StarDistConfigRead r = parse("{}");
  CHECK(r.notes.empty());
  const StarDistConfig& c = r.config;
  CHECK(c.network.is_unet());
  CHECK(c.network.n_rays == 96);
  CHECK(c.network.grid == Triple{1, 1, 1});
  CHECK(c.network.n_classes == 0);
  CHECK(c.train_patch_size == Triple{128, 128, 128});
  CHECK(c.train_foreground_only == 0.9);
  CHECK(c.train_sample_cache);
  CHECK(c.train_loss_weights == std::vector<double>{1, 0.2});
  CHECK(c.train_reduce_lr->patience == 40);
  CHECK(c.train_batch_size == 1);
  CHECK_FALSE(c.anisotropy);
  CHECK_FALSE(c.train_n_val_patches);
}

TEST_CASE("StarDist config: the reference experiment's, and what is written reads back") {
  const StarDistConfigRead r = parse(reference);
  CHECK(r.notes.empty());
  CHECK(r.config.network.grid == Triple{1, 2, 2});
  CHECK(r.config.network.multiple() == Triple{4, 8, 8});
  CHECK(std::get<stardist::GoldenSpiral>(r.config.rays).anisotropy == stardist::Vec3d{1.7, 1.08, 1.0});
  CHECK(r.config.train_batch_size == 64);
  CHECK_FALSE(r.config.train_sample_cache);
  CHECK_NOTHROW(check_train_patch(r.config));

  StarDistConfig c = r.config;
  c.network.backbone = models::StarDistBackbone::resnet;
  c.network.resnet_n_blocks = 6, c.network.resnet_batch_norm = true, c.network.resnet_kernel_size = {1, 3, 5};
  c.network.n_classes = 2, c.network.n_channel_in = 3;
  c.rays = stardist::Octo{2}, c.network.n_rays = 18;
  c.train_loss_weights = {1, 0.5, 2}, c.train_class_weights = {1, 2, 3};
  c.train_n_val_patches = 7, c.train_reduce_lr.reset(), c.train_dist_loss = "iou";
  const std::string text = stardist_config_json(c);
  const StarDistConfigRead again = parse(text);
  CHECK(again.notes.empty());
  CHECK(stardist_config_json(again.config) == text);
  CHECK(again.config.network.n_rays == 18);
  CHECK(again.config.network.n_classes == 2);
  CHECK(again.config.train_n_val_patches == 7);
  CHECK_FALSE(again.config.train_reduce_lr);
  CHECK(text.find("unet") == std::string::npos);  // the package refuses fields of the other backbone
  CHECK(stardist_config_json(r.config).find("resnet") == std::string::npos);
}

TEST_CASE("StarDist config: every kind of rays") {
  const auto rays = [](const std::string& kwargs, const std::string& name) {
    return parse(R"({"rays_json": {"name": ")" + name + R"(", "kwargs": )" + kwargs + "}}").config;
  };
  CHECK(rays(R"({"n": 20, "anisotropy": null})", "Rays_GoldenSpiral").network.n_rays == 20);
  CHECK(rays(R"({"n_rays_x": 8, "n_rays_z": 4})", "Rays_Cartesian").network.n_rays == 32);
  CHECK(rays(R"({"n_level": 3})", "Rays_Octo").network.n_rays == 66);
  CHECK(rays(R"({"n_level": 2})", "Rays_Tetra").network.n_rays == 10);
  const std::string solid = R"({"vertices0": [[1,0,0],[0,1,0],[0,0,1],[-1,-1,-1]], "faces0": [[0,2,1],[0,1,3],[1,2,3],[2,0,3]]})";
  const StarDistConfig c = rays(solid, "Rays_Explicit");
  CHECK(c.network.n_rays == 4);
  CHECK(stardist_config_json(parse(stardist_config_json(c)).config) == stardist_config_json(c));
  CHECK(message_of<FileError>([&] { rays(R"({"n": 2})", "Rays_GoldenSpiral"); }) ==
        "c.json: rays_json: rays: n is 2 (expected 4 to 65536)");
  CHECK(refusal(R"({"rays_json": 5})") == "c.json: rays_json is no object with a 'name'");
}

TEST_CASE("StarDist config: rays without anisotropy take the configuration's, a number means a golden spiral") {
  const StarDistConfig c = parse(R"({"n_rays": 32, "anisotropy": [2, 1, 1]})").config;
  CHECK(c.network.n_rays == 32);
  CHECK(std::get<stardist::GoldenSpiral>(c.rays).anisotropy == stardist::Vec3d{2, 1, 1});
  const StarDistConfigRead r = parse(
      R"({"n_rays": 32, "anisotropy": [2, 1, 1], "rays_json": {"name": "Rays_GoldenSpiral", "kwargs": {"n": 16, "anisotropy": [3, 1, 1]}}})");
  CHECK(r.config.network.n_rays == 16);
  CHECK(std::get<stardist::GoldenSpiral>(r.config.rays).anisotropy == stardist::Vec3d{3, 1, 1});
  REQUIRE(r.notes.size() == 2);
  CHECK(r.notes[0] == "the rays' anisotropy differs from the configuration's; each is used as it is.");
  CHECK(r.notes[1] == "'n_rays' is 32, but rays_json describes 16 rays, which count.");
}

TEST_CASE("StarDist config: files of other versions: unknown keys, epsilon, no activation, one number for all axes") {
  const StarDistConfigRead r = parse(R"({"train_shape_completion": false, "train_reduce_lr": {"factor": 0.25, "patience": 3,
    "epsilon": 0.5, "verbose": 1}, "unet_activation": null, "unet_last_activation": null, "grid": 2, "axes": "xyz"})");
  CHECK(r.config.train_reduce_lr->min_delta == 0.5);
  CHECK(r.config.network.unet_activation == "linear");
  CHECK(r.config.network.unet_last_activation == "linear");
  CHECK(r.config.network.grid == Triple{2, 2, 2});
  CHECK(r.config.axes == "XYZC");
  REQUIRE(r.notes.size() == 2);
  CHECK(r.notes[0] == "unknown key 'train_reduce_lr.verbose' is ignored.");
  CHECK(r.notes[1] == "unknown key 'train_shape_completion' is ignored.");
}

TEST_CASE("StarDist config: classes change the number of weights") {
  const StarDistConfig c = parse(R"({"n_classes": 3})").config;
  CHECK(c.train_loss_weights == std::vector<double>{1, 0.2, 1});
  CHECK(c.train_class_weights == std::vector<double>{1, 1, 1, 1});
  CHECK(refusal(R"({"n_classes": 3, "train_loss_weights": [1, 0.2]})") ==
        "c.json: 'train_loss_weights' is [1,0.2] (expected a list of 3 numbers, for prob, dist and prob_class).");
  CHECK(refusal(R"({"n_classes": 3, "train_class_weights": [1, 1]})") ==
        "c.json: 'train_class_weights' is [1,1] (expected a list of 4 numbers, one per class, background first).");
  CHECK(refusal(R"({"train_loss_weights": [1, 0.2, 1]})") ==
        "c.json: 'train_loss_weights' is [1,0.2,1] (expected a list of 2 numbers, for prob and dist).");
}

TEST_CASE("StarDist config: what is wrong is refused by key, found and expected") {
  CHECK(refusal("[1]") == "c.json: is not a JSON object. Expected the config.json of a StarDist model.");
  CHECK(refusal("{\"grid\": ") == "c.json: is not a JSON object. Expected the config.json of a StarDist model.");
  CHECK(refusal(R"({"n_dim": 2, "axes": "YXC"})") ==
        "c.json: describes a 2-D model (n_dim 2). Only 3-D StarDist models can be read.");
  CHECK(refusal(R"({"grid": [1, 3, 2]})") == "c.json: stardist3d: grid is 3 (expected a power of two).");
  CHECK(refusal(R"({"grid": [1, 2]})") == "c.json: 'grid' is [1,2] (expected a list of three integers, for z, y and x).");
  CHECK(refusal(R"({"unet_n_depth": 2.5})") == "c.json: 'unet_n_depth' is 2.5 (expected an integer from 0 to 8).");
  CHECK(refusal(R"({"unet_n_depth": "two"})") == "c.json: 'unet_n_depth' is \"two\" (expected an integer from 0 to 8).");
  CHECK(refusal(R"({"unet_batch_norm": 1})") == "c.json: 'unet_batch_norm' is 1 (expected true or false).");
  CHECK(refusal(R"({"unet_dropout": 1})") == "c.json: 'unet_dropout' is 1 (expected a number from 0 to 0.999999).");
  CHECK(refusal(R"({"unet_activation": "mish"})").find("c.json: stardist3d: unet_activation is 'mish' (expected one of linear, relu,") == 0);
  CHECK(refusal(R"({"backbone": "vit"})") == "c.json: 'backbone' is \"vit\" (expected unet or resnet).");
  CHECK(refusal(R"({"axes": "CZYX"})") == "c.json: 'axes' is \"CZYX\" (expected Z, Y and X in any order, then C).");
  CHECK(refusal(R"({"train_dist_loss": "mea"})") == "c.json: 'train_dist_loss' is \"mea\" (expected mae, mse or iou).");
  CHECK(refusal(R"({"anisotropy": [1, 0, 1]})") == "c.json: 'anisotropy' is [1,0,1] (expected numbers above 0).");
  CHECK(refusal(R"({"train_reduce_lr": 3})") ==
        "c.json: 'train_reduce_lr' is 3 (expected null or an object with factor, patience and min_delta).");
  StarDistConfig c = parse(reference).config;
  c.train_patch_size = {32, 36, 32};
  CHECK(message_of<UsageError>([&] { check_train_patch(c); }) ==
        "train_patch_size is 32,36,32 (expected multiples of 4,8,8 along z, y, x, as grid and pooling need)");
  Scratch dir;
  CHECK(message_of<FileError>([&] { read_stardist_config(dir.file("none.json")); }).find("none.json") != std::string::npos);
  write_file(dir.file("c.json"), "{\"n_channel_in\": 0}");
  CHECK(message_of<FileError>([&] { read_stardist_config(dir.file("c.json")); }) ==
        dir.file("c.json") + ": 'n_channel_in' is 0 (expected an integer from 1 to 4096).");
}

TEST_CASE("StarDist config: training takes every activation, kernel rule and kind of rays of a config.json, and keeps them") {
  Config config;
  for (const char* assignment : {"type=stardist3d", "stardist_config.backbone=resnet", "stardist_config.resnet_activation=gelu", "stardist_config.resnet_kernel_init=lecun_uniform",
                                 "stardist_config.unet_activation=leaky_relu", "stardist_config.unet_last_activation=linear",
                                 "stardist_config.rays=[octo, 2]"})
    config.assign(assignment);
  Scratch dir;
  write_file(dir.file("config.yaml"), config.yaml(false));
  Config again;
  again.read_file(dir.file("config.yaml"));
  for (const Config* c : {&config, &again}) {
    const StarDistConfig kept = stardist_run(*c).config;
    CHECK(kept.network.resnet_activation == "gelu");
    CHECK(kept.network.resnet_kernel_init == "lecun_uniform");
    CHECK(kept.network.unet_activation == "leaky_relu");
    CHECK(kept.network.unet_last_activation == "linear");
    CHECK(std::get<stardist::Octo>(kept.rays).n_level == 2);
    CHECK(kept.network.n_rays == 18);
  }
  const auto refused = [&](const char* assignment) {
    Config wrong = config;
    wrong.assign(assignment);
    return message_of<UsageError>([&] { stardist_run(wrong); });
  };
  for (const char* rays : {"octo", "octo, 2, 3", "octo, x", "golden, 96", "cartesian, 5", "mine, 1"})
    CHECK(refused(text("stardist_config.rays=[", rays, "]").c_str()) ==
          text("stardist_config.rays is [", rays, "] (expected golden, [octo, LEVEL], [tetra, LEVEL] or [cartesian, RAYS_X, RAYS_Z])."));
  CHECK(refused("stardist_config.rays=[tetra, 0]").find("configuration: rays_json: rays: n_level is 0") == 0);
  CHECK(refused("stardist_config.n_rays=32") == "stardist_config.n_rays is 32, but stardist_config.rays describes 18. Leave n_rays out.");
  Config cartesian = config;
  cartesian.assign("stardist_config.rays=[cartesian, 11, 5]");
  CHECK(stardist_run(cartesian).config.network.n_rays == 55);
}
