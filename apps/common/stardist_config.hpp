// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// config.json of a StarDist-3D model folder: the Python package's Config3D, its defaults and rules.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "voxgrad/models/stardist3d_options.hpp"
#include "voxgrad/stardist/rays.hpp"

namespace voxgrad::app {

/// Field names and defaults of Config3D. Triples are z, y, x; lengths in voxels.
struct StarDistConfig {
  models::StarDist3dOptions network;  ///< its n_rays is kept equal to the rays' number
  std::string axes = "ZYXC";          ///< of the network's input; ends with C
  stardist::RaysFrom rays = stardist::GoldenSpiral{96, {}};
  std::optional<std::array<double, 3>> anisotropy;  ///< how many times shorter objects are along z, y, x

  std::array<int64_t, 3> train_patch_size{128, 128, 128};
  double train_background_reg = 1e-4;
  double train_foreground_only = 0.9;
  bool train_sample_cache = true;
  std::string train_dist_loss = "mae";           ///< mae, mse or iou
  std::vector<double> train_loss_weights{1, 0.2};  ///< prob, dist[, prob_class]
  std::vector<double> train_class_weights{1, 1};   ///< background first
  int64_t train_epochs = 400, train_steps_per_epoch = 100;
  double train_learning_rate = 3e-4;
  int64_t train_batch_size = 1;
  std::optional<int64_t> train_n_val_patches;  ///< none: one per validation image
  bool train_tensorboard = true;
  struct ReduceLr {
    double factor = 0.5;
    int64_t patience = 40;
    double min_delta = 0;
  };
  std::optional<ReduceLr> train_reduce_lr = ReduceLr{};
  std::string train_checkpoint = "weights_best.h5", train_checkpoint_last = "weights_last.h5",
              train_checkpoint_epoch = "weights_now.h5";
  bool use_gpu = false;  ///< of the package: training targets by OpenCL
};

/// A configuration and what was ignored or decided while reading it, a sentence each.
struct StarDistConfigRead {
  StarDistConfig config;
  std::vector<std::string> notes;
};

/// Reads JSON text; `name` starts every error, a FileError that says key, found and expected. Missing fields take their
/// defaults, unknown ones give a note; a 2-D model is refused.
StarDistConfigRead parse_stardist_config(const std::string& json, const std::string& name);
/// The same of a file.
StarDistConfigRead read_stardist_config(const std::string& path);
/// JSON text that the Python package reads: the fields of the backbone in use, in the package's order.
std::string stardist_config_json(const StarDistConfig& config);

/// A UsageError unless train_patch_size is a multiple of what the network needs along every axis.
void check_train_patch(const StarDistConfig& config);

}  // namespace voxgrad::app
