// SPDX-License-Identifier: BSD-3-Clause
#include "unet_guess.hpp"

#include <fmt/format.h>

#include "file_kind.hpp"
#include "torch_model.hpp"
#include "voxgrad/io/safetensors.hpp"

namespace voxgrad::app {
namespace {

/// How many of name0, name1, ... there are.
int count_of(const std::map<std::string, Shape>& weights, const std::string& before, const std::string& behind) {
  int n = 0;
  while (weights.contains(text(before, n, behind))) ++n;
  return n;
}

}  // namespace

std::map<std::string, Shape> weight_shapes(const std::string& path) {
  const FileIdentity found = identify_file(path);
  if (found.kind == FileKind::torch) return network_shapes(io::TorchArchive(path));
  check<FileError>(found.kind == FileKind::safetensors, path, ": is no file of weights but: ", found.name, " (expected safetensors, or what torch.save wrote). ",
                   found.advice);
  return network_shapes(io::SafeTensors(path), path);
}

std::optional<ModelConfig> guess_unet(const std::map<std::string, Shape>& weights) {
  const auto first = weights.find("down_convs.0.convs.0.weight"), last = weights.find("final_conv.weight");
  if (first == weights.end() || last == weights.end() || first->second.rank() != 5 || last->second.rank() != 5) return {};
  ModelConfig m;
  m.first_kernel_size = int(first->second[0]);
  m.in_channels = int(first->second[3]);
  m.nbf = int(first->second[4]);
  m.out_channels = int(last->second[4]);
  m.n_layer = count_of(weights, "down_convs.", ".convs.0.weight");
  m.r = std::max(1, count_of(weights, "bottleneck.dilated_conv.", ".weight"));
  m.use_batch_norm = weights.contains("down_convs.0.convs.1.weight");
  // The largest kernel must be as the others say: nobody makes room for a network that the file cannot fill.
  const auto largest = weights.find("bottleneck.conv2.weight");
  if (m.n_layer < 1 || m.n_layer > 8 || m.nbf < 1 || m.nbf > 1024 || largest == weights.end()) return {};
  const int64_t width = int64_t(m.nbf) << m.n_layer;
  if (!(largest->second == Shape{3, 3, 3, width * m.r, width})) return {};
  return m;
}

std::string unet_text(const ModelConfig& m) {
  return fmt::format("3-D U-Net of {} levels, {} channels in the first{}{}{}", m.n_layer, m.nbf, m.use_batch_norm ? ", batch norm" : ", no batch norm",
                     m.r == 1 ? "" : fmt::format(", {} dilations", m.r), m.first_kernel_size == 3 ? "" : fmt::format(", first kernel {}", m.first_kernel_size));
}

}  // namespace voxgrad::app
