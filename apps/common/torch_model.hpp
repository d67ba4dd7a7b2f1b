// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Networks and training runs in archives of torch.save: the published pipeline's results.pt and checkpoint.pt (docs/checkpoints.md).

#include <map>
#include <string>

#include "model_folder.hpp"
#include "voxgrad/io/torch_archive.hpp"

namespace voxgrad::app {

/// The network's tensors of an archive under the network's names. A checkpoint keeps them below `model` (or model_state_dict, state_dict);
/// `module.` and `model.` in front, which wrappers leave, are dropped.
std::map<std::string, const io::TorchTensor*> network_tensors(const io::TorchArchive& archive);

/// Their shapes as the network has them. FileError: no tensors, or one of more axes than a Tensor has.
std::map<std::string, Shape> network_shapes(const io::TorchArchive& archive);

/// Weights into `net`; returns the step and what voxgrad wrote beside them, if they are there. FileError naming every tensor that is missing, too many or of
/// another shape.
Metadata load_torch_weights(const std::string& path, nn::Module& net);

/// What a checkpoint says beside its tensors.
struct TorchRun {
  Metadata metadata;                   ///< `step`, and what voxgrad wrote into a checkpoint that it exported
  std::string train_rows, valid_rows;  ///< of train.csv and valid.csv, from the statistics
};
/// Weights, and Adam's moments and step or SGD's momentum. FileError: no optimiser in the file, or another one than `optimizer`.
TorchRun load_torch_checkpoint(const std::string& path, nn::Module& net, optim::Optimizer& optimizer);

/// PyTorch's name of what an optimiser keeps per parameter under a name of ours.
inline std::string torch_state_name(const std::string& ours) { return ours == "momentum" ? "momentum_buffer" : ours; }

/// Whether a file of torch.save holds an optimiser that training can go on with.
bool has_torch_optimizer(const std::string& path);

/// What a checkpoint is made of. The metadata come back when voxgrad reads the file; the pipeline and PyTorch do not look at them.
struct TorchExport {
  nn::Module& net;
  optim::Optimizer* moments;  ///< made as `optimizer` says, or none
  const OptimizerConfig& optimizer;
  const Metadata& metadata;
  std::string train_csv, valid_csv;  ///< contents of the tables
};
void save_torch_checkpoint(const std::string& path, const TorchExport& parts);

}  // namespace voxgrad::app
