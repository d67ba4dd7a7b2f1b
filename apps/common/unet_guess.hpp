// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The options of the 3-D U-Net behind weights that come without a configuration, from names and shapes.

#include <map>
#include <optional>
#include <string>

#include "config.hpp"
#include "voxgrad/core/shape.hpp"

namespace voxgrad::app {

/// Names and shapes of a weight file, as the network has them; without those of an optimiser. FileError: not of torch.save or safetensors.
std::map<std::string, Shape> weight_shapes(const std::string& path);
/// Nothing when the names are not those of the U-Net. The slope of its activations leaves no trace and is taken as published.
std::optional<ModelConfig> guess_unet(const std::map<std::string, Shape>& weights);
/// "3-D U-Net of 5 levels, 8 channels in the first, batch norm"
std::string unet_text(const ModelConfig& config);

}  // namespace voxgrad::app
