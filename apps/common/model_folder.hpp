// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The model folder: config, best weights, latest checkpoint, thresholds. Every subcommand meets models here.

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "config.hpp"
#include "voxgrad/models/unet3d.hpp"
#include "voxgrad/optim/optimizer.hpp"

namespace voxgrad::io {
class SafeTensors;
}
namespace voxgrad::app {

/// The network that a configuration describes, with fresh weights drawn from `seed`.
std::unique_ptr<models::UNet3d> make_network(const ModelConfig& config, uint64_t seed);

/// Text values kept beside the tensors of a file.
using Metadata = std::map<std::string, std::string>;

/// Parameters and buffers under their names, atomically.
void save_weights(const std::string& path, nn::Module& net, Metadata metadata);
/// Weights of a weights or checkpoint file into `net`; names and shapes must agree. Returns the metadata. Files of torch.save
/// are taken too and have none.
Metadata load_weights(const std::string& path, nn::Module& net);
/// Names and shapes of the network's tensors, without those of an optimiser. `path` starts errors.
std::map<std::string, Shape> network_shapes(const io::SafeTensors& file, const std::string& path);
/// Weights, optimiser tensors ("optimizer/exp_avg/<parameter>") and metadata.
void save_checkpoint(const std::string& path, nn::Module& net, optim::Optimizer& optimizer, Metadata metadata);
/// The same back. FileError when the optimiser's tensors are missing (a weights file) or do not fit.
Metadata load_checkpoint(const std::string& path, nn::Module& net, optim::Optimizer& optimizer);

/// Thresholds chosen by `optimize`; scores strictly above count as events.
struct Thresholds {
  std::optional<double> segmentation, detection;
  std::string method, data, date;
};

/// Paths below models/<name>/ and what they hold. A folder of the published pipeline (results.pt, checkpoint.pt) is one as well, into
/// which only thresholds are written.
class ModelFolder {
 public:
  explicit ModelFolder(std::string path) : path_(std::move(path)) {}
  /// Also checks that the folder holds a model; a FileError says what it holds instead.
  static ModelFolder existing(const std::string& path);

  const std::string& path() const { return path_; }
  std::string name() const;
  std::string config_file() const { return path_ + "/config.yaml"; }
  std::string weights_file() const { return path_ + "/weights.safetensors"; }
  std::string checkpoint_file() const { return path_ + "/checkpoint.safetensors"; }
  bool has_weights() const;
  bool has_checkpoint() const;
  bool has_torch() const;  ///< results.pt or checkpoint.pt
  /// The file with the best weights, ours before PyTorch's; "" if there is none. And the latest, which may be the same.
  std::string best_file() const;
  std::string latest_file() const;

  /// The configuration stored in the folder.
  Config config() const;
  /// The network with its best weights (or the latest), in evaluation mode.
  std::unique_ptr<models::UNet3d> network(bool latest = false) const;

  Thresholds thresholds() const;  ///< empty when none were chosen
  /// Adds the given thresholds to thresholds.json and to the reference's text files.
  void save_thresholds(const Thresholds& chosen) const;

 private:
  std::string path_;
};

}  // namespace voxgrad::app
